"""The weights of a student as the kernels of a timestep read them: padded to lanes, and put together in one table.

What all agents of a timestep have in common goes the same way: active events, what memories can be about, the topic as
a part of biases. All of it is small, and made anew at every timestep, since weights may have been trained in between.

Legend: V events, A active events, C outputs of all layers (or contents of memories), F message, Q query, H hidden,
G traces, P topic, I inputs of all layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from model.lsm.inputs import Timeline
from model.lsm.state import PEERS

if TYPE_CHECKING:
    from model.lsm.lsm import LSM

LEAST_PADDED = 16
"""The narrowest matrix product of the device."""
EVENT_TRACES, RECALL_TRACES, ALL_TRACES = 4, 2, 16
"""Pushes of events and traces of recall, side by side in one padded part of the inputs."""


@dataclass(frozen=True, eq=False)
class Packed:
    """Weights, events and memories' contents as the kernels read them, and the sizes of everything."""

    sizes: dict[str, int]
    layers_IC: Tensor
    biases_C: Tensor
    mix_QF: Tensor
    out_HC: Tensor
    out_bias_C: Tensor
    vectors: Tensor
    event_key_AF: Tensor
    event_value_AF: Tensor
    event_facts_AG: Tensor
    event_number_A2: Tensor
    content_key_CF: Tensor
    content_value_CF: Tensor
    content_number_C: Tensor

    def tensors(self) -> list[Tensor]:
        """All but the sizes, in the order in which the kernel takes them."""
        return [getattr(self, field.name) for field in fields(self) if field.name != "sizes"]

    @classmethod
    def of(
        cls,
        model: "LSM",
        topic_P: Tensor,
        timeline: Timeline,
        events: tuple[Tensor, Tensor],
        active: Sequence[tuple[int, int]],
        begun: list[int],
    ) -> "Packed":
        """Packs what a timestep needs.

        Args:
            model: the student.
            topic_P: topic of the scenario.
            timeline: all events.
            events: their keys and values.
            active: the active events, each with its kind of speaker.
            begun: events that have begun: only they can be remembered.
        """
        sizes = _sizes(model)
        layers_IC, biases_C = _layers(model, topic_P, sizes)
        sizes["ALL"] = layers_IC.shape[1]
        width = sizes["PF"]
        key_VF, value_VF = events
        shown = [event for event, _ in active]
        numbers = torch.tensor(active or [(0, 0)], dtype=torch.int32, device=layers_IC.device)
        valence_A = timeline.valence_V[shown].to(layers_IC)
        credibility_A = timeline.credibility_V[shown].to(layers_IC)
        facts_A4 = torch.stack([torch.ones_like(valence_A), valence_A, credibility_A, valence_A * credibility_A], 1)
        episodic = model.episodic
        content_CF = torch.cat([torch.tanh(episodic.peers_F)[None], value_VF[begun]])
        mixed_FQ, change = model.social.mix.weight, model.transition.change.out
        return cls(
            sizes=sizes,
            layers_IC=layers_IC,
            biases_C=biases_C,
            mix_QF=_padded(mixed_FQ.T, sizes["PQ"], width),
            out_HC=torch.cat([_padded(part.T, sizes["PH"], size) for part, size in _cut(change.weight, sizes)], 1),
            out_bias_C=torch.cat([_padded(part[None], 1, size)[0] for part, size in _cut(_bias(change), sizes)]),
            vectors=_vectors(model, sizes),
            event_key_AF=_padded(key_VF[shown], None, width),
            event_value_AF=_padded(value_VF[shown], None, width),
            event_facts_AG=_padded(facts_A4, None, ALL_TRACES),
            event_number_A2=numbers,
            content_key_CF=_padded(episodic.key(content_CF), None, width),
            content_value_CF=_padded(torch.tanh(episodic.value(content_CF)), None, width),
            content_number_C=torch.tensor([PEERS, *begun], dtype=torch.int32, device=layers_IC.device),
        )


def _sizes(model: "LSM") -> dict[str, int]:
    """Sizes by the names of the kernels: as they are, and padded."""
    config = model.config
    own = {"Z": config.identity_dim, "S": config.memory_dim, "K": config.num_channels, "U": config.latent_dim}
    own |= {"F": config.message_dim, "X": config.expression_dim, "M": config.num_episode_slots}
    own |= {"Q": config.num_heads * config.expression_dim}
    padded = {f"P{name}": _lanes(size) for name, size in own.items()}
    padded |= {"PX": _lanes(config.expression_dim + 1), "PO": _lanes(config.num_source_types)}
    return own | padded | {"PH": _lanes(config.hidden_dim), "PH2": _lanes(config.hidden_dim // 2)}


def _lanes(size: int) -> int:
    return max(LEAST_PADDED, 1 << (size - 1).bit_length())


def _layers(model: "LSM", topic_P: Tensor, sizes: dict[str, int]) -> tuple[Tensor, Tensor]:
    """The table of all layers that read the parts of an agent, and their biases, the topic's share included."""
    config = model.config
    parts = _parts(sizes)
    places, row = {}, 0
    for name, _, padded in parts:
        places[name] = row
        row += padded
    voice = _Layer(
        torch.cat([model.expression.words.weight, model.expression.willingness.weight])[:, :-1],
        torch.cat([_bias(model.expression.words), _bias(model.expression.willingness)]),
    )
    whole, mind = ("identity", "memory", "channels", "latent"), ("channels", "latent")
    messages, summary = ("event", "pushes", "peers", "recalled", "traces"), ("memory",)
    agenda = ("identity", "channels", "topic")
    scale = config.expression_dim**-0.5
    gates = model.memory.gates
    reset, keep = (
        _Layer(weight, bias) for weight, bias in zip(gates.weight.chunk(2), _bias(gates).chunk(2), strict=True)
    )
    table: list[tuple[_Layer, tuple[str, ...], int]] = [
        (_Layer.of(model.social.query, scale), ("identity", *mind), sizes["PQ"]),
        (_Layer.of(model.exposure.query), agenda, sizes["PF"]),
        (_Layer.of(model.exposure.source_trust), agenda, sizes["PO"]),
        (_Layer.of(model.episodic.query), mind, sizes["PF"]),
        (_Layer.of(model.appraisal.felt.hidden), (*mind, *messages), sizes["PH2"]),
        (_Layer.of(model.transition.change.hidden), ("identity", "topic", *whole[1:], *messages), sizes["PH"]),
        (reset, (*messages, *summary), sizes["PS"]),
        (keep, (*messages, *summary), sizes["PS"]),
        (_Layer.of(model.memory.candidate), (*messages, *summary), sizes["PS"]),
        (_Layer.of(model.expression.conviction.hidden), mind, sizes["PH2"]),
        (voice, mind, sizes["PX"]),
    ]
    widths = {name: width for name, width, _ in parts} | {"topic": config.topic_dim}
    widths |= {"pushes": EVENT_TRACES, "traces": RECALL_TRACES}
    places |= {"pushes": places["traces"], "traces": places["traces"] + EVENT_TRACES}
    columns, biases = [], []
    for layer, inputs, size in table:
        weight_IC, bias_C, at = layer.weight.new_zeros(row, size), layer.weight.new_zeros(size), 0
        bias_C[: len(layer.bias)] = layer.bias
        for name in inputs:
            part = layer.weight[:, at : at + widths[name]]
            if name == "topic":
                bias_C[: len(part)] += part @ topic_P
            else:
                weight_IC[places[name] : places[name] + widths[name], : len(part)] = part.T
            at += widths[name]
        assert at == layer.weight.shape[1], "every input of a layer has its place"
        columns.append(weight_IC)
        biases.append(bias_C)
    return torch.cat(columns, 1), torch.cat(biases)


def _parts(sizes: dict[str, int]) -> list[tuple[str, int, int]]:
    """The parts of an agent in the order of the rows: name, width, padded width."""
    by_size = [("identity", "Z"), ("memory", "S"), ("channels", "K"), ("latent", "U")]
    by_size += [("event", "F"), ("peers", "F"), ("recalled", "F")]
    parts = [(name, sizes[size], sizes[f"P{size}"]) for name, size in by_size]
    return [*parts, ("traces", EVENT_TRACES + RECALL_TRACES, ALL_TRACES)]


@dataclass(frozen=True, eq=False)
class _Layer:
    weight: Tensor
    bias: Tensor

    @classmethod
    def of(cls, layer: nn.Linear, scale: float = 1.0) -> "_Layer":
        return cls(layer.weight * scale, _bias(layer) * scale)


def _bias(layer: nn.Linear) -> Tensor:
    return layer.bias


def _cut(change: Tensor, sizes: dict[str, int]) -> Sequence[tuple[Tensor, int]]:
    """Gates and targets of the transition, by channels and latent, with their padded sizes."""
    own, padded = (sizes["K"], sizes["U"]) * 2, (sizes["PK"], sizes["PU"]) * 2
    return list(zip(change.split(own), padded, strict=True))


def _vectors(model: "LSM", sizes: dict[str, int]) -> Tensor:
    """Single numbers, then layers with one output or one input."""
    felt, firm = model.appraisal.felt.out, model.expression.conviction.out
    null = torch.exp(torch.tanh(model.exposure.null_score) * 4)
    single = torch.cat([null[None], _bias(felt), _bias(firm)])
    voice = torch.cat([model.expression.words.weight[:, -1], model.expression.willingness.weight[:, -1]])
    rows = _padded(torch.cat([felt.weight, firm.weight]), None, sizes["PH2"]).flatten()
    return torch.cat([_padded(single[None], 1, LEAST_PADDED)[0], rows, _padded(voice[None], 1, sizes["PX"])[0]])


def _padded(values: Tensor, rows: int | None, columns: int) -> Tensor:
    """The matrix filled up with zeros; with `rows` left out by one row where there is none."""
    rows = max(1, len(values)) if rows is None else rows
    whole = values.new_zeros(rows, columns)
    whole[: len(values), : values.shape[1]] = values
    return whole
