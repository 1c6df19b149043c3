"""Rollouts of a small student: rows keep their contracts, follow the engine, and share draws across scenarios."""

import numpy as np
import polars as pl
import pytest
import torch

from assets.simulation.counterfactuals import compare_scenarios
from assets.simulation.rollouts import prepare_rollout, rollout_steps
from assets.simulation.trajectories import simulate_scenario
from assets.simulation.trajectory_rows import LatentAxes
from model.lsm.rollout import rollout
from validation.contracts import CONTRACTS

NUM_AGENTS = 150


@pytest.fixture
def simulate(student, make_agents, make_ties, media_sources):
    def run(scenario_rows: pl.DataFrame, *, replicate: int = 0, seed: int = 5, max_timesteps: int = 12):
        return simulate_scenario(
            student,
            model_version=3,
            agents=make_agents(NUM_AGENTS),
            ties=make_ties(NUM_AGENTS),
            media_sources=media_sources,
            scenario_rows=scenario_rows,
            replicate=replicate,
            seed=seed,
            max_timesteps=max_timesteps,
        )

    return run


def whole(simulation) -> pl.DataFrame:
    return pl.concat(simulation.trajectory_chunks())


def test_rows_keep_their_contracts_and_come_one_timestep_at_a_time(simulate, make_scenario_rows):
    simulation = simulate(make_scenario_rows())
    chunks = list(simulation.trajectory_chunks())
    assert [chunk["timestep"].unique().to_list() for chunk in chunks] == [[timestep] for timestep in range(5)]
    trajectories = CONTRACTS["trajectories"].validate(pl.concat(chunks))
    assert len(trajectories) == 5 * NUM_AGENTS
    assert trajectories["model_version"].unique().to_list() == [3]
    sums = trajectories["option_probabilities"].list.sum().to_numpy()
    np.testing.assert_allclose(sums, 1.0, atol=1e-6)
    episodes = CONTRACTS["episodes"].validate(simulation.episodes())
    assert set(episodes["event_id"].drop_nulls()) <= {"announcement", "story", "backlash"}
    assert episodes["timestep"].min() >= 1
    assert (episodes["event_id"].is_null() == (episodes["kind"] == "peers")).all()


def test_steps_equal_the_engines_own_rollout(student, make_agents, make_ties, media_sources, make_scenario_rows):
    inputs = prepare_rollout(
        make_agents(NUM_AGENTS),
        make_ties(NUM_AGENTS),
        media_sources,
        make_scenario_rows(where="age >= 30"),
        replicate=0,
        seed=5,
        max_timesteps=12,
    )
    records = []
    with torch.no_grad():
        rollout(
            student,
            inputs.attributes_NA,
            inputs.graph,
            inputs.timeline,
            inputs.questions,
            inputs.triggers,
            inputs.num_timesteps,
            seed=inputs.seed,
            record=records.append,
            counted_N=inputs.counted_N,
        )
    ours = [step.record for step in rollout_steps(student, inputs)]
    assert [record.timestep for record in ours] == [record.timestep for record in records]
    assert any(2 in record.active_V.tolist() for record in ours), "the trigger never fired"
    for mine, theirs in zip(ours, records, strict=True):
        assert torch.equal(mine.channels_NK, theirs.channels_NK)
        assert torch.equal(mine.option_probabilities[0], theirs.option_probabilities[0])
        assert torch.equal(mine.active_V, theirs.active_V)


def test_reading_rows_leaves_gradients_of_the_reader_on(simulate, make_scenario_rows):
    for _ in simulate(make_scenario_rows()).trajectory_chunks():
        assert torch.is_grad_enabled()


def test_same_seed_same_rows_and_replicates_differ(simulate, make_scenario_rows):
    rows = make_scenario_rows()
    first = whole(simulate(rows))
    assert whole(simulate(rows)).equals(first)
    second = whole(simulate(rows, replicate=1))
    assert not second.drop("replicate").equals(first.drop("replicate"))
    assert not second["channels"].equals(first["channels"])


def test_blocks_of_agents_change_no_bit(simulate, make_scenario_rows, monkeypatch):
    together = whole(simulate(make_scenario_rows()))
    monkeypatch.setattr("assets.simulation.rollouts.AGENTS_PER_BLOCK", 37)
    assert whole(simulate(make_scenario_rows())).equals(together)


def test_a_scenario_without_events_equals_its_baseline(simulate, make_scenario_rows, make_agents):
    quiet = make_scenario_rows("quiet", has_events=False)
    ours = whole(simulate(quiet))
    theirs = whole(simulate(make_scenario_rows("status-quo", has_events=False)))
    rows = compare_scenarios(ours, theirs, make_agents(NUM_AGENTS), quiet)
    assert (rows["difference"] == 0).all()
    assert not rows["has_flipped"].any()
    assert ours["decision"].equals(theirs["decision"])


def test_a_shared_event_reaches_the_same_agents(simulate, make_scenario_rows, make_agents):
    """With all events shared, scenario and baseline stay equal although reach is drawn."""
    scenario = make_scenario_rows("charge")
    ours, theirs = whole(simulate(scenario)), whole(simulate(make_scenario_rows("status-quo")))
    rows = compare_scenarios(ours, theirs, make_agents(NUM_AGENTS), scenario)
    assert (rows["difference"] == 0).all()


def test_nothing_differs_before_the_first_event_and_something_after(simulate, make_scenario_rows):
    ours = whole(simulate(make_scenario_rows("charge")))
    theirs = whole(simulate(make_scenario_rows("status-quo", has_events=False)))
    for timestep, is_equal in ((0, True), (1, False)):
        mine, other = (frame.filter(pl.col("timestep") == timestep) for frame in (ours, theirs))
        assert mine["option_probabilities"].equals(other["option_probabilities"]) == is_equal
        assert mine["latent_summary"].equals(other["latent_summary"]) == is_equal


def test_only_the_scenarios_population_leaves_rows_but_all_are_heard(simulate, make_scenario_rows, make_agents):
    part = whole(simulate(make_scenario_rows(where="sex = 'female'")))
    everybody = whole(simulate(make_scenario_rows()))
    women = make_agents(NUM_AGENTS).filter(pl.col("sex") == "female")["agent_id"]
    assert sorted(part["agent_id"].unique()) == sorted(women)
    assert part["channels"].equals(everybody.filter(pl.col("agent_id").is_in(women.implode()))["channels"])


def test_an_empty_population_is_refused(simulate, make_scenario_rows):
    with pytest.raises(ValueError, match=r"no agent satisfies population\.where"):
        simulate(make_scenario_rows(where="age >= 109"))


def test_chunks_are_read_once_and_episodes_after_them(simulate, make_scenario_rows):
    simulation = simulate(make_scenario_rows())
    with pytest.raises(RuntimeError, match="to the end first"):
        simulation.episodes()
    whole(simulation)
    with pytest.raises(RuntimeError, match="read once"):
        next(simulation.trajectory_chunks())


def test_timesteps_are_capped(simulate, make_scenario_rows):
    simulation = simulate(make_scenario_rows(), max_timesteps=2)
    assert whole(simulation)["timestep"].max() == simulation.num_timesteps == 2


def test_latent_axes_are_orthonormal_by_variance_and_signed():
    latent_NU = np.random.default_rng(0).normal(size=(500, 6)) * np.array([5, 0.1, 3, 0.1, 1, 0.1])
    axes = LatentAxes.of(latent_NU)
    np.testing.assert_allclose(axes.axes_UP.T @ axes.axes_UP, np.eye(3), atol=1e-12)
    assert np.abs(axes.axes_UP).argmax(axis=0).tolist() == [0, 2, 4]
    assert (axes.axes_UP[[0, 2, 4], range(3)] > 0).all()
    np.testing.assert_allclose(axes.project(latent_NU).mean(axis=0), 0.0, atol=1e-12)
