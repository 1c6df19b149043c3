"""Finite differences by reach and timing: equal to two rollouts made by hand, zero where nothing can change."""

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from assets.simulation.draws import replicate_seed
from assets.simulation.finite_differences import DIFFERENCED_FIELDS, STEP_OF_FIELD, values_around
from assets.simulation.interventions import intervention_surface
from assets.simulation.outcomes import summarise_outcomes
from assets.simulation.rollouts import SHARED_DRAWS
from assets.simulation.trajectories import simulate_scenario
from validation.contracts import CONTRACTS
from validation.exposure import uniform_per_agent

NUM_AGENTS = 120
PARTITION = {"replicate": 0, "seed": 5, "max_timesteps": 12}
FEW = settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
COLUMN_OF_FIELD = {"exposure.reach": "reach", "at": "timestep"}


@pytest.fixture
def tables(make_agents, make_ties, media_sources):
    return {"agents": make_agents(NUM_AGENTS), "ties": make_ties(NUM_AGENTS), "media_sources": media_sources}


@pytest.fixture
def differences_of(student, tables):
    def differences(scenario_rows: pl.DataFrame, event: str = "announcement", **options) -> pl.DataFrame:
        frame = intervention_surface(student, **tables | options, scenario_rows=scenario_rows, **PARTITION)
        rows = CONTRACTS["intervention_surface"].validate(frame).filter(pl.col("kind") == "finite_difference")
        return rows.filter(pl.col("parameter").str.starts_with(f"events.{event}."))

    return differences


@pytest.fixture
def final_answers(student, tables):
    def final(scenario_rows: pl.DataFrame, **options) -> pl.DataFrame:
        simulation = simulate_scenario(
            student, model_version=1, **tables | options, scenario_rows=scenario_rows, **PARTITION
        )
        (*_, last) = simulation.trajectory_chunks()
        return last

    return final


@given(value=st.floats(0, 1), start=st.integers(1, 30), num_timesteps=st.integers(1, 20))
def test_values_around_hold_the_files_value_and_stay_in_range(value, start, num_timesteps):
    below, above = values_around("exposure.reach", value, num_timesteps)
    assert 0 <= below <= value <= above <= 1
    assert below < above
    assert (value - below, above - value) <= (0.1 + 1e-8, 0.1 + 1e-8)
    earlier, later = values_around("at", start, num_timesteps)
    assert earlier == max(start - 1, 1)
    assert later == (start + 1 if start < num_timesteps else start)


@FEW
@example(reach=1.0, timestep=1)
@example(reach=0.02, timestep=4)
@given(reach=st.floats(0, 1), timestep=st.integers(1, 4))
def test_a_quotient_is_that_of_two_rollouts_made_by_hand(
    reach, timestep, differences_of, make_scenario_rows, final_answers, tables
):
    file = {"reach": reach, "timestep": timestep}
    found = differences_of(make_scenario_rows(**file))
    for field, column in COLUMN_OF_FIELD.items():
        rows = found.filter(pl.col("parameter") == f"events.announcement.{field}")
        ends = {}
        for end in ("value_below", "value_above"):
            changed = make_scenario_rows(**file | {column: type(file[column])(rows[end][0])})
            outcomes = summarise_outcomes([final_answers(changed)], tables["agents"], changed)
            ends[end] = dict(outcomes.filter(pl.col("segment") == "all").select("option", "share").iter_rows())
        width = rows["value_above"][0] - rows["value_below"][0]
        assert 0 < width <= 2 * STEP_OF_FIELD[field] + 1e-8
        assert rows["value"].unique().to_list() == [file[column]]
        for option, derivative in rows.select("outcome", "derivative").iter_rows():
            expected = (ends["value_above"][option] - ends["value_below"][option]) / width
            assert derivative == pytest.approx(expected, abs=1e-6 / width)


@FEW
@given(reach=st.floats(0, 1), timestep=st.integers(1, 4))
def test_quotients_of_a_questions_options_sum_to_zero(reach, timestep, differences_of, make_scenario_rows):
    found = differences_of(make_scenario_rows(reach=reach, timestep=timestep))
    sums = found.group_by("parameter", "question_id").agg(pl.col("derivative").sum(), pl.len())
    assert sums["len"].to_list() == [3, 3]
    np.testing.assert_allclose(sums["derivative"], 0.0, atol=1e-5)
    assert found["derivative"].abs().max() > 1e-4


@FEW
@given(reach=st.floats(0, 1), timestep=st.integers(1, 4))
def test_an_event_without_audience_changes_nothing(reach, timestep, differences_of, make_scenario_rows):
    rows = make_scenario_rows(reach=reach, timestep=timestep, exposure_where="age < 18")
    found = differences_of(rows)
    assert found.height == 3 * len(DIFFERENCED_FIELDS)
    assert (found["derivative"] == 0).all()
    assert (differences_of(rows, "story")["derivative"] != 0).all()


def test_without_ties_reach_is_worth_what_it_does_to_those_newly_reached(
    differences_of, make_scenario_rows, final_answers, tables
):
    """Agents that hear nobody answer for themselves, so that shares are sums over who was reached and who was not."""
    alone = {"ties": tables["ties"].filter(pl.col("tie_type") == "media")}
    at = {reach: make_scenario_rows(scenario_id="charge", reach=reach) for reach in (0.0, 1.0)}
    draw_N = uniform_per_agent(
        f"{SHARED_DRAWS}/announcement", np.arange(NUM_AGENTS), replicate_seed(PARTITION["seed"], PARTITION["replicate"])
    )
    new_N = (draw_N >= 0.6) & (draw_N < 0.8)
    assert 0 < new_N.sum() < NUM_AGENTS / 2
    told_NO, untold_NO = (
        np.array(final_answers(at[reach], **alone).sort("agent_id")["option_probabilities"].to_list())
        for reach in (1.0, 0.0)
    )
    expected_O = ((told_NO - untold_NO)[new_N].sum(axis=0) / NUM_AGENTS) / 0.2
    rows = differences_of(make_scenario_rows(reach=0.7), **alone).filter(pl.col("parameter").str.ends_with(".reach"))
    assert np.abs(expected_O).max() > 1e-4
    np.testing.assert_allclose(rows["derivative"], expected_O, atol=1e-6)


def test_an_event_after_the_end_is_worth_nothing(differences_of, make_scenario_rows, monkeypatch):
    monkeypatch.setitem(PARTITION, "max_timesteps", 1)
    found = differences_of(make_scenario_rows(timestep=3))
    assert found.filter(pl.col("parameter").str.ends_with(".at"))["value_above"].unique().to_list() == [3.0]
    assert (found["derivative"] == 0).all()


def test_where_an_event_has_one_time_alone_timing_has_no_quotient(differences_of, make_scenario_rows, monkeypatch):
    monkeypatch.setitem(PARTITION, "max_timesteps", 1)
    found = differences_of(make_scenario_rows())
    timing = found.filter(pl.col("parameter").str.ends_with(".at"))
    assert timing.height == 3
    assert timing["derivative"].is_null().all()
    assert timing.select("value", "value_below", "value_above").unique().rows() == [(1.0, 1.0, 1.0)]
    assert found.filter(pl.col("parameter").str.ends_with(".reach"))["derivative"].is_not_null().all()


def test_values_that_are_the_files_cost_no_rollout(student, tables, make_scenario_rows, monkeypatch):
    """The announcement at timestep 1 can only come later; the story at 2 takes four rollouts."""
    from assets.simulation import finite_differences

    rolled_out = []

    def counting(model, inputs):
        rolled_out.append(inputs)
        return original(model, inputs)

    original = finite_differences.final_shares
    monkeypatch.setattr(finite_differences, "final_shares", counting)
    intervention_surface(student, **tables, scenario_rows=make_scenario_rows(), **PARTITION)
    assert len(rolled_out) == 3 + 4
