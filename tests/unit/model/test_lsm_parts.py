"""Parts of the learned engine with a known answer: memory, triggers, noise, transition, readout, rollout."""

import math
from dataclasses import replace

import pytest
import torch

from model.lsm.config import LSMConfig
from model.lsm.inputs import (
    NEVER,
    InputError,
    InTies,
    Question,
    SocialGraph,
    Timeline,
    Trigger,
    empty_graph,
    empty_timeline,
)
from model.lsm.lsm import LSM
from model.lsm.memory import EpisodicMemory, no_episodes
from model.lsm.noise import standard_normal
from model.lsm.rollout import rollout
from model.lsm.state import PEERS, Perception
from model.lsm.triggers import TriggerWatch

CONFIG = LSMConfig((2, 3), text_dim=4, hidden_dim=16, num_episode_slots=2, salience_threshold=0.2, salience_half_life=4)
QUESTION = Question("q", torch.ones(4), torch.eye(2, 4), torch.tensor([1.0, -1.0]), False)


def make_timeline(num_agents, start=1, duration=2):
    return Timeline(
        torch.ones(1, 4),
        torch.ones(1),
        torch.ones(1),
        torch.zeros(1, dtype=torch.int64),
        torch.tensor([start]),
        torch.tensor([duration]),
        torch.ones(1, num_agents, dtype=torch.bool),
    )


def perceive(salience, event=0):
    return Perception(torch.tensor([True]), torch.tensor([salience]), torch.tensor([event]), torch.tensor([0.5]))


def store_all(saliences):
    memory = EpisodicMemory(CONFIG)
    episodes = no_episodes(1, 2, torch.zeros(1))
    for timestep, salience in enumerate(saliences, start=1):
        episodes = memory.store(
            episodes, memory.strength(episodes, timestep), timestep, perceive(salience, event=timestep)
        )
    return episodes


def test_the_least_salient_episode_gives_way_to_a_more_salient_one():
    assert sorted(store_all([0.9, 0.4, 0.8]).event_NM[0].tolist()) == [1, 3]


def test_an_episode_below_the_threshold_or_weaker_than_all_others_is_not_kept():
    assert store_all([0.1]).event_NM[0].tolist() == [PEERS, PEERS]
    assert sorted(store_all([0.9, 0.8, 0.3]).event_NM[0].tolist()) == [1, 2]


def test_an_old_episode_gives_way_because_it_fades_to_half_in_a_half_life():
    memory = EpisodicMemory(CONFIG)
    episodes = store_all([0.9])
    fresh, later = memory.strength(episodes, 1).max(), memory.strength(episodes, 5).max()
    torch.testing.assert_close(fresh, torch.tensor((0.9 - 0.2) / 0.8))
    torch.testing.assert_close(later, fresh / 2)


def test_recall_of_an_empty_memory_is_exactly_nothing():
    memory, episodes = EpisodicMemory(CONFIG), no_episodes(3, 2, torch.zeros(1))
    recalled_NF, vividness_N = memory.recall(
        episodes, memory.strength(episodes, 1), [0], torch.randn(1, CONFIG.message_dim), torch.randn(3, 44)
    )
    assert not recalled_NF.any()
    assert not vividness_N.any()


def test_salience_of_a_kept_episode_carries_gradient_into_recall():
    memory = EpisodicMemory(CONFIG)
    salience_N = torch.tensor([0.7], requires_grad=True)
    nothing = no_episodes(1, 2, salience_N)
    felt = replace(perceive(0.0), salience_N=salience_N)
    episodes = memory.store(nothing, memory.strength(nothing, 1), 1, felt)
    recalled_NF, _ = memory.recall(
        episodes, memory.strength(episodes, 2), [0], torch.ones(1, CONFIG.message_dim), torch.ones(1, 44)
    )
    recalled_NF.sum().backward()
    assert salience_N.grad.abs() > 0


def starts(shares, *, above=0.5, hold_for=1, rearm_below=None):
    """Start of the trigger's event after each timestep's share."""
    timeline = make_timeline(1, start=NEVER)
    watch = TriggerWatch([Trigger(0, 0, 0, above, hold_for, rearm_below)], [QUESTION], timeline)
    found = []
    for timestep, share in enumerate(shares):
        timeline = watch.observe(timeline, timestep, [torch.tensor([[share, 1 - share]])], None)
        found.append(int(timeline.start_V[0]))
    return found


def test_a_trigger_waits_until_its_share_has_held():
    assert starts([0.6, 0.4, 0.6, 0.6, 0.6], hold_for=3) == [NEVER] * 4 + [5]


def test_a_trigger_fires_again_only_after_its_share_has_fallen():
    assert starts([0.6, 0.9, 0.9, 0.45, 0.6]) == [1, 1, 1, 1, 5]
    assert starts([0.6, 0.9, 0.9, 0.46, 0.6]) == [1] * 5
    assert starts([0.6, 0.3, 0.6], rearm_below=0.25) == [1, 1, 1]
    assert starts([0.6, 0.25, 0.6], rearm_below=0.25) == [1, 1, 3]


def test_a_share_that_flickers_around_the_threshold_fires_once():
    """With one level alone it would fire at every other timestep."""
    flickers = [0.5501, 0.5499] * 5
    assert starts(flickers, above=0.55) == [1] * 10
    assert starts(flickers, above=0.55, rearm_below=0.55) == [1, 1, 3, 3, 5, 5, 7, 7, 9, 9]


def test_a_share_at_the_threshold_is_not_above_it():
    assert starts([0.5, 0.5]) == [NEVER, NEVER]


def test_only_counted_agents_make_the_share():
    timeline = make_timeline(2, start=NEVER)
    answers_NO = torch.tensor([[0.9, 0.1], [0.1, 0.9]])
    for counted, start in (([True, False], 1), ([False, True], NEVER), ([False, False], NEVER)):
        watch = TriggerWatch([Trigger(0, 0, 0, 0.5, 1)], [QUESTION], timeline)
        assert int(watch.observe(timeline, 0, [answers_NO], torch.tensor(counted)).start_V[0]) == start


def test_a_fired_event_is_active_one_timestep_later_for_its_duration_once():
    torch.manual_seed(0)
    active = []
    with torch.no_grad():
        rollout(
            LSM(CONFIG),
            torch.zeros(3, 2, dtype=torch.int64),
            empty_graph(3),
            make_timeline(3, start=NEVER, duration=2),
            [QUESTION],
            [Trigger(0, 0, 0, 0.0, 2)],
            5,
            seed=0,
            record=lambda record: active.append(
                (record.timestep, record.active_V.tolist(), bool(record.exposed_N.all()))
            ),
        )
    assert active == [(0, [], False), (1, [], False), (2, [0], True), (3, [0], True), (4, [], False), (5, [], False)]


def test_noise_is_standard_normal_and_fixed_by_seed_agent_and_channel():
    ids_N = torch.arange(20_000)
    noise_NK = standard_normal(7, ids_N, 3)
    assert abs(float(noise_NK.mean())) < 4 / 60_000**0.5
    assert abs(float(noise_NK.std()) - 1) < 4 / 120_000**0.5
    assert abs(float(torch.corrcoef(noise_NK.T)[0, 1])) < 4 / 20_000**0.5
    assert torch.equal(standard_normal(7, ids_N[500:510].flip(0), 3), noise_NK[500:510].flip(0))
    assert torch.equal(standard_normal(7, ids_N, 2), noise_NK[:, :2])
    assert not torch.equal(standard_normal(8, ids_N, 3), noise_NK)
    with pytest.raises(ValueError, match="negative"):
        standard_normal(-1, ids_N, 3)


def test_a_closed_gate_is_persistence():
    torch.manual_seed(0)
    model = LSM(CONFIG)
    size = CONFIG.num_channels + CONFIG.latent_dim
    with torch.no_grad():
        model.transition.change.out.weight[:size] = 0
        model.transition.change.out.bias[:size] = -200
        records = []
        attributes_NA = torch.tensor([[0, 0], [1, 2]])
        timeline = make_timeline(2)
        rollout(model, attributes_NA, empty_graph(2), timeline, [QUESTION], [], 3, seed=0, record=records.append)
    assert torch.equal(records[0].channels_NK, records[3].channels_NK)
    assert torch.equal(records[0].option_probabilities[0], records[3].option_probabilities[0])


def test_trust_rises_with_agreement_and_falls_with_contradiction():
    model = LSM(replace(CONFIG, use_trust=True))
    loud_X = torch.ones(CONFIG.expression_dim)
    own_BX, speakers_SX = loud_X[None], torch.stack([loud_X, -loud_X, torch.zeros_like(loud_X)])
    kinds_E = torch.tensor([0, 1, 2], dtype=torch.uint8)
    in_ties = InTies(slice(0, 3), torch.tensor([0, 3]), torch.tensor([0, 1, 2]), kinds_E)
    trust_E = torch.tensor([0.0, 0.0, 0.5])
    for _ in range(200):
        trust_E = model.trust(trust_E, in_ties, own_BX, speakers_SX)
    furthest = 4 * torch.tanh(torch.tensor(0.25)) / 1.01
    torch.testing.assert_close(trust_E, torch.stack([furthest, -furthest, torch.tensor(0.0)]), rtol=1e-4, atol=1e-4)
    once_E = model.trust(torch.zeros(3), in_ties, own_BX, speakers_SX)
    torch.testing.assert_close(once_E, 0.1 * trust_E, rtol=1e-3, atol=1e-4)


def test_whoever_is_trusted_more_is_heard_more():
    torch.manual_seed(0)
    model = LSM(replace(CONFIG, use_trust=True))
    graph = SocialGraph(torch.tensor([0, 2, 2, 2]), torch.tensor([1, 2]), torch.tensor([0, 0]), torch.ones(2))
    attributes_NA, timeline = torch.tensor([[0, 0], [1, 2], [0, 2]]), empty_timeline(3, 4)
    with torch.no_grad():
        state = model.initial_state(attributes_NA, questions=[QUESTION])
        only_one = model.advance(replace(state, trust_E=torch.tensor([0.0, -80.0])), graph, timeline, 1)[0]
        alone = SocialGraph(torch.tensor([0, 1, 1, 1]), torch.tensor([1]), torch.tensor([0]), torch.ones(1))
        wanted = model.advance(state, alone, timeline, 1)[0]
    torch.testing.assert_close(only_one.channels_NK, wanted.channels_NK)
    with pytest.raises(InputError, match="trust in 2 ties, the graph has 1"):
        model.advance(only_one, alone, timeline, 2)


def test_without_evolving_trust_a_state_carries_none():
    model = LSM(CONFIG)
    graph = SocialGraph(torch.tensor([0, 1, 1]), torch.tensor([1]), torch.tensor([0]), torch.ones(1))
    state = rollout(model, torch.tensor([[0, 0], [1, 2]]), graph, empty_timeline(2, 4), [], [], 2, seed=0)
    assert len(state.trust_E) == 0
    assert not any(name.startswith("trust") for name, _ in model.named_parameters())


def test_observed_channels_are_used_and_gaps_are_filled():
    torch.manual_seed(0)
    model = LSM(CONFIG)
    observed_NK = torch.full((2, 12), 0.25)
    observed_NK[1, 3] = float("nan")
    attributes_NA = torch.tensor([[0, 0], [1, 2]])
    filled_NK = model.initial_state(attributes_NA, observed_NK).channels_NK
    typical_NK = model.initial_state(attributes_NA).channels_NK
    assert torch.equal(filled_NK[0], observed_NK[0])
    assert filled_NK[1, 3] == typical_NK[1, 3] != 0.25


def test_people_differ_as_widely_as_the_topic_has_it():
    torch.manual_seed(0)
    initial = LSM(CONFIG).initial
    topic_P, noise_NK = torch.randn(CONFIG.topic_dim), torch.randn(5, CONFIG.num_channels)
    plain_NK = initial.residual(noise_NK, topic_P)
    assert torch.equal(initial.widths(topic_P), torch.ones(CONFIG.num_channels))
    with torch.no_grad():
        initial.width.bias.fill_(0.5)
    wide_NK = initial.residual(noise_NK, topic_P)
    factor = math.exp(2 * math.tanh(0.25))
    assert torch.allclose(wide_NK, factor * plain_NK)
    assert torch.equal(initial.residual(noise_NK, topic_P.expand(5, -1)), wide_NK)


def test_the_topic_makes_the_state_about_the_question():
    torch.manual_seed(0)
    attributes_NA = torch.tensor([[0, 0]])
    other = replace(QUESTION, option_scores_O=torch.tensor([-1.0, 1.0]))
    for use_topic in (True, False):
        model = LSM(replace(CONFIG, use_topic=use_topic))
        ours, theirs = (model.initial_state(attributes_NA, questions=[question]) for question in (QUESTION, other))
        assert torch.equal(ours.channels_NK, theirs.channels_NK) is not use_topic


def test_an_ordinal_question_prefers_options_near_the_stance():
    torch.manual_seed(0)
    model = LSM(CONFIG)
    scores_O = torch.linspace(-1, 1, 5)
    question = Question("scale", torch.ones(4), torch.zeros(5, 4), scores_O, True)
    with torch.no_grad():
        for parameter in model.readout_head.parameters():
            parameter.zero_()
        model.readout_head.question.out.bias[-1] = 0.3
        model.readout_head.question.out.bias[-2] = 1.0
        state = model.initial_state(torch.tensor([[0, 0]]))
        found_O = model.readout(state, question)[0]
    stance = 1.5 * torch.tanh(torch.tensor(0.3))
    precision = torch.exp(3 * torch.tanh(torch.tensor(1 / 3)))
    torch.testing.assert_close(found_O, torch.softmax(-precision * (scores_O - stance) ** 2, 0))


def test_agents_of_several_topics_can_lie_side_by_side():
    torch.manual_seed(0)
    model = LSM(CONFIG)
    attributes_NA = torch.tensor([[0, 0], [1, 2]])
    state = model.initial_state(attributes_NA, questions=[QUESTION])
    side_by_side = replace(state, topic_P=state.topic_P.expand(2, -1).clone())
    with torch.no_grad():
        for size in (None, 1):
            ours, _ = model.step(state, empty_graph(2), empty_timeline(2, 4), 1, agents_per_block=size)
            theirs, _ = model.step(side_by_side, empty_graph(2), empty_timeline(2, 4), 1, agents_per_block=size)
            assert torch.equal(ours.channels_NK, theirs.channels_NK)
            assert theirs.topic_P.shape == (2, CONFIG.topic_dim)


def test_a_state_can_be_cut_off_from_the_gradient():
    model = LSM(CONFIG)
    state = model.initial_state(torch.tensor([[0, 0]]), questions=[QUESTION])
    assert state.channels_NK.requires_grad
    cut = state.detach()
    assert not cut.channels_NK.requires_grad
    assert not cut.episodes.salience_NM.requires_grad
    assert torch.equal(cut.channels_NK, state.channels_NK)


def test_a_student_learns_an_effect_that_only_an_event_explains():
    torch.manual_seed(0)
    model = LSM(CONFIG)
    attributes_NA = torch.zeros(8, 2, dtype=torch.int64)
    exposure_VN = (torch.arange(8) % 2 == 0)[None]
    timeline = replace(make_timeline(8), exposure_VN=exposure_VN)
    target_N = torch.where(exposure_VN[0], 0.9, 0.2)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        optimiser.zero_grad()
        state = rollout(model, attributes_NA, empty_graph(8), timeline, [QUESTION], [], 2, seed=0)
        loss = ((model.readout(state, QUESTION)[:, 0] - target_N) ** 2).mean()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.005
