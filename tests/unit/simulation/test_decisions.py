"""The decision summary: combining replicates, and standing beside baseline and mechanism."""

import numpy as np
import polars as pl
import pytest

from assets.simulation.decisions import SUMMARY_SCHEMA, decision_summary
from assets.simulation.outcomes import summarise_outcomes


@pytest.fixture
def tables(make_agents, make_trajectories, make_question_rows):
    def outcomes_of(support: float, **partition) -> pl.DataFrame:
        probability_TNO = np.tile(np.array([support, 1 - support, 0.0]), (2, 60, 1))
        probability_TNO[1, :30] = [support - 0.1, 1.1 - support, 0.0]
        probability_TNO[1, 30:] = [support + 0.1, 0.9 - support, 0.0]
        return summarise_outcomes(
            make_trajectories(probability_TNO, **partition),
            make_agents(60),
            make_question_rows(partition["scenario_id"]),
        )

    outcomes = pl.concat(
        [
            outcomes_of(0.5, scenario_id="charge", replicate=0),
            outcomes_of(0.6, scenario_id="charge", replicate=1),
            outcomes_of(0.3, scenario_id="charge", replicate=0, engine="lpm_opinion"),
            outcomes_of(0.2, scenario_id="status-quo", replicate=0),
        ]
    )
    scenarios = pl.concat([make_question_rows("charge", baseline="status-quo"), make_question_rows("status-quo")])
    return outcomes, scenarios


def test_scenario_stands_beside_baseline_and_mechanism(tables):
    summary = decision_summary(*tables)
    assert dict(summary.schema) == SUMMARY_SCHEMA
    row = summary.row(0, named=True)
    assert (row["scenario_id"], row["option"], row["timestep"]) == ("charge", "support", 1)
    assert row["share"] == pytest.approx(0.55, abs=1e-6)
    assert row["initial_share"] == pytest.approx(0.55, abs=1e-6)
    assert row["baseline_share"] == pytest.approx(0.2, abs=1e-6)
    assert row["difference"] == pytest.approx(0.35, abs=1e-6)
    assert row["opinion_share"] == pytest.approx(0.3, abs=1e-6)
    assert row["num_replicates"] == 2


def test_two_replicates_follow_rubin(tables):
    row = decision_summary(*tables).row(0, named=True)
    within, between = 0.01 / 59, 1.5 * 0.005
    degrees_of_freedom = (1 + within / between) ** 2
    from scipy import stats

    half_width = stats.t.ppf(0.975, degrees_of_freedom) * np.sqrt(within + between)
    assert row["lower"] == pytest.approx(max(0.55 - half_width, 0), abs=1e-4)
    assert row["upper"] == pytest.approx(min(0.55 + half_width, 1), abs=1e-4)


def test_one_replicate_keeps_its_own_interval(tables):
    outcomes, scenarios = tables
    row = decision_summary(outcomes, scenarios).row(
        by_predicate=(pl.col("scenario_id") == "status-quo") & (pl.col("option") == "support"), named=True
    )
    own = outcomes.row(
        by_predicate=(pl.col("scenario_id") == "status-quo")
        & (pl.col("option") == "support")
        & (pl.col("timestep") == 1)
        & (pl.col("segment") == "all"),
        named=True,
    )
    assert (row["share"], row["lower"], row["upper"]) == (own["share"], own["lower"], own["upper"])
    assert row["baseline_share"] is None
