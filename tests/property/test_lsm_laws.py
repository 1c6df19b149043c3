"""Laws of the learned engine, on random and pathological graphs."""

import gc
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from model.lsm.config import LSMConfig
from model.lsm.inputs import NEVER, Question, SocialGraph, Timeline, Trigger, empty_timeline
from model.lsm.lsm import LSM
from model.lsm.rollout import rollout

LEVELS = (2, 3)
TEXT_DIM = 6
NUM_EVENTS = 3
NUM_TIMESTEPS = 4
SIZES = {"hidden_dim": 16, "latent_dim": 6, "memory_dim": 5, "identity_dim": 7, "num_channels": 4, "num_heads": 2}
DOUBLE = torch.float64


def make_model(dtype=torch.float32, **changes):
    """A small student whose random weights are large enough to matter."""
    torch.manual_seed(0)
    config = LSMConfig(LEVELS, text_dim=TEXT_DIM, num_episode_slots=3, salience_threshold=0.1, **{**SIZES, **changes})
    model = LSM(config).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5).add_(0.1 * torch.randn_like(parameter))
    return model


MODEL, MODEL_DOUBLE = make_model(), make_model(DOUBLE)
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


@settings(deadline=None, max_examples=8)
@given(societies(min_agents=2))
def test_gradients_agree_with_finite_differences(society):
    attributes_NA, ties, timeline = society
    graph = make_graph(len(attributes_NA), [(src, dst, kind, 0.5) for src, dst, kind, _ in ties])
    name = "transition.change.out.bias"
    weights = dict(MODEL_DOUBLE.named_parameters())

    def share(valence_V, credibility_V, exposure_VN, bias):
        soft = replace(timeline, valence_V=valence_V, credibility_V=credibility_V, exposure_VN=exposure_VN)
        with torch.no_grad():
            saved = weights[name].clone()
        functional = {**weights, name: saved + bias}
        inputs = (attributes_NA, graph, soft)
        return torch.func.functional_call(
            Shares(MODEL_DOUBLE), {f"model.{k}": v for k, v in functional.items()}, inputs
        )

    inputs = (
        timeline.valence_V.double().requires_grad_(),
        timeline.credibility_V.double().requires_grad_(),
        (0.1 + 0.5 * timeline.exposure_VN.double()).requires_grad_(),
        torch.zeros_like(weights[name]).detach().requires_grad_(),
    )
    assert torch.autograd.gradcheck(share, inputs, eps=1e-6, atol=1e-6, rtol=1e-3, fast_mode=True)


class Shares(torch.nn.Module):
    """Mean share of a question's first option at the end of a rollout, as a module."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, attributes_NA, graph, timeline):
        state = rollout(self.model, attributes_NA, graph, timeline, QUESTIONS, [], NUM_TIMESTEPS, seed=3)
        return self.model.readout(state, QUESTIONS[1])[:, 0].mean()


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


class LargestTensor(TorchDispatchMode):
    """Remembers the most numbers that any operation's result held."""

    most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self.most = max(self.most, leaf.numel())
        return result


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
