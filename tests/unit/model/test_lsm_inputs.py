"""What the engine accepts and refuses."""

import json
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from model.lsm.config import LSMConfig
from model.lsm.inputs import InputError, Question, SocialGraph, Timeline, Trigger, empty_graph, empty_timeline
from model.lsm.lsm import LSM
from model.lsm.rollout import rollout

LEVELS = (2, 3)
CONFIG = LSMConfig(LEVELS, text_dim=4, hidden_dim=8)
QUESTION = Question("q", torch.ones(4), torch.eye(2, 4), torch.tensor([1.0, -1.0]), False)


def int64(*values):
    return torch.tensor(values, dtype=torch.int64)


TYPE_9 = SocialGraph(int64(0, 1, 1), int64(1), int64(9), torch.ones(1))


def make_timeline(**changes):
    fields = {
        "embedding_VD": torch.ones(1, 4),
        "valence_V": torch.zeros(1),
        "credibility_V": torch.ones(1),
        "source_type_V": int64(0),
        "start_V": int64(1),
        "duration_V": int64(1),
        "exposure_VN": torch.ones(1, 2, dtype=torch.bool),
    }
    return Timeline(**{**fields, **changes})


@pytest.mark.parametrize(
    ("offsets", "src", "kind", "strength", "words"),
    [
        (int64(0, 1), int64(1), int64(0), torch.ones(1), "src_E"),
        (int64(0, 2), int64(0), int64(0), torch.ones(1), "offsets_N1"),
        (int64(0, 2, 1), int64(0), int64(0), torch.ones(1), "offsets_N1"),
        (int64(0, 1), int64(0), int64(0), torch.zeros(1), "strength_E"),
        (int64(0, 1), int64(0), int64(-1), torch.ones(1), "tie_type_E"),
        (int64(0, 1), int64(0), int64(0, 1), torch.ones(1), "tie_type_E"),
        (torch.tensor([0.0, 1.0]), int64(0), int64(0), torch.ones(1), "dtype"),
    ],
)
def test_a_graph_that_does_not_fit_is_refused_by_name(offsets, src, kind, strength, words):
    with pytest.raises(InputError, match=words):
        SocialGraph(offsets, src, kind, strength)


@pytest.mark.parametrize(
    "changes",
    [
        {"valence_V": torch.zeros(2)},
        {"start_V": int64(0)},
        {"duration_V": int64(0)},
        {"exposure_VN": torch.ones(2, 2)},
        {"exposure_VN": torch.full((1, 2), 1.5)},
        {"credibility_V": torch.full((1,), float("nan"))},
        {"credibility_V": torch.full((1,), -3.0)},
        {"valence_V": torch.full((1,), 50.0)},
    ],
)
def test_a_timeline_that_does_not_fit_is_refused_by_name(changes):
    with pytest.raises(InputError, match=next(iter(changes))):
        make_timeline(**changes)


def test_a_question_needs_two_options_with_a_score_each():
    with pytest.raises(InputError, match="question q"):
        Question("q", torch.ones(4), torch.eye(1, 4), torch.zeros(1), False)
    with pytest.raises(InputError, match="embedding_D"):
        Question("q", torch.full((4,), float("inf")), torch.eye(2, 4), torch.zeros(2), False)
    with pytest.raises(InputError, match="option_scores_O"):
        Question("q", torch.ones(4), torch.eye(2, 4), torch.zeros(3), False)


def test_a_timeline_is_active_from_its_start_for_its_duration():
    timeline = make_timeline(start_V=int64(2), duration_V=int64(3))
    assert [timeline.active(timestep).tolist() for timestep in range(1, 6)] == [[], [0], [0], [0], []]


def run_with(**changes):
    inputs = {
        "attributes_NA": torch.tensor([[0, 0], [1, 2]]),
        "graph": empty_graph(2),
        "timeline": make_timeline(),
        "questions": [QUESTION],
        "triggers": [],
        "num_timesteps": 1,
    }
    return rollout(LSM(CONFIG), **{**inputs, **changes}, seed=changes.pop("seed", 0))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"attributes_NA": torch.tensor([[0, 3], [1, 2]])}, "Attribute codes range"),
        ({"attributes_NA": torch.tensor([[0], [1]])}, "Attribute codes have shape"),
        ({"graph": empty_graph(3)}, "one population"),
        ({"timeline": make_timeline(source_type_V=int64(7))}, "source_type_V"),
        ({"timeline": make_timeline(embedding_VD=torch.ones(1, 5))}, "text encoder"),
        ({"timeline": empty_timeline(3, 4)}, "one population"),
        ({"triggers": [Trigger(1, 0, 0, 0.5, 1)]}, "event_index"),
        ({"triggers": [Trigger(0, 1, 0, 0.5, 1)]}, "question_index"),
        ({"triggers": [Trigger(0, 0, 2, 0.5, 1)]}, "option_index"),
        ({"num_timesteps": -1}, "num_timesteps"),
        ({"attributes_NA": torch.zeros(2, 2)}, "torch.int64"),
        ({"graph": TYPE_9}, "tie_type_E"),
        ({"questions": [replace(QUESTION, embedding_D=torch.ones(3), option_embeddings_OD=torch.eye(2, 3))]}, "q has"),
        ({"counted_N": torch.ones(3, dtype=torch.bool)}, "counted_N"),
        ({"counted_N": torch.ones(2)}, "counted_N"),
        ({"observed_answers": [torch.tensor([[0.5, 0.5], [-5.0, 7.0]])]}, "observed_answers of question q range"),
        ({"observed_answers": [torch.tensor([[0.5, 0.5], [0.5, float("nan")]])]}, "known in part"),
        ({"observed_channels_NK": torch.full((2, 12), 1.5)}, "observed_channels_NK"),
        ({"observed_channels_NK": torch.zeros(2, 3)}, "observed_channels_NK"),
    ],
)
def test_a_rollout_refuses_inputs_that_do_not_fit(changes, words):
    with pytest.raises(InputError, match=words):
        run_with(**changes)


def test_a_timestep_alone_refuses_codes_that_the_student_does_not_know():
    """The compiled kernel would read beyond its table of gates."""
    model = LSM(CONFIG)
    state = model.initial_state(torch.tensor([[0, 0], [1, 2]]))
    strangers = [(empty_graph(2), make_timeline(source_type_V=int64(code))) for code in (-1, 7)]
    for graph, timeline in ((TYPE_9, make_timeline()), *strangers):
        with pytest.raises(InputError, match=r"(tie_type_E|source_type_V) is .*; allowed: 0 … (3|6)"):
            model.step(state, graph, timeline, 1)


class ReductionsOf(TorchDispatchMode):
    """Counts how often the lowest or highest of some tensors is asked for: on a device, each waits for it."""

    def __init__(self, *tensors):
        super().__init__()
        self.tensors, self.number = tensors, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        is_reduction = func in (torch.ops.aten.min.default, torch.ops.aten.max.default)
        self.number += is_reduction and any(args[0] is tensor for tensor in self.tensors)
        return func(*args, **(kwargs or {}))


def test_codes_are_looked_at_once_and_not_at_every_timestep():
    graph, timeline = SocialGraph(int64(0, 1, 1), int64(1), int64(3), torch.ones(1)), make_timeline()
    model = LSM(CONFIG)
    numbers = []
    with torch.no_grad(), ReductionsOf(graph.tie_type_E, timeline.source_type_V) as asked:
        state = model.initial_state(torch.tensor([[0, 0], [1, 2]]))
        for timestep in (1, 2, 3):
            state, _ = model.step(state, graph, timeline, timestep)
            numbers.append(asked.number)
    assert numbers == [3, 3, 3]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hidden_dim", 16.5),
        ("use_graph", "no"),
        ("num_heads", True),
        ("salience_half_life", "8"),
        ("attribute_levels", (2, 2.5)),
        ("attribute_levels", ("2", "3")),
        ("attribute_levels", 2),
    ],
)
def test_a_config_refuses_values_of_another_type(field, value):
    with pytest.raises(ValueError, match=f"LSMConfig.{field} is "):
        LSMConfig(**{"attribute_levels": LEVELS, field: value})


def test_an_event_with_a_delay_of_nothing_is_active_as_long_as_without():
    """Delaying it further has a derivative at the timestep after its end, where it is touched and not active."""
    timeline = make_timeline(start_V=int64(2), duration_V=int64(1), delay_V=torch.zeros(1))
    assert [timeline.active(timestep).tolist() for timestep in range(5)] == [[], [], [0], [], []]
    assert [timeline.touched(timestep).tolist() for timestep in range(5)] == [[], [], [0], [0], []]
    late = make_timeline(start_V=int64(2), duration_V=int64(1), delay_V=torch.tensor([0.25]))
    assert [late.active(timestep).tolist() for timestep in range(5)] == [[], [], [0], [0], []]


def test_what_of_an_event_would_fall_before_the_first_timestep_is_lost():
    """A rollout asks from timestep 1 on: two timesteps from there, begun half a timestep earlier, come to 1.5."""
    early = make_timeline(start_V=int64(1), duration_V=int64(2), delay_V=torch.tensor([-0.5]))
    assert [early.activity(timestep).item() for timestep in range(1, 5)] == [1.0, 0.5, 0.0, 0.0]


def test_a_trigger_needs_a_fraction_and_a_time():
    with pytest.raises(InputError, match="share_above"):
        Trigger(0, 0, 0, 1.5, 1)
    for level in (-0.1, 0.51):
        with pytest.raises(InputError, match=r"rearm_below is .*; allowed: 0 … 0\.5"):
            Trigger(0, 0, 0, 0.5, 1, level)
    with pytest.raises(InputError, match="hold_for"):
        Trigger(0, 0, 0, 0.5, 0)


def test_a_config_survives_json():
    config = LSMConfig((2, 6), use_graph=False, salience_half_life=3.5)
    assert LSMConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"heads": 3}, "unknown fields heads"),
        ({"config_version": 0}, "config_version"),
        ({"latent_dim": 0}, "latent_dim"),
    ],
)
def test_a_config_that_does_not_fit_is_refused_by_name(changes, words):
    with pytest.raises(ValueError, match=words):
        LSMConfig.from_dict({**CONFIG.to_dict(), **changes})


def test_a_config_needs_attributes():
    with pytest.raises(ValueError, match="attribute_levels"):
        LSMConfig(())
