"""The mechanistic baseline: starts where the student starts, answers with its stance, sees the same events."""

import numpy as np
import polars as pl
import pytest

from assets.simulation.opinion import simulate_opinion_baseline, tilt_to_stance
from assets.simulation.trajectories import simulate_scenario
from validation.contracts import CONTRACTS

NUM_AGENTS = 120
PARTITION = {"replicate": 0, "seed": 5, "max_timesteps": 12}


@pytest.fixture
def tables(make_agents, make_ties, media_sources):
    return {"agents": make_agents(NUM_AGENTS), "ties": make_ties(NUM_AGENTS), "media_sources": media_sources}


def test_rows_start_as_the_students_and_keep_the_contract(student, tables, make_scenario_rows):
    rows = make_scenario_rows(where="age >= 30")
    baseline = pl.concat(simulate_opinion_baseline(student, **tables, scenario_rows=rows, **PARTITION))
    CONTRACTS["trajectories"].validate(baseline)
    ours = next(
        simulate_scenario(student, model_version=1, **tables, scenario_rows=rows, **PARTITION).trajectory_chunks()
    )
    first = baseline.filter(pl.col("timestep") == 0)
    assert first["agent_id"].equals(ours["agent_id"])
    assert first["decision"].equals(ours["decision"])
    differences = (first["option_probabilities"].explode() - ours["option_probabilities"].explode()).abs()
    assert differences.max() < 1e-6
    assert baseline["timestep"].max() == 4
    assert baseline.select("engine", "model_version").unique().rows() == [("lpm_opinion", 0)]


def test_valence_moves_the_mechanism_its_way(student, tables, make_scenario_rows):
    def final_support(**event) -> float:
        rows = make_scenario_rows(**event)
        last = list(simulate_opinion_baseline(student, **tables, scenario_rows=rows, **PARTITION))[-1]
        return last["option_probabilities"].list.first().mean()

    assert final_support(valence=-1.0) < final_support(valence=0.0) < final_support(valence=1.0)


@pytest.mark.parametrize("scores", [(1.0, -1.0, 0.0), (1.0, 0.5, -0.5, -1.0)])
def test_tilted_probabilities_have_the_stance(scores):
    generator = np.random.default_rng(1)
    score_O = np.array(scores)
    probability_NO = generator.dirichlet(np.ones(len(scores)), size=200)
    stance_N = generator.uniform(-0.95, 0.95, 200)
    tilted_NO = tilt_to_stance(probability_NO, score_O, stance_N)
    np.testing.assert_allclose(tilted_NO.sum(axis=1), 1.0)
    np.testing.assert_allclose(tilted_NO @ score_O, stance_N, atol=1e-9)


def test_an_unmoved_stance_leaves_probabilities_alone():
    probability_NO = np.random.default_rng(2).dirichlet(np.ones(3), size=50)
    score_O = np.array([1.0, -1.0, 0.0])
    np.testing.assert_allclose(tilt_to_stance(probability_NO, score_O, probability_NO @ score_O), probability_NO)


def test_two_options_are_determined_by_the_stance():
    tilted_NO = tilt_to_stance(np.array([[0.9, 0.1]]), np.array([1.0, -1.0]), np.array([0.2]))
    np.testing.assert_allclose(tilted_NO, [[0.6, 0.4]], atol=1e-9)


def test_stances_beyond_the_scores_are_met_as_closely_as_possible():
    tilted_NO = tilt_to_stance(np.array([[0.5, 0.5]]), np.array([0.5, -0.5]), np.array([0.9]))
    assert tilted_NO[0, 0] == pytest.approx(1.0)


def test_options_without_positions_cannot_move():
    probability_NO = np.array([[0.2, 0.8]])
    np.testing.assert_allclose(tilt_to_stance(probability_NO, np.zeros(2), np.array([0.5])), probability_NO)
