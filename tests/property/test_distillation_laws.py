"""Laws of distillation: splits, tilted answers, stacked graphs, recorded exposures, probes."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from assets.distillation.axis_probes import cross_validated, principal_axes
from assets.distillation.friedkin_johnsen import tilt_answers
from assets.distillation.stacking import stack_graph
from assets.distillation.teacher_rollouts import constant_runs
from assets.distillation.training_set import FEWEST_QUESTION_SETS, split_agents, split_scenarios
from model.kernels.segments import listeners
from model.lsm.inputs import SocialGraph

seeds = st.integers(0, 2**32 - 1)


@given(num_agents=st.integers(10, 400), seed=seeds)
def test_no_agent_is_in_two_parts_of_the_split(num_agents: int, seed: int) -> None:
    is_held_out, is_validation = split_agents(num_agents, seed)
    assert not (is_held_out & is_validation).any()
    assert is_held_out.sum() >= 2
    assert (~is_held_out & ~is_validation).sum() >= num_agents / 2


@given(asked=st.lists(st.integers(0, 20), min_size=1, max_size=40), seed=seeds)
def test_scenarios_that_ask_the_same_are_never_parted(asked: list[int], seed: int) -> None:
    sets = [(f"q{number}",) for number in asked]
    only_validates = split_scenarios(sets, seed).tolist()
    assert len(set(zip(sets, only_validates, strict=True))) == len(set(sets))
    assert any(only_validates) == (len(set(sets)) >= FEWEST_QUESTION_SETS)
    assert not all(only_validates)


@given(seed=seeds, num_options=st.integers(2, 7))
def test_tilting_gives_the_stance_and_leaves_an_answer_with_that_stance_alone(seed: int, num_options: int) -> None:
    rng = np.random.default_rng(seed)
    answers = torch.from_numpy(rng.dirichlet(np.full(num_options, 2.0), size=5)).clamp(min=1e-3)
    answers = answers / answers.sum(1, keepdim=True)
    scores = torch.linspace(1, -1, num_options, dtype=torch.float64)
    stance = torch.from_numpy(rng.uniform(-0.9, 0.9, 5))
    tilted = tilt_answers(answers, stance, scores)
    assert torch.allclose(tilted.sum(1), torch.ones(5, dtype=torch.float64))
    assert torch.allclose(tilted @ scores, stance, atol=1e-6)
    assert torch.allclose(tilt_answers(answers, answers @ scores, scores), answers, atol=1e-6)


@given(seed=seeds, num_agents=st.integers(1, 8), num_ties=st.integers(0, 12), num_copies=st.integers(1, 4))
def test_copies_of_a_graph_have_its_ties_and_none_between(
    seed: int, num_agents: int, num_ties: int, num_copies: int
) -> None:
    rng = np.random.default_rng(seed)
    dst = np.sort(rng.integers(0, num_agents, num_ties))
    graph = SocialGraph(
        offsets_N1=torch.from_numpy(np.searchsorted(dst, np.arange(num_agents + 1))),
        src_E=torch.from_numpy(rng.integers(0, num_agents, num_ties)),
        tie_type_E=torch.from_numpy(rng.integers(0, 4, num_ties)),
        strength_E=torch.ones(num_ties),
    )
    stacked = stack_graph(graph, num_copies)
    assert stacked.num_agents == num_copies * num_agents
    for copy in range(num_copies):
        ties = slice(copy * num_ties, (copy + 1) * num_ties)
        assert torch.equal(stacked.src_E[ties] - copy * num_agents, graph.src_E)
        assert torch.equal(
            listeners(stacked.offsets_N1, stacked.num_ties)[ties] - copy * num_agents,
            listeners(graph.offsets_N1, graph.num_ties),
        )


@given(seed=seeds, num_steps=st.integers(2, 9), num_agents=st.integers(1, 4))
def test_runs_of_exposure_say_exactly_who_was_reached_when(seed: int, num_steps: int, num_agents: int) -> None:
    reached = torch.from_numpy(np.random.default_rng(seed).random((num_steps, num_agents)) < 0.5)
    reached[0] = False
    rebuilt = torch.zeros_like(reached)
    for start, duration in constant_runs(reached):
        assert not rebuilt[start : start + duration].any()
        rebuilt[start : start + duration] = reached[start]
    assert torch.equal(rebuilt, reached)


@given(seed=seeds, slope=st.floats(-3, 3))
def test_a_probe_recovers_a_linear_target_and_axes_are_uncorrelated(seed: int, slope: float) -> None:
    latent = np.random.default_rng(seed).normal(size=(40, 6))
    axes = principal_axes(latent, 3)
    covariance = np.cov(axes.T)
    assert np.allclose(covariance, np.diag(np.diag(covariance)), atol=1e-8)
    target = slope * axes[:, 0] + 0.5
    assert np.allclose(cross_validated(axes[:, 0], target, np.arange(40) % 5), target, atol=1e-8)
