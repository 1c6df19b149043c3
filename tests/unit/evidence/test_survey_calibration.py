import numpy as np
import polars as pl
import pytest

from assets.evidence.survey_calibration import survey_calibration
from assets.evidence.survey_shares import (
    WeightedShares,
    choose_wave,
    resample_shares,
    sampling_error,
    weighted_shares,
)
from validation.metrics import tvd

INPUTS = (
    "outcomes",
    "agents",
    "survey_respondents",
    "calibrated_respondents",
    "population_margins",
    "scenarios",
)


def score(tables: dict[str, pl.DataFrame], **changed: pl.DataFrame) -> pl.DataFrame:
    return survey_calibration(**{name: changed.get(name, tables[name]) for name in INPUTS}, seed=1)


def figure(scores: pl.DataFrame, slice_name: str, model: str = "student", metric: str = "tvd") -> dict:
    rows = scores.filter((pl.col("metric") == metric) & (pl.col("model") == model) & (pl.col("slice") == slice_name))
    assert len(rows) == 1
    return rows.row(0, named=True)


def survey_shares(tables, *conditions: pl.Expr) -> np.ndarray:
    donors = tables["survey_respondents"].join(
        tables["calibrated_respondents"].select("respondent_id", "calibrated_weight"), on="respondent_id"
    )
    chosen = donors.filter(*conditions)
    totals = dict(chosen.group_by("item_tax_reform").agg(pl.col("calibrated_weight").sum()).iter_rows())
    weights = np.array([totals[option] for option in ("favor", "neither", "oppose")])
    return weights / weights.sum()


def test_the_student_is_compared_with_weighted_shares_of_the_donors_wave(evidence_tables):
    outcomes = evidence_tables["outcomes"].filter(
        (pl.col("timestep") == 0) & (pl.col("segment") == "party=democrat") & (pl.col("engine") == "lsm")
    )
    simulated = [
        outcomes.filter(pl.col("option") == option)["share"].mean() for option in ("favor", "neither", "oppose")
    ]
    expected = tvd(simulated, survey_shares(evidence_tables, pl.col("party") == "democrat"))
    found = figure(evidence_tables["survey_calibration"], "reform/support/party=democrat")
    assert found["value"] == pytest.approx(float(expected))
    assert found["held_out"] == "nothing"
    assert "2016" in found["note"]


def test_uniform_is_scored_against_the_same_shares(evidence_tables):
    found = figure(evidence_tables["survey_calibration"], "quiet/support/all", "uniform")
    assert found["value"] == pytest.approx(float(tvd([1 / 3] * 3, survey_shares(evidence_tables))))


def test_donor_answers_are_exact_when_agents_are_the_donors_themselves(evidence_tables):
    donors = evidence_tables["calibrated_respondents"].with_columns(pl.lit(1.0).alias("calibrated_weight"))
    ids = donors["respondent_id"]
    agents = evidence_tables["agents"].head(len(ids)).with_columns(ids)
    everybody = score(evidence_tables, agents=agents, calibrated_respondents=donors)
    assert figure(everybody, "quiet/support/all", "donor_answers")["value"] == pytest.approx(0.0, abs=1e-12)


def test_the_earlier_wave_is_the_persistence_baseline(evidence_tables):
    assert figure(evidence_tables["survey_calibration"], "quiet/support/all", "persistence")["value"] > 0
    one_wave = evidence_tables["survey_respondents"].filter(pl.col("wave") == 2016)
    scores = score(evidence_tables, survey_respondents=one_wave)
    assert "persistence" not in set(scores["model"])


def test_small_groups_are_suppressed_with_a_note(evidence_tables):
    few = evidence_tables["survey_respondents"].with_columns(
        pl.when((pl.col("party") == "democrat") & (pl.int_range(pl.len()) % 9 > 0))
        .then(None)
        .otherwise(pl.col("item_tax_reform"))
        .alias("item_tax_reform")
    )
    found = figure(score(evidence_tables, survey_respondents=few), "quiet/support/party=democrat")
    assert found["value"] is None
    assert "suppressed" in found["note"]


def test_a_question_without_its_item_says_why_there_is_no_figure(evidence_tables):
    scenarios = evidence_tables["scenarios"].with_columns(
        pl.when(pl.col("item").is_not_null()).then(pl.lit("unasked")).alias("item")
    )
    found = figure(score(evidence_tables, scenarios=scenarios), "quiet/support/all")
    assert found["value"] is None
    assert "no loaded survey asks" in found["note"]


def test_respondents_follow_the_scenarios_population(evidence_tables):
    scenarios = evidence_tables["scenarios"].with_columns(pl.lit("party = 'democrat'").alias("population_where"))
    found = figure(score(evidence_tables, scenarios=scenarios), "quiet/support/all", "uniform")
    expected = tvd([1 / 3] * 3, survey_shares(evidence_tables, pl.col("party") == "democrat"))
    assert found["value"] == pytest.approx(float(expected))


def test_margin_error_is_the_largest_difference_of_a_level(evidence_tables):
    agents = evidence_tables["agents"].with_columns(pl.lit("male").alias("sex"))
    margins = evidence_tables["population_margins"]
    female = margins.filter((pl.col("margin") == "sex") & (pl.col("level") == "female"))["share"][0]
    scores = score(evidence_tables, agents=agents)
    assert figure(scores, "margin=sex", "agents", "max_margin_error")["value"] == pytest.approx(female)


def test_noise_floor_shrinks_with_the_effective_sample():
    shares = np.array([0.5, 0.3, 0.2])
    small, large = (
        sampling_error(tvd(resample_shares(WeightedShares(shares, size, size), np.random.default_rng(1)), shares))
        for size in (100, 10_000)
    )
    assert large == pytest.approx(small / 10, rel=0.15)


def test_weighted_shares_carry_kish_effective_size():
    frame = pl.DataFrame({"answer": ["a", "a", "b"], "weight": [1.0, 1.0, 2.0]})
    found = weighted_shares(frame, ("a", "b"))
    assert found is not None
    assert found.share_O.tolist() == [0.5, 0.5]
    assert found.effective_size == pytest.approx(16 / 6)


def test_waves_prefer_donors_then_the_latest_year():
    waves = pl.DataFrame(
        {
            "survey": ["donors", "panel", "panel"],
            "wave": [2016, 2018, 2020],
            "num_respondents": [500, 900, 800],
            "num_donors": [500, 0, 0],
        }
    )
    assert choose_wave(waves)[0].survey == "donors"
    best, before = choose_wave(waves.filter(pl.col("survey") == "panel"))
    assert (best.year, before.year if before else None) == (2020, 2018)
