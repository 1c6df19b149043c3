"""Checks the kernels of a timestep against plain torch; a script, since a process interprets Triton or compiles it.

Usage: PYTHONPATH=. python tests/support/fused_timestep.py; with TRITON_INTERPRET=1 where there is no device.
"""

import sys
from dataclasses import fields, replace

import pytest
import torch

from model.kernels.social_attention import use_backend
from model.lsm import rollout
from model.lsm.captured import CapturedTimesteps
from model.lsm.fused import AGENTS_PER_PROGRAM
from model.lsm.inputs import Trigger, empty_timeline
from model.lsm.timestep import advance, plan

sys.path.insert(0, "tests/property")
from test_lsm_laws import LEVELS, QUESTIONS, TEXT_DIM, make_graph, make_model, make_timeline

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
NUM_AGENTS, NUM_TIMESTEPS = 75, 4
TOLERANCE = 2e-5 if DEVICE == "cpu" else 2e-3
"""On a device dense products take three TensorFloat-32 products, and other sums than the library's."""
BLOCK = 64 if DEVICE == "cpu" else 16
"""Interpreted products are numpy's, which round by the place of a row in its program; those of a device do not."""
MOST_DIFFERENT = 0 if DEVICE == "cpu" else 1
"""Decisions between nearly equal numbers, such as which memory to give up, of those of all agents."""
STRANGE = {"hidden_dim": 34, "latent_dim": 21, "memory_dim": 9, "identity_dim": 40, "num_channels": 17, "num_heads": 3}
STUDENTS = {
    "plain": {},
    "odd sizes": {**STRANGE, "message_dim": 19, "expression_dim": 5, "num_source_types": 7, "num_episode_slots": 7},
    "half precision": {"state_storage": "bfloat16", "expression_storage": "bfloat16"},
    "no graph": {"use_graph": False},
    "one kind of tie": {"use_tie_types": False},
    "no topic": {"use_topic": False},
    "nobody rests": {"rests_when_unreached": False},
    "remembers everything": {"salience_threshold": 0.0},
}
UNKNOWN_TO_KERNELS = ("use_exposure", "use_memory", "use_episodes", "use_latent", "use_conviction")


def make_society(num_agents=NUM_AGENTS):
    """Attributes, a graph with a hub, loners and duplicate ties, and events of which one reaches people in part."""
    generator = torch.Generator().manual_seed(1)
    attributes_NA = torch.stack([torch.randint(0, top, (num_agents,), generator=generator) for top in LEVELS], 1)
    src_E, dst_E, type_E = (torch.randint(0, top, (300,), generator=generator) for top in (num_agents, num_agents, 4))
    strength_E = torch.rand(300, generator=generator) + 0.01
    ties = list(zip(src_E.tolist(), dst_E.tolist(), type_E.tolist(), strength_E.tolist(), strict=True))
    ties += [(speaker, 3, 1, 0.5) for speaker in range(num_agents)] + [(0, 5, 0, 1.0)] * 2
    ties = [tie for tie in ties if tie[1] % 10]
    timeline = make_timeline(num_agents, generator)
    exposure_VN = timeline.exposure_VN.float()
    exposure_VN[1] *= torch.rand(num_agents, generator=generator)
    exposure_VN[:, :20] = 0
    return attributes_NA, make_graph(num_agents, ties), replace(timeline, exposure_VN=exposure_VN)


def on_device(record):
    tensors = {field.name: getattr(record, field.name) for field in fields(record)}
    return replace(record, **{name: value.to(DEVICE) for name, value in tensors.items() if torch.is_tensor(value)})


def leaves(record):
    for field in fields(record):
        value = getattr(record, field.name)
        yield from [(field.name, value)] if torch.is_tensor(value) else leaves(value)


def assert_agrees(ours, theirs, tolerance):
    for (name, mine), (_, other) in zip(leaves(ours), leaves(theirs), strict=True):
        assert mine.dtype == other.dtype, name
        if mine.is_floating_point():
            close = torch.isclose(mine.float(), other.float(), rtol=0, atol=tolerance)
        else:
            close = mine == other
        different = close.numel() - int(close.sum())
        assert different <= MOST_DIFFERENT * close[:1].numel(), f"{name} differs {different} times"


def both_ways(model, state, graph, timeline, at):
    """The timestep by the kernels and by plain torch."""
    ours = advance(model, state, graph, timeline, at)
    use_backend("reference")
    theirs = advance(model, state, graph, timeline, at)
    use_backend("triton")
    return ours, theirs


def check_agreement():
    attributes_NA, graph, timeline = make_society()
    whole = replace(timeline, exposure_VN=timeline.exposure_VN > 0)
    nothing, lonely = empty_timeline(NUM_AGENTS, TEXT_DIM), make_graph(NUM_AGENTS, [])
    for name, changes in STUDENTS.items():
        model = make_model(**changes).eval().to(DEVICE)
        tolerance = TOLERANCE if name != "half precision" else 0.02
        cases = [(graph, timeline), (graph, whole), (graph, nothing), (lonely, whole)]
        for ties, events in cases if name == "plain" else cases[:1]:
            ties, events = on_device(ties), on_device(events)
            state = model.initial_state(attributes_NA.to(DEVICE), questions=[on_device(one) for one in QUESTIONS])
            for at in range(1, NUM_TIMESTEPS + 1):
                assert plan(model, state, ties, events, at, state.expression_NX).packed is not None, name
                (state, felt), (wanted, wanted_felt) = both_ways(model, state, ties, events, at)
                assert_agrees(state, wanted, tolerance)
                assert_agrees(felt, wanted_felt, tolerance)
        print("agrees:", name)


def check_bits():
    """Blocks change no bit; whom nothing reaches keeps every bit; a replayed timestep has the bits of a plain one."""
    attributes_NA, graph, timeline = make_society()
    for name in ("plain", "half precision"):
        model = make_model(**STUDENTS[name]).eval().to(DEVICE)
        ties, events = on_device(graph), on_device(timeline)
        state = model.initial_state(attributes_NA.to(DEVICE), questions=[on_device(one) for one in QUESTIONS])
        (ours, _), (cut, _) = (advance(model, state, ties, events, 1, agents_per_block=size) for size in (None, BLOCK))
        assert_agrees(ours, cut, 0.0)
        rests_N = ~ties.has_ties_N & (events.exposure_VN == 0).all(0)
        assert 0 < int(rests_N.sum()) < NUM_AGENTS
        for (where, before), (_, after) in zip(leaves(state), leaves(ours), strict=True):
            if len(before) == NUM_AGENTS:
                assert torch.equal(before[rests_N], after[rests_N]), where
        assert not torch.equal(state.channels_NK, ours.channels_NK)
    print("keeps bits")


def again(body):
    """Records on a processor: a device runs the body once to warm up and once to record."""
    body()
    body()
    return body


def check_recordings():
    attributes_NA, graph, timeline = make_society(40)
    model = make_model().eval().to(DEVICE)
    questions = [on_device(one) for one in QUESTIONS]
    inputs = (model, attributes_NA.to(DEVICE), on_device(graph), on_device(timeline), questions)
    rest = ([Trigger(2, 0, 0, 0.2, 2)], 6)

    def states(*, is_captured):
        steps = rollout.rollout_steps(*inputs, *rest, seed=3, is_captured=is_captured)
        return [(step.record.channels_NK, step.record.expression_NX, step.record.salience_N) for step in steps]

    plain = states(is_captured=False)
    with pytest.MonkeyPatch.context() as patch:
        if DEVICE == "cpu":
            patch.setattr(rollout, "CapturedTimesteps", lambda *pair: CapturedTimesteps(*pair, again))
            patch.setattr(rollout, "_can_be_captured", lambda *_: True)
        replayed = states(is_captured=True)
    for one, other in zip(plain, replayed, strict=True):
        assert all(torch.equal(mine, yours) for mine, yours in zip(one, other, strict=True))
    print("replays")


def check_what_is_left_to_torch():
    attributes_NA, graph, timeline = make_society()
    attributes_NA, graph, timeline = attributes_NA.to(DEVICE), on_device(graph), on_device(timeline)
    questions = [on_device(one) for one in QUESTIONS]

    def is_packed(model, events=timeline):
        state = model.initial_state(attributes_NA, questions=questions)
        return plan(model, state, graph, events, 1, state.expression_NX).packed is not None

    model = make_model().to(DEVICE)
    assert is_packed(model)
    assert not is_packed(model, replace(timeline, delay_V=torch.zeros(3, device=DEVICE)))
    for switch in UNKNOWN_TO_KERNELS:
        assert not is_packed(make_model(**{switch: False}).to(DEVICE)), switch
    assert not is_packed(make_model(use_trust=True).to(DEVICE))
    assert not is_packed(make_model(hidden_dim=257).to(DEVICE))
    with torch.enable_grad():
        assert not is_packed(model)
    use_backend("reference")
    assert not is_packed(model)
    use_backend("triton")
    print("leaves the rest to torch")


if __name__ == "__main__":
    assert AGENTS_PER_PROGRAM < NUM_AGENTS, "more than one program"
    use_backend("triton")
    with torch.no_grad():
        check_agreement()
        check_bits()
        check_recordings()
        check_what_is_left_to_torch()
    print("agrees on", DEVICE)
