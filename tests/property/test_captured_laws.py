"""Timesteps that repeat are recorded and replayed: the same bits as one operation at a time.

On a processor a recording is a call that does the same again with the same memory; a device records a CUDA graph.
"""

import gc
import logging
import weakref
from dataclasses import fields, is_dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.kernels import social_attention
from model.lsm import captured, rollout
from model.lsm.captured import CapturedTimesteps
from model.lsm.inputs import Trigger
from model.lsm.timestep import move_everybody, plan, trust_before
from tests.property.test_lsm_laws import (
    MODEL,
    QUESTIONS,
    TRUSTING,
    assert_same_bits,
    make_graph,
    make_model,
    make_town,
    societies,
)

NUM_TIMESTEPS = 12
TRIGGERS = [Trigger(2, 0, 0, 0.2, 2)]
MODELS = {
    "plain": MODEL,
    "evolving trust": TRUSTING,
    "half precision": make_model(state_storage="bfloat16", expression_storage="bfloat16"),
    "no episodes": make_model(use_episodes=False),
    "nobody rests": make_model(rests_when_unreached=False),
}


def again(body):
    """Records on a processor: a device runs the body once to warm up and once to record."""
    body()
    body()
    return body


def records_of(model, society):
    attributes_NA, ties, timeline = society
    inputs = (model, attributes_NA, make_graph(len(attributes_NA), ties), timeline, QUESTIONS, TRIGGERS, NUM_TIMESTEPS)
    with torch.no_grad():
        return [step.record for step in rollout.rollout_steps(*inputs, seed=3)]


@settings(deadline=None, max_examples=30)
@given(societies(), st.sampled_from(sorted(MODELS)))
def test_replayed_timesteps_have_the_bits_of_plain_ones(society, name):
    made = []

    def make(model, graph):
        made.append(CapturedTimesteps(model, graph, again))
        return made[-1]

    plain = records_of(MODELS[name], society)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rollout, "CapturedTimesteps", make)
        patch.setattr(rollout, "_can_be_captured", lambda *_: True)
        replayed = records_of(MODELS[name], society)
    assert_same_bits(plain, replayed)
    assert 1 <= made[0].num_recorded <= NUM_TIMESTEPS // 2


def test_a_recording_knows_no_timestep_and_hands_out_copies():
    attributes_NA, graph, timeline = make_town(40, 160)
    timeline = replace(timeline, start_V=torch.ones_like(timeline.start_V), duration_V=timeline.duration_V + 50)
    recorded = CapturedTimesteps(MODEL, graph, again)
    with torch.no_grad():
        states = [MODEL.initial_state(attributes_NA)]
        for timestep in range(1, 9):
            states.append(recorded.advance(states[-1], timeline, timestep)[0])
        assert recorded.num_recorded == 1
        late, _ = recorded.advance(states[4], timeline, 40)
        expected, _ = MODEL.advance(states[4], graph, timeline, 40)
        once_more, _ = recorded.advance(states[4], timeline, 5)
    assert torch.equal(late.episodes.timestep_NM, expected.episodes.timestep_NM)
    assert torch.equal(late.channels_NK, expected.channels_NK)
    assert torch.equal(once_more.channels_NK, states[5].channels_NK)
    assert not torch.equal(late.channels_NK, once_more.channels_NK)


class Everybody(torch.nn.Module):
    """A timestep as a module, whose parameters can be put elsewhere."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, state, step, in_ties):
        return move_everybody(self.model, state, step, in_ties)


def without_numbers(value):
    """The same on a device that has shapes alone: asking it for a number, or mixing it with another, is an error."""
    if torch.is_tensor(value):
        return value.to("meta")
    if isinstance(value, tuple):
        return (
            type(value)._make(map(without_numbers, value))
            if hasattr(value, "_make")
            else (*map(without_numbers, value),)
        )
    if not is_dataclass(value):
        return value
    made = object.__new__(type(value))
    made.__dict__.update({field.name: without_numbers(getattr(value, field.name)) for field in fields(value)})
    return made


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_recorded_timestep_neither_asks_nor_leaves_its_device(name, monkeypatch):
    monkeypatch.setattr(social_attention, "_chosen", "reference")
    attributes_NA, graph, timeline = make_town(60, 300)
    model = MODELS[name]
    with torch.no_grad():
        state = model.initial_state(attributes_NA)
        state = replace(state, trust_E=trust_before(model, state, graph))
        step = plan(model, state, graph, timeline, 2, state.expression_NX)
        inputs = without_numbers((state, step, graph.in_ties(slice(0, 60))))
        inputs = (inputs[0], replace(inputs[1], timestep=torch.zeros((), dtype=torch.int32, device="meta")), inputs[2])
        parameters = {f"model.{key}": without_numbers(value) for key, value in model.state_dict().items()}
        after, perception = torch.func.functional_call(Everybody(model), parameters, inputs)
    assert len(step.active) == 1
    assert step.begun
    assert {tensor.device.type for tensor in captured._changing(after)} == {"meta"}
    assert {tensor.device.type for tensor in captured._changing(perception)} == {"meta"}
    with pytest.raises(RuntimeError, match="meta"):
        int(inputs[1].timestep)


def test_what_a_recording_reads_lives_as_long_as_it():
    """A device keeps addresses and no tensors, so nobody but us keeps what lies there."""
    planned = []

    def forgets(body):
        body()
        cells = dict(zip(body.__code__.co_freevars, body.__closure__, strict=True))
        planned.append(weakref.ref(cells["planned"].cell_contents.events[0]))
        return lambda: None

    attributes_NA, graph, timeline = make_town(20, 60)
    recorded = CapturedTimesteps(MODEL, graph, forgets)
    with torch.no_grad():
        state = MODEL.initial_state(attributes_NA)
        for _ in range(3):
            recorded.advance(state, timeline, 1)
    gc.collect()
    assert planned[0]() is not None
    del recorded
    gc.collect()
    assert planned[0]() is None


def test_what_cannot_be_recorded_runs_plainly_and_says_so(caplog):
    def fails(_):
        raise RuntimeError("operation not permitted when stream is capturing")

    attributes_NA, graph, timeline = make_town(20, 60)
    recorded = CapturedTimesteps(MODEL, graph, fails)
    with torch.no_grad(), caplog.at_level(logging.WARNING):
        state = MODEL.initial_state(attributes_NA)
        assert recorded.fits(state, timeline)
        for _ in range(2):
            found, _ = recorded.advance(state, timeline, 1)
        expected, _ = MODEL.advance(state, graph, timeline, 1)
    assert torch.equal(found.channels_NK, expected.channels_NK)
    assert "one operation at a time" in caplog.text
    assert not recorded.fits(state, timeline)


def test_delays_and_large_societies_are_not_recorded(monkeypatch):
    attributes_NA, graph, timeline = make_town(20, 60)
    state = MODEL.initial_state(attributes_NA)
    recorded = CapturedTimesteps(MODEL, graph, again)
    assert not recorded.fits(state, replace(timeline, delay_V=torch.zeros(timeline.num_events)))
    monkeypatch.setattr(captured, "MOST_AGENTS", 19)
    assert not recorded.fits(state, timeline)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no graphics processor")
@pytest.mark.parametrize("name", sorted(MODELS))
def test_on_a_device_replayed_timesteps_have_the_bits_of_plain_ones(name, caplog):
    attributes_NA, graph, timeline = make_town(500, 3_000)
    model = MODELS[name].to("cuda")
    questions = [
        replace(
            question,
            embedding_D=question.embedding_D.cuda(),
            option_embeddings_OD=question.option_embeddings_OD.cuda(),
            option_scores_O=question.option_scores_O.cuda(),
        )
        for question in QUESTIONS
    ]
    inputs = (model, attributes_NA.cuda(), graph.to("cuda"), timeline.to("cuda"), questions, TRIGGERS, NUM_TIMESTEPS)
    try:
        with torch.no_grad(), caplog.at_level(logging.WARNING):
            plain, replayed = (
                [step.record for step in rollout.rollout_steps(*inputs, seed=3, is_captured=is_captured)]
                for is_captured in (False, True)
            )
    finally:
        model.to("cpu")
    assert_same_bits(plain, replayed)
    assert "could not be recorded" not in caplog.text
