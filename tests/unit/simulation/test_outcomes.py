"""Outcomes against closed forms: shares, intervals over donors, suppressed segments, refused input."""

import numpy as np
import polars as pl
import pytest

from assets.simulation.outcomes import summarise_outcomes
from assets.simulation.segments import MIN_SEGMENT_SIZE, NORMAL_QUANTILE, segment_agents
from validation.contracts import CONTRACTS


@pytest.fixture
def probability_TNO() -> np.ndarray:
    return np.random.default_rng(3).dirichlet((2.0, 1.0, 0.5), size=(3, 400))


def test_shares_are_means_and_decision_shares_are_counts(
    make_agents, make_trajectories, make_question_rows, probability_TNO
):
    outcomes = summarise_outcomes(make_trajectories(probability_TNO), make_agents(400), make_question_rows())
    CONTRACTS["outcomes"].validate(outcomes)
    last = outcomes.filter((pl.col("segment") == "all") & (pl.col("timestep") == 2)).sort("option")
    order = [1, 0, 2]
    assert last["option"].to_list() == ["oppose", "support", "unsure"]
    np.testing.assert_allclose(last["share"], probability_TNO[2].mean(axis=0)[order], atol=1e-6)
    counted = np.bincount(probability_TNO[2].argmax(axis=1), minlength=3) / 400
    np.testing.assert_allclose(last["decision_share"], counted[order], atol=1e-12)
    assert set(outcomes["num_agents"].filter(outcomes["segment"] == "all")) == {400}


def test_interval_of_unrelated_agents_is_the_textbook_one(
    make_agents, make_trajectories, make_question_rows, probability_TNO
):
    outcomes = summarise_outcomes(make_trajectories(probability_TNO), make_agents(400), make_question_rows())
    row = outcomes.row(
        by_predicate=(pl.col("segment") == "all") & (pl.col("timestep") == 0) & (pl.col("option") == "support"),
        named=True,
    )
    half_width = NORMAL_QUANTILE * probability_TNO[0, :, 0].std(ddof=1) / 20
    assert row["upper"] - row["share"] == pytest.approx(half_width, rel=1e-4)
    assert row["share"] - row["lower"] == pytest.approx(half_width, rel=1e-4)


def test_copies_of_a_donor_add_no_information(make_agents):
    values_N1 = np.random.default_rng(5).normal(size=(100, 1))
    once = segment_agents(make_agents(100), np.arange(100)).means(values_N1)[0]
    copied = segment_agents(make_agents(400, num_donors=100), np.arange(400)).means(np.tile(values_N1, (4, 1)))[0]
    assert copied.mean_O == pytest.approx(once.mean_O)
    assert copied.standard_error_O == pytest.approx(once.standard_error_O)


def test_one_donor_gives_no_interval_but_the_whole_range(make_agents):
    mean = segment_agents(make_agents(40, num_donors=1), np.arange(40)).means(np.full((40, 1), 0.25))[0]
    lower_O, upper_O = mean.interval(0.0, 1.0)
    assert np.isnan(mean.standard_error_O).all()
    assert (lower_O[0], upper_O[0]) == (0.0, 1.0)


def test_small_segments_are_left_out_but_never_the_whole(make_agents, make_trajectories, make_question_rows):
    probability_TNO = np.full((1, 20, 3), 1 / 3)
    outcomes = summarise_outcomes(make_trajectories(probability_TNO), make_agents(20), make_question_rows())
    assert outcomes["segment"].unique().to_list() == ["all"]
    many = summarise_outcomes(make_trajectories(np.full((1, 300, 3), 1 / 3)), make_agents(300), make_question_rows())
    assert many["num_agents"].min() >= MIN_SEGMENT_SIZE
    assert not many.filter(pl.col("segment").str.starts_with("state=")).height


def test_engines_are_kept_apart(make_agents, make_trajectories, make_question_rows):
    ones = np.tile(np.eye(3)[0], (1, 50, 1))
    others = np.tile(np.eye(3)[1], (1, 50, 1))
    frame = pl.concat([make_trajectories(ones), make_trajectories(others, engine="lpm_opinion")])
    outcomes = summarise_outcomes(frame, make_agents(50), make_question_rows())
    support = outcomes.filter((pl.col("segment") == "all") & (pl.col("option") == "support"))
    assert dict(support.select("engine", "share").iter_rows()) == {"lsm": 1.0, "lpm_opinion": 0.0}


def test_a_timestep_in_two_chunks_is_refused(make_agents, make_trajectories, make_question_rows, probability_TNO):
    frame = make_trajectories(probability_TNO)
    with pytest.raises(ValueError, match="more than one chunk"):
        summarise_outcomes([frame, frame], make_agents(400), make_question_rows())


def test_options_that_changed_since_are_refused(make_agents, make_trajectories, make_question_rows, probability_TNO):
    with pytest.raises(ValueError, match="scenario changed after the simulation"):
        summarise_outcomes(
            make_trajectories(probability_TNO), make_agents(400), make_question_rows(options=("yes", "no"))
        )


def test_agents_of_another_population_are_refused(make_agents, make_trajectories, make_question_rows, probability_TNO):
    with pytest.raises(ValueError, match="another population"):
        summarise_outcomes(make_trajectories(probability_TNO), make_agents(100), make_question_rows())
