"""A rollout: a population through the timesteps of a scenario, in constant memory or with gradient.

`rollout` runs to the end; `rollout_steps` hands out timestep after timestep, each computed when it is asked for, and
can begin at a `Snapshot` of an earlier rollout: it gives the same bits as if that had never been interrupted.

Legend: N agents, S speakers, A attributes, K channels, V events, O options.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from model.lsm.captured import CapturedTimesteps
from model.lsm.inputs import InputError, Question, SocialGraph, StepRecord, Timeline, Trigger, check_codes
from model.lsm.lsm import LSM
from model.lsm.noise import standard_normal
from model.lsm.state import Episodes, Perception, State
from model.lsm.triggers import TriggerWatch


class Peers(Protocol):
    """What a part of a society needs of the other parts, where one rollout is spread over several processes."""

    def speakers(self, expression_NX: Tensor) -> Tensor:
        """What everybody broadcasts whom this part hears, [S, X], from what its own agents broadcast."""
        ...

    def total(self, numbers: Tensor) -> Tensor:
        """The sum of whole numbers over all parts."""
        ...


class Alone:
    """The only part."""

    def speakers(self, expression_NX: Tensor) -> Tensor:
        """The agents themselves."""
        return expression_NX

    def total(self, numbers: Tensor) -> Tensor:
        """The numbers themselves."""
        return numbers


@dataclass(frozen=True, eq=False)
class Snapshot:
    """All that a rollout needs to go on after a timestep: the agents' state and what the triggers have seen."""

    timestep: int
    state: State
    start_V: Tensor
    held: tuple[int, ...]
    is_armed: tuple[bool, ...]

    def to_tensors(self) -> dict[str, Tensor]:
        """The tensors by name, without gradient, to be kept in a file."""
        tensors = {"start_V": self.start_V}
        for field in fields(self.state):
            value = getattr(self.state, field.name)
            if isinstance(value, Episodes):
                tensors |= {f"episodes.{slot.name}": getattr(value, slot.name) for slot in fields(value)}
            else:
                tensors[field.name] = value
        return {name: tensor.detach().contiguous() for name, tensor in tensors.items()}

    def to_facts(self) -> dict[str, Any]:
        """What is no tensor, as JSON types."""
        return {"timestep": self.timestep, "held": list(self.held), "is_armed": list(self.is_armed)}

    @classmethod
    def restore(cls, tensors: dict[str, Tensor], facts: dict[str, Any]) -> "Snapshot":
        """The snapshot that `to_tensors` and `to_facts` took apart."""
        episodes = Episodes(**{slot.name: tensors[f"episodes.{slot.name}"] for slot in fields(Episodes)})
        parts = {field.name: tensors[field.name] for field in fields(State) if field.name != "episodes"}
        return cls(
            timestep=facts["timestep"],
            state=State(**parts, episodes=episodes),
            start_V=tensors["start_V"],
            held=tuple(facts["held"]),
            is_armed=tuple(facts["is_armed"]),
        )

    def to(self, device: torch.device | str) -> "Snapshot":
        """The same snapshot on another device."""
        return replace(self, state=self.state.to(device), start_V=self.start_V.to(device))


@dataclass(frozen=True, eq=False)
class Step:
    """A timestep of a rollout; `record` is None where nobody asked for it, and neither did a trigger."""

    timestep: int
    state: State
    record: StepRecord | None
    snapshot: Callable[[], Snapshot]


def rollout(
    model: LSM,
    attributes_NA: Tensor,
    graph: SocialGraph,
    timeline: Timeline,
    questions: Sequence[Question],
    triggers: Sequence[Trigger],
    num_timesteps: int,
    *,
    seed: int,
    record: Callable[[StepRecord], None] | None = None,
    observed_channels_NK: Tensor | None = None,
    observed_answers: Sequence[Tensor] | None = None,
    agent_id_N: Tensor | None = None,
    counted_N: Tensor | None = None,
    agents_per_block: int | None = None,
    is_checkpointed: bool = False,
) -> State:
    """Takes a population through a scenario and returns its last state.

    Under `torch.no_grad()` nothing but the current state is kept. Otherwise the last state, and every record, carries
    gradient with respect to the model's parameters, the ties' strength and the timeline's embeddings (content and
    framing), valence, credibility, fractional exposure and delay. The same seed gives the same bits on the same
    machine, whatever the number of threads, `agents_per_block` and parts.

    Args:
        model: the student.
        attributes_NA: int64 attribute codes.
        graph: ties between the agents.
        timeline: events, those of triggers with start NEVER.
        questions: what is asked at every timestep; they also set the topic of the state.
        triggers: population thresholds that start events.
        num_timesteps: timesteps after the initial state.
        seed: 0 or more; fixes the initial noise.
        record: called with timesteps 0 (initial state) … num_timesteps, as they are computed.
        observed_channels_NK: known channels at timestep 0; NaN where unknown.
        observed_answers: known first answers [N, O] per question; rows of NaN where unknown.
        agent_id_N: int64, ids that the agents' noise goes by; None for 0 … N − 1.
        counted_N: bool, agents whose answers count towards triggers; None for all.
        agents_per_block: agents computed together, to bound memory.
        is_checkpointed: with gradient, keep the state of each timestep alone and compute the rest again on the way
            back: memory of one timestep instead of all, for more time.

    Raises:
        InputError: inputs do not fit the model or one another.

    Source: Chen et al. (2016), Training deep nets with sublinear memory cost, for the checkpoints.
    """
    state = None
    for step in rollout_steps(
        model,
        attributes_NA,
        graph,
        timeline,
        questions,
        triggers,
        num_timesteps,
        seed=seed,
        is_recorded=record is not None,
        observed_channels_NK=observed_channels_NK,
        observed_answers=observed_answers,
        agent_id_N=agent_id_N,
        counted_N=counted_N,
        agents_per_block=agents_per_block,
        is_checkpointed=is_checkpointed,
    ):
        state = step.state
        if record is not None and step.record is not None:
            record(step.record)
    assert state is not None, "a rollout has timestep 0"
    return state


def rollout_steps(
    model: LSM,
    attributes_NA: Tensor,
    graph: SocialGraph,
    timeline: Timeline,
    questions: Sequence[Question],
    triggers: Sequence[Trigger],
    num_timesteps: int,
    *,
    seed: int,
    is_recorded: bool = True,
    observed_channels_NK: Tensor | None = None,
    observed_answers: Sequence[Tensor] | None = None,
    agent_id_N: Tensor | None = None,
    counted_N: Tensor | None = None,
    agents_per_block: int | None = None,
    is_checkpointed: bool = False,
    is_captured: bool = True,
    after: Snapshot | None = None,
    peers: Peers | None = None,
) -> Iterator[Step]:
    """The timesteps of a rollout, each computed when it is asked for, with gradient where it is enabled at that moment.

    Args are those of `rollout`, and:
        is_recorded: whether records are wanted.
        is_captured: whether timesteps without gradient that repeat on a graphics processor are recorded as CUDA graphs
            and replayed, where few enough agents make that worth while and all of them are here. They are then
            computed together, whatever `agents_per_block`; the bits are meant to be the same, and a test says so
            where there is a device.
        after: where an earlier rollout of the same inputs was left; the first timestep is the one after it.
        peers: the other parts of a society of which these agents are one; None where they are all.

    Raises:
        InputError: inputs do not fit the model or one another.
    """
    _check(model, attributes_NA, graph, timeline, questions, num_timesteps, counted_N)
    peers = peers or Alone()
    watch = TriggerWatch(triggers, questions, timeline, total=peers.total)
    if after is None:
        agent_id_N = torch.arange(len(attributes_NA)) if agent_id_N is None else agent_id_N
        noise_NR = standard_normal(seed, agent_id_N, model.noise_size(questions)).to(attributes_NA.device)
        state = model.initial_state(
            attributes_NA, observed_channels_NK, noise_NR, questions=questions, observed_answers=observed_answers
        )
        first = 0
    else:
        state, first = after.state, after.timestep + 1
        timeline = watch.resume(timeline, after.start_V, after.held, after.is_armed)
    perception = None
    captured = CapturedTimesteps(model, graph) if is_captured and _can_be_captured(state, peers) else None
    for timestep in range(first, num_timesteps + 1):
        if timestep > 0:
            if captured is not None and not torch.is_grad_enabled() and captured.fits(state, timeline):
                state, perception = captured.advance(state, timeline, timestep)
            else:
                advance = _advance(model, is_checkpointed)
                speakers_SX = peers.speakers(state.expression_NX)
                state, perception = advance(state, graph, timeline, timestep, agents_per_block, speakers_SX)
        entry = None
        if is_recorded or triggers:
            entry = model.describe(state, perception, timeline, timestep, questions, agents_per_block=agents_per_block)
            timeline = watch.observe(timeline, timestep, entry.option_probabilities, counted_N)
        yield Step(timestep, state, entry, _snapshot_later(timestep, state, timeline, watch))


def _can_be_captured(state: State, peers: Peers) -> bool:
    return state.channels_NK.device.type == "cuda" and isinstance(peers, Alone)


def _snapshot_later(timestep: int, state: State, timeline: Timeline, watch: TriggerWatch) -> Callable[[], Snapshot]:
    held, is_armed = tuple(watch.held), tuple(watch.is_armed)
    return lambda: Snapshot(timestep, state, timeline.start_V, held, is_armed)


def _advance(model: LSM, is_checkpointed: bool) -> Callable[..., tuple[State, Perception]]:
    def advance(
        state: State, graph: SocialGraph, timeline: Timeline, timestep: int, block: int | None, speakers_SX: Tensor
    ) -> tuple[State, Perception]:
        return model.advance(state, graph, timeline, timestep, agents_per_block=block, expression_SX=speakers_SX)

    if not is_checkpointed or not torch.is_grad_enabled():
        return advance
    return lambda *inputs: checkpoint(advance, *inputs, use_reentrant=False, preserve_rng_state=False)


def _check(
    model: LSM,
    attributes_NA: Tensor,
    graph: SocialGraph,
    timeline: Timeline,
    questions: Sequence[Question],
    num_timesteps: int,
    counted_N: Tensor | None,
) -> None:
    if num_timesteps < 0:
        raise InputError(f"num_timesteps is {num_timesteps}; allowed: 0 or more.")
    check_codes(graph, timeline, model.config.num_tie_types, model.config.num_source_types)
    widths = {f"Question {one.question_id} has embeddings": len(one.embedding_D) for one in questions}
    if timeline.num_events:
        widths["Events have embeddings"] = timeline.embedding_VD.shape[1]
    for who, width in widths.items():
        if width != model.config.text_dim:
            raise InputError(
                f"{who} of length {width}; allowed: {model.config.text_dim}, as the student was trained. Embed them "
                "with the student's text encoder."
            )
    if counted_N is not None and (counted_N.dtype != torch.bool or counted_N.shape != (len(attributes_NA),)):
        found = f"{counted_N.dtype} of shape {list(counted_N.shape)}"
        raise InputError(f"counted_N is {found}; allowed: torch.bool of shape [{len(attributes_NA)}], one per agent.")
