"""Laws of the learned engine, on random and pathological graphs."""

import gc
import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from model.lsm import timestep
from model.lsm.config import LSMConfig
from model.lsm.inputs import NEVER, Question, SocialGraph, Timeline, Trigger, empty_graph, empty_timeline
from model.lsm.lsm import LSM
from model.lsm.rollout import Snapshot, rollout, rollout_steps

LEVELS = (2, 3)
TEXT_DIM = 6
NUM_EVENTS = 3
NUM_TIMESTEPS = 4
SIZES = {"hidden_dim": 16, "latent_dim": 6, "memory_dim": 5, "identity_dim": 7, "num_channels": 4, "num_heads": 2}
SIZES |= {"num_episode_slots": 3, "salience_threshold": 0.1}
DOUBLE = torch.float64


def make_model(dtype=torch.float32, **changes):
    """A small student whose random weights are large enough to matter."""
    torch.manual_seed(0)
    config = LSMConfig(LEVELS, text_dim=TEXT_DIM, **{**SIZES, **changes})
    model = LSM(config).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5).add_(0.1 * torch.randn_like(parameter))
    return model


MODEL, MODEL_DOUBLE = make_model(), make_model(DOUBLE)
TRUSTING, TRUSTING_DOUBLE = make_model(use_trust=True), make_model(DOUBLE, use_trust=True)
QUESTIONS = [
    Question("nominal", torch.linspace(-1, 1, TEXT_DIM), torch.eye(3, TEXT_DIM), torch.tensor([1.0, -1.0, 0.0]), False),
    Question("ordinal", torch.linspace(1, 0, TEXT_DIM), torch.eye(4, TEXT_DIM), torch.linspace(-1, 1, 4), True),
]


def make_graph(num_agents, ties):
    """A graph from (src, dst, tie type, strength) in any order."""
    ties = sorted(ties, key=lambda tie: tie[1])
    counts_N = torch.bincount(torch.tensor([tie[1] for tie in ties], dtype=torch.int64), minlength=num_agents)
    return SocialGraph(
        torch.cat([torch.zeros(1, dtype=torch.int64), counts_N.cumsum(0)]),
        torch.tensor([tie[0] for tie in ties], dtype=torch.int64),
        torch.tensor([tie[2] for tie in ties], dtype=torch.int64),
        torch.tensor([tie[3] for tie in ties], dtype=torch.float32),
    )


@st.composite
def societies(draw, min_agents=1):
    """Agents, ties and events: no ties, hubs, self-ties, duplicates and single agents all occur."""
    num_agents = draw(st.integers(min_agents, 7))
    agent = st.integers(0, num_agents - 1)
    tie = st.tuples(agent, agent, st.integers(0, 3), st.sampled_from([1e-30, 0.1, 0.5, 1.0, 1e30]))
    ties = draw(st.lists(tie, max_size=20))
    if draw(st.booleans()):
        ties += [(source, 0, 1, 0.5) for source in range(num_agents)]
    if ties and draw(st.booleans()):
        ties += ties[:2]
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    attributes_NA = torch.stack([torch.randint(0, top, (num_agents,), generator=generator) for top in LEVELS], 1)
    return attributes_NA, ties, make_timeline(num_agents, generator)


def make_timeline(num_agents, generator):
    return Timeline(
        embedding_VD=torch.randn(NUM_EVENTS, TEXT_DIM, generator=generator),
        valence_V=torch.rand(NUM_EVENTS, generator=generator) * 2 - 1,
        credibility_V=torch.rand(NUM_EVENTS, generator=generator),
        source_type_V=torch.randint(0, 7, (NUM_EVENTS,), generator=generator),
        start_V=torch.tensor([1, 3, NEVER]),
        duration_V=torch.tensor([2, 1, 2]),
        exposure_VN=torch.rand(NUM_EVENTS, num_agents, generator=generator) < 0.6,
    )


def simulate(attributes_NA, ties, timeline, *, model=MODEL, seed=3, triggers=(), **options):
    """All records of a rollout without gradient."""
    records = []
    graph = make_graph(len(attributes_NA), ties)
    with torch.no_grad():
        rollout(
            model,
            attributes_NA,
            graph,
            timeline,
            QUESTIONS,
            triggers,
            NUM_TIMESTEPS,
            seed=seed,
            record=records.append,
            **options,
        )
    return records


def tensors_of(record, agents=slice(None)):
    return [
        record.channels_NK[agents],
        record.latent_NU[agents],
        record.conviction_N[agents],
        record.expression_NX[agents],
        record.exposed_N[agents],
        record.salience_N[agents],
        record.episode_event_N[agents],
        record.appraisal_N[agents],
        record.public_stance_N[agents],
        *(answer[agents] for answer in record.option_probabilities),
    ]


def assert_same_bits(ours, theirs, agents=slice(None)):
    for one, other in zip(ours, theirs, strict=True):
        for mine, yours in zip(tensors_of(one, agents), tensors_of(other, agents), strict=True):
            assert torch.equal(mine, yours)


@settings(deadline=None, max_examples=30)
@given(societies(), st.randoms(use_true_random=False))
def test_renaming_agents_renames_the_result(society, random):
    attributes_NA, ties, timeline = society
    order = list(range(len(attributes_NA)))
    random.shuffle(order)
    order_N = torch.tensor(order)
    place = {old: new for new, old in enumerate(order)}
    ours = simulate(attributes_NA, ties, timeline, model=MODEL_DOUBLE)
    theirs = simulate(
        attributes_NA[order_N],
        [(place[src], place[dst], kind, strength) for src, dst, kind, strength in ties],
        replace(timeline, exposure_VN=timeline.exposure_VN[:, order_N]),
        model=MODEL_DOUBLE,
        agent_id_N=order_N,
    )
    for one, other in zip(ours, theirs, strict=True):
        for mine, yours in zip(tensors_of(one, order_N), tensors_of(other), strict=True):
            torch.testing.assert_close(mine, yours, rtol=0, atol=1e-9)


@settings(deadline=None, max_examples=30)
@given(societies())
def test_an_event_that_has_not_begun_changes_no_bit(society):
    attributes_NA, ties, timeline = society
    without_second = replace(timeline, start_V=torch.tensor([1, NEVER, NEVER]))
    nothing = empty_timeline(len(attributes_NA), TEXT_DIM)
    ours = simulate(attributes_NA, ties, timeline)
    assert_same_bits(ours[:3], simulate(attributes_NA, ties, without_second)[:3])
    assert_same_bits(ours[:1], simulate(attributes_NA, ties, nothing)[:1])


@settings(deadline=None, max_examples=30)
@given(societies())
def test_an_event_that_reaches_nobody_changes_no_bit(society):
    attributes_NA, ties, timeline = society
    unheard = replace(timeline, exposure_VN=torch.zeros_like(timeline.exposure_VN))
    silence = simulate(attributes_NA, ties, empty_timeline(len(attributes_NA), TEXT_DIM))
    assert_same_bits(simulate(attributes_NA, ties, unheard), silence)


@settings(deadline=None, max_examples=30)
@given(societies(min_agents=2), st.data())
def test_agents_without_in_ties_are_unaffected_by_others(society, data):
    attributes_NA, ties, timeline = society
    loner = data.draw(st.integers(0, len(attributes_NA) - 1))
    ties = [tie for tie in ties if tie[1] != loner]
    others_NA = (attributes_NA + 1) % torch.tensor(LEVELS)
    others_NA[loner] = attributes_NA[loner]
    exposure_VN = ~timeline.exposure_VN
    exposure_VN[:, loner] = timeline.exposure_VN[:, loner]
    ours = simulate(attributes_NA, ties, timeline)
    theirs = simulate(others_NA, [], replace(timeline, exposure_VN=exposure_VN))
    assert_same_bits(ours, theirs, slice(loner, loner + 1))


@settings(deadline=None, max_examples=15)
@given(societies())
def test_same_seed_same_bits_and_other_seed_other_people(society):
    ours = simulate(*society)
    assert_same_bits(ours, simulate(*society))
    assert not torch.equal(ours[0].channels_NK, simulate(*society, seed=4)[0].channels_NK)


@settings(deadline=None, max_examples=40)
@given(societies(), st.sampled_from([1e-6, 1.0, 1e6]), st.booleans())
def test_states_stay_in_range_and_probabilities_sum_to_one(society, size, is_extreme):
    attributes_NA, ties, timeline = society
    timeline = replace(timeline, embedding_VD=timeline.embedding_VD * size)
    observed_NK = torch.ones(len(attributes_NA), SIZES["num_channels"])
    observed_NK[::2] = float("nan")
    triggers = [Trigger(2, 0, 0, 0.1, 2)]
    options = {"observed_channels_NK": observed_NK} if is_extreme else {}
    for record in simulate(attributes_NA, ties, timeline, triggers=triggers, **options):
        for tensor in (record.channels_NK, record.latent_NU, record.expression_NX, record.appraisal_N):
            assert bool((tensor.abs() <= 1).all())
        for tensor in (record.conviction_N, record.salience_N):
            assert bool(((tensor >= 0) & (tensor <= 1)).all())
        for answer_NO in record.option_probabilities:
            assert bool((answer_NO >= 0).all())
            torch.testing.assert_close(answer_NO.sum(1), torch.ones(len(attributes_NA)), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("switch", "unused"),
    [
        ("use_graph", "social."),
        ("use_exposure", "exposure.query"),
        ("use_memory", "memory."),
        ("use_episodes", "episodic."),
        ("use_topic", "topic."),
        ("use_tie_types", "social.gate_TX"),
        ("use_latent", "initial.latent"),
        ("use_conviction", "expression.conviction"),
        ("use_trust", "trust."),
    ],
)
def test_a_switch_takes_its_part_out_of_the_computation(switch, unused):
    generator = torch.Generator().manual_seed(0)
    attributes_NA = torch.tensor([[0, 0], [1, 2], [0, 1]])
    timeline = replace(make_timeline(3, generator), exposure_VN=torch.ones(NUM_EVENTS, 3))
    ties = [(1, 0, 0, 0.5), (0, 1, 2, 0.5), (2, 1, 3, 1.0)]
    is_used = {}
    for value in (True, False):
        model = make_model(**{switch: value})
        state = rollout(model, attributes_NA, make_graph(3, ties), timeline, QUESTIONS, [], 4, seed=0)
        model.readout(state, QUESTIONS[0])[:, 0].sum().backward()
        parts = [parameter.grad for name, parameter in model.named_parameters() if name.startswith(unused)]
        is_used[value] = any(gradient is not None and bool(gradient.any()) for gradient in parts)
    assert is_used == {True: True, False: False}


@settings(deadline=None, max_examples=5)
@given(societies(min_agents=2), st.booleans())
def test_gradients_agree_with_finite_differences(society, is_checkpointed):
    """Of parameters, tie weights and every attribute of events: framing, valence, credibility, reach and timing."""
    attributes_NA, ties, timeline = society
    graph = make_graph(len(attributes_NA), [(src, dst, kind, 0.5) for src, dst, kind, _ in ties])
    model = TRUSTING_DOUBLE
    names = ("transition.change.out.bias", "trust.rate_T", "trust.gain_T")
    weights = dict(model.named_parameters())

    def share(embedding_VD, valence_V, credibility_V, exposure_VN, delay_V, strength_E, *changes):
        soft = replace(
            timeline,
            embedding_VD=embedding_VD,
            valence_V=valence_V,
            credibility_V=credibility_V,
            exposure_VN=exposure_VN,
            delay_V=delay_V,
        )
        changed = {name: weights[name].detach() + change for name, change in zip(names, changes, strict=True)}
        return torch.func.functional_call(
            Shares(model, is_checkpointed),
            {f"model.{name}": value for name, value in {**weights, **changed}.items()},
            (attributes_NA, replace(graph, strength_E=strength_E), soft),
        )

    inputs = (
        timeline.embedding_VD.double(),
        timeline.valence_V.double(),
        timeline.credibility_V.double(),
        0.1 + 0.5 * timeline.exposure_VN.double(),
        torch.tensor([0.3, -0.6, 0.5], dtype=DOUBLE),
        graph.strength_E.double(),
        *(torch.zeros_like(weights[name]).detach() for name in names),
    )
    inputs = tuple(value.requires_grad_() for value in inputs)
    assert torch.autograd.gradcheck(share, inputs, eps=1e-6, atol=1e-6, rtol=1e-3, fast_mode=True)


class Shares(torch.nn.Module):
    """Mean share of a question's first option at the end of a rollout, as a module."""

    def __init__(self, model, is_checkpointed=False):
        super().__init__()
        self.model = model
        self.options = {"seed": 3, "is_checkpointed": is_checkpointed}

    def forward(self, attributes_NA, graph, timeline):
        state = rollout(self.model, attributes_NA, graph, timeline, QUESTIONS, [], NUM_TIMESTEPS, **self.options)
        return self.model.readout(state, QUESTIONS[1])[:, 0].mean()


@settings(deadline=None, max_examples=30)
@given(societies(), st.integers(-1, 2), st.integers(-1, 2))
def test_a_whole_delay_is_a_later_start(society, first, second):
    attributes_NA, ties, timeline = society
    late = replace(timeline, delay_V=torch.tensor([float(first), float(second), 0.0]))
    start_V = timeline.start_V + torch.tensor([first, second, 0])
    moved = replace(timeline, start_V=start_V.clamp(min=1), duration_V=timeline.duration_V + (start_V - 1).clamp(max=0))
    for one, other in zip(simulate(attributes_NA, ties, late), simulate(attributes_NA, ties, moved), strict=True):
        for mine, yours in zip(tensors_of(one), tensors_of(other), strict=True):
            assert torch.equal(mine, yours)


def test_without_a_delay_time_has_the_derivative_of_coming_later():
    attributes_NA, graph, timeline = make_town(40, 120)
    timeline = replace(timeline, exposure_VN=timeline.exposure_VN.double())
    shares = Shares(MODEL_DOUBLE)

    def share(delay):
        return shares(attributes_NA, graph, replace(timeline, delay_V=delay))

    now_V = torch.zeros(NUM_EVENTS, dtype=DOUBLE, requires_grad=True)
    (gradient_V,) = torch.autograd.grad(share(now_V), now_V)
    with torch.no_grad():
        for event in range(NUM_EVENTS):
            later_V = torch.zeros(NUM_EVENTS, dtype=DOUBLE)
            later_V[event] = 1e-6
            torch.testing.assert_close((share(later_V) - share(now_V)) / 1e-6, gradient_V[event], rtol=1e-4, atol=1e-8)
    assert bool((gradient_V[:2] != 0).all())


@settings(deadline=None, max_examples=30)
@given(societies(), st.booleans(), st.sampled_from([None, 1, 2]))
def test_skipping_agents_whom_nothing_reaches_changes_no_bit(society, has_trust, agents_per_block):
    attributes_NA, ties, timeline = society
    ties = [tie for tie in ties if tie[1] % 2 == 0]
    timeline = replace(timeline, exposure_VN=timeline.exposure_VN & (torch.arange(len(attributes_NA)) % 3 != 1))
    model = TRUSTING if has_trust else MODEL
    skipped = simulate(attributes_NA, ties, timeline, model=model, agents_per_block=agents_per_block)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timestep, "_rows_to_move", lambda *_: None)
        computed = simulate(attributes_NA, ties, timeline, model=model)
    assert_same_bits(skipped, computed)
    is_unreached_N = torch.tensor([all(tie[1] != agent for tie in ties) for agent in range(len(attributes_NA))])
    is_unreached_N &= ~timeline.exposure_VN[:2].any(0)
    for record in skipped[1:]:
        for now, first in zip(tensors_of(record, is_unreached_N), tensors_of(skipped[0], is_unreached_N), strict=True):
            assert torch.equal(now, first)


def test_the_cost_of_agents_whom_nothing_reaches_is_nothing():
    attributes_NA, _, timeline = make_town(512, 0)
    timeline = replace(timeline, exposure_VN=timeline.exposure_VN & (torch.arange(512) < 64))
    with FlopCounterMode(display=False) as few, torch.no_grad():
        rollout(MODEL, attributes_NA[:64], empty_graph(64), timeline.of_agents(torch.arange(64)), [], [], 4, seed=0)
    with FlopCounterMode(display=False) as all_of_them, torch.no_grad():
        rollout(MODEL, attributes_NA, empty_graph(512), timeline, [], [], 4, seed=0)
    with FlopCounterMode(display=False) as start, torch.no_grad():
        rollout(MODEL, attributes_NA, empty_graph(512), timeline, [], [], 0, seed=0)
    with FlopCounterMode(display=False) as start_of_few, torch.no_grad():
        rollout(MODEL, attributes_NA[:64], empty_graph(64), timeline.of_agents(torch.arange(64)), [], [], 0, seed=0)
    moving = few.get_total_flops() - start_of_few.get_total_flops()
    assert all_of_them.get_total_flops() - start.get_total_flops() == moving > 0


def test_the_cost_is_linear_in_agents():
    def flops(num_agents):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            rollout(MODEL, *make_town(num_agents, 4 * num_agents), QUESTIONS, [], 3, seed=0)
        return counter.get_total_flops()

    per_event_and_question = 2 * flops(1024) - flops(2048)
    assert flops(4096) == 4 * flops(1024) - 3 * per_event_and_question
    assert per_event_and_question < 0.05 * flops(1024)


@settings(deadline=None, max_examples=20)
@given(societies(), st.sampled_from([1, 2, 3]))
def test_trust_is_the_same_in_blocks_and_stays_within_its_bounds(society, agents_per_block):
    attributes_NA, ties, timeline = society
    graph = make_graph(len(attributes_NA), ties)
    with torch.no_grad():
        states = [
            rollout(TRUSTING, attributes_NA, graph, timeline, [], [], 4, seed=3, agents_per_block=size)
            for size in (None, agents_per_block)
        ]
    assert torch.equal(states[0].trust_E, states[1].trust_E)
    assert states[0].trust_E.shape == (len(ties),)
    furthest = TRUSTING.trust.gain_T.abs().max()
    assert bool((states[0].trust_E.abs() <= furthest).all())


@settings(deadline=None, max_examples=20)
@given(societies(), st.integers(0, 3), st.booleans())
def test_a_rollout_that_is_resumed_has_the_same_bits(society, stop, has_trust):
    attributes_NA, ties, timeline = society
    model = TRUSTING if has_trust else MODEL
    graph, triggers = make_graph(len(attributes_NA), ties), [Trigger(2, 0, 0, 0.2, 2)]
    inputs = (model, attributes_NA, graph, timeline, QUESTIONS, triggers, NUM_TIMESTEPS)
    with torch.no_grad():
        whole = list(rollout_steps(*inputs, seed=3))
        snapshot = whole[stop].snapshot()
        kept = Snapshot.restore(snapshot.to_tensors(), json.loads(json.dumps(snapshot.to_facts())))
        rest = list(rollout_steps(*inputs, seed=3, after=kept))
    assert_same_bits([step.record for step in whole[stop + 1 :]], [step.record for step in rest])
    if rest:
        ours, theirs = whole[-1].snapshot().to_tensors(), rest[-1].snapshot().to_tensors()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_checkpoints_change_no_bit_of_the_gradient_and_keep_less():
    town, kept, gradients = make_town(300, 1500), [], []
    for is_checkpointed in (False, True):
        bytes_kept = [0]

        def pack(tensor, bytes_kept=bytes_kept):
            bytes_kept[0] += tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            state = rollout(MODEL, *town, QUESTIONS, [], 8, seed=0, is_checkpointed=is_checkpointed)
        share = MODEL.readout(state, QUESTIONS[0])[:, 0].mean()
        gradients.append(torch.autograd.grad(share, list(MODEL.parameters()), materialize_grads=True))
        kept.append(bytes_kept[0])
    assert all(torch.equal(mine, yours) for mine, yours in zip(*gradients, strict=True))
    assert kept[1] < 0.1 * kept[0]


def test_a_state_kept_in_half_precision_stays_near_the_single_one():
    """Rounding to 8 bits is 0.4 % of a number; after four timesteps shares are within 0.01, states within 0.03."""
    town, records = make_town(300, 1500), {}
    for storage in ("float32", "bfloat16"):
        model = make_model(state_storage=storage)
        records[storage] = []
        with torch.no_grad():
            state = rollout(model, *town, QUESTIONS, [], NUM_TIMESTEPS, seed=3, record=records[storage].append)
        kept = (state.channels_NK, state.latent_NU, state.memory_NS, state.expression_NX, state.episodes.salience_NM)
        assert all(tensor.dtype == getattr(torch, storage) for tensor in kept)
    for single, half in zip(records["float32"], records["bfloat16"], strict=True):
        for name in ("channels_NK", "latent_NU", "expression_NX"):
            gap_N = (getattr(single, name) - getattr(half, name)).abs()
            assert 0 < float(gap_N.max()) < 0.03
        for ours, theirs in zip(single.option_probabilities, half.option_probabilities, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0.01)
            torch.testing.assert_close(theirs.sum(1), torch.ones(300), rtol=0, atol=1e-5)


@settings(deadline=None, max_examples=15)
@given(societies(), st.booleans(), st.sampled_from([1, 2]))
def test_a_state_kept_in_half_precision_has_the_same_bits_in_blocks(society, has_trust, agents_per_block):
    model = make_model(state_storage="bfloat16", use_trust=has_trust)
    ours = simulate(*society, model=model)
    assert_same_bits(ours, simulate(*society, model=model, agents_per_block=agents_per_block))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timestep, "_rows_to_move", lambda *_: None)
        assert_same_bits(ours, simulate(*society, model=model))


def test_a_memory_just_above_the_threshold_in_half_precision_is_recalled_in_blocks_too():
    """The threshold lies between two numbers of half precision; agents who remember the upper one are not skipped."""
    model = make_model(state_storage="bfloat16", salience_threshold=0.2)
    attributes_NA = torch.zeros(4, len(LEVELS), dtype=torch.int64)
    graph, silence = make_graph(4, []), empty_timeline(4, TEXT_DIM)
    with torch.no_grad():
        state = model.initial_state(attributes_NA)
        upper = torch.tensor(0.2, dtype=torch.bfloat16)
        assert float(upper) > 0.2
        salience_NM = torch.zeros_like(state.episodes.salience_NM)
        salience_NM[:2, 0] = upper
        state = replace(state, episodes=replace(state.episodes, salience_NM=salience_NM))
        ours, _ = model.advance(state, graph, silence, 1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(timestep, "_rows_to_move", lambda *_: None)
            everybody, _ = model.advance(state, graph, silence, 1)
    assert torch.equal(ours.channels_NK, everybody.channels_NK)
    assert torch.equal(ours.memory_NS, everybody.memory_NS)
    assert not torch.equal(ours.memory_NS[:2], state.memory_NS[:2])


def make_town(num_agents, num_ties, seed=0):
    generator = torch.Generator().manual_seed(seed)
    attributes_NA = torch.stack([torch.randint(0, top, (num_agents,), generator=generator) for top in LEVELS], 1)
    ends = torch.randint(0, num_agents, (2, num_ties), generator=generator)
    ends[1] = ends[1].sort().values
    counts_N = torch.bincount(ends[1], minlength=num_agents)
    offsets_N1 = torch.cat([counts_N.new_zeros(1), counts_N.cumsum(0)])
    types_E = torch.randint(0, 4, (num_ties,), generator=generator)
    strength_E = torch.rand(num_ties, generator=generator) + 0.1
    return attributes_NA, SocialGraph(offsets_N1, ends[0], types_E, strength_E), make_timeline(num_agents, generator)


def test_blocks_and_threads_change_no_bit():
    torch.manual_seed(0)
    model = LSM(LSMConfig(LEVELS, text_dim=TEXT_DIM))
    town = make_town(701, 4000)
    threads = torch.get_num_threads()
    finals = []
    try:
        for num_threads, agents_per_block in ((1, None), (2, None), (3, None), (1, 256), (2, 333)):
            torch.set_num_threads(num_threads)
            records = []
            with torch.no_grad():
                rollout(
                    model,
                    *town,
                    QUESTIONS,
                    [Trigger(2, 0, 0, 0.2, 1)],
                    4,
                    seed=1,
                    record=records.append,
                    agents_per_block=agents_per_block,
                )
            finals.append(records)
    finally:
        torch.set_num_threads(threads)
    for records in finals[1:]:
        assert_same_bits(finals[0], records)


PATHOLOGICAL = {
    "no ties": (150, lambda agents: (agents[:0], agents[:0])),
    "one hub hears everyone, often enough to be cut into parts": (
        150,
        lambda agents: (agents.repeat(30), torch.full((4_500,), 17)),
    ),
    "everyone hears one hub": (150, lambda agents: (torch.full((150,), 3), agents)),
    "self-ties": (150, lambda agents: (agents, agents)),
    "duplicate ties": (150, lambda agents: (agents.flip(0).repeat_interleave(5), agents.repeat_interleave(5))),
    "a single agent without ties": (1, lambda agents: (agents[:0], agents[:0])),
    "a single agent that hears itself twice": (1, lambda agents: (agents.repeat(2), agents.repeat(2))),
}


@pytest.mark.parametrize("name", PATHOLOGICAL)
def test_blocks_and_threads_change_no_bit_on_pathological_graphs(name):
    num_agents, ends = PATHOLOGICAL[name]
    src_E, dst_E = ends(torch.arange(num_agents))
    generator = torch.Generator().manual_seed(0)
    ties = list(zip(src_E.tolist(), dst_E.tolist(), [0] * len(src_E), [0.5] * len(src_E), strict=True))
    attributes_NA = torch.stack([torch.randint(0, top, (num_agents,), generator=generator) for top in LEVELS], 1)
    society = attributes_NA, ties, make_timeline(num_agents, generator)
    threads, found = torch.get_num_threads(), []
    try:
        for num_threads, agents_per_block in ((1, None), (3, None), (1, 1), (2, 64)):
            torch.set_num_threads(num_threads)
            found.append(simulate(*society, agents_per_block=agents_per_block))
    finally:
        torch.set_num_threads(threads)
    for records in found[1:]:
        assert_same_bits(found[0], records)
    for record in found[0]:
        for answer_NO in record.option_probabilities:
            torch.testing.assert_close(answer_NO.sum(1), torch.ones(num_agents), rtol=0, atol=1e-5)


class LargestTensor(TorchDispatchMode):
    """Remembers the most numbers that any operation's result held."""

    most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self.most = max(self.most, leaf.numel())
        return result


class Questions(TorchDispatchMode):
    """Remembers the operations for which a host would wait until its device has come so far."""

    WAITING = ("_local_scalar_dense", "nonzero", "is_nonzero", "unique", "masked_select")

    def __init__(self):
        super().__init__()
        self.asked = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.__name__.split(".")[0]
        is_sized = name == "repeat_interleave" and (kwargs or {}).get("output_size") is None
        if name in self.WAITING or is_sized:
            self.asked.append(name)
        return func(*args, **(kwargs or {}))


def test_moving_a_block_asks_nothing_of_its_device():
    """The attention itself aside, whose backend for processors cuts hubs on the host."""
    attributes_NA, graph, timeline = make_town(60, 300)
    watch, seen = Questions(), []
    move = timestep._move

    def watched(*inputs):
        with watch:
            seen.append(inputs[2].timestep)
            return move(*inputs)

    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(timestep, "_move", watched)
        patch.setattr("model.lsm.social.social_attention", lambda query_NHX, *_, **__: torch.zeros_like(query_NHX))
        for model in (MODEL, TRUSTING):
            rollout(model, attributes_NA, graph, timeline, [], [], NUM_TIMESTEPS, seed=0)
        with watch:
            timeline.active(1).tolist()
    assert seen == [1, 2, 3, 4] * 2
    assert watch.asked == ["nonzero"]


def largest_tensor(num_agents, num_ties):
    with LargestTensor() as watch:
        state = rollout(MODEL, *make_town(num_agents, num_ties), QUESTIONS, [], 2, seed=0)
        MODEL.readout(state, QUESTIONS[0]).sum().backward()
    MODEL.zero_grad()
    return watch.most


def test_memory_is_linear_in_agents_and_in_ties():
    width = MODEL.config.expression_dim
    assert largest_tensor(400, 20_000) <= 20_000 * width
    assert largest_tensor(400, 40_000) == 2 * largest_tensor(400, 20_000)
    assert largest_tensor(4_000, 100) < 4_000 * 400


def test_memory_does_not_grow_with_time():
    attributes_NA, graph, timeline = make_town(200, 800)
    live = []

    def weigh(_):
        gc.collect()
        tensors = [item for item in gc.get_objects() if type(item) is torch.Tensor]
        live.append(sum(tensor.numel() * tensor.element_size() for tensor in tensors))

    with torch.no_grad():
        rollout(MODEL, attributes_NA, graph, timeline, QUESTIONS, [], 12, seed=0, record=weigh)
    assert max(live[6:]) <= max(live[2:6])
