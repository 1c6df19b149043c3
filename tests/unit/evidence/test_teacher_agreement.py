import numpy as np
import polars as pl
import pytest

from assets.evidence.agreement_cells import padded
from assets.evidence.teacher_agreement import IS_HIGHER_BETTER, teacher_agreement
from validation import metrics


@pytest.fixture(scope="module")
def scores(evidence_tables) -> pl.DataFrame:
    return evidence_tables["teacher_agreement"]


def figure(scores: pl.DataFrame, metric: str, model: str = "lsm", slice_name: str = "all") -> dict:
    rows = scores.filter((pl.col("metric") == metric) & (pl.col("model") == model) & (pl.col("slice") == slice_name))
    assert len(rows) == 1
    return rows.row(0, named=True)


def with_predictions(evidence_tables, predicted: pl.Expr) -> pl.DataFrame:
    tables = evidence_tables
    held_out = tables["held_out_predictions"].filter(pl.col("model") == "lsm").with_columns(predicted)
    return teacher_agreement(held_out, tables["reasoning_traces"], tables["agents"], tables["scenarios"], seed=1)


def test_row_metrics_equal_the_shared_definitions(evidence_tables, scores):
    rows = evidence_tables["held_out_predictions"].filter(pl.col("model") == "lsm")
    predicted, teacher = (padded(rows[name], 3) for name in ("option_probabilities", "teacher_probabilities"))
    assert figure(scores, "tvd")["value"] == pytest.approx(metrics.tvd(predicted, teacher).mean())
    assert figure(scores, "jsd")["value"] == pytest.approx(metrics.jsd(predicted, teacher).mean())
    assert figure(scores, "w1_ordinal")["value"] == pytest.approx(metrics.w1_ordinal(predicted, teacher).mean())
    assert figure(scores, "log_loss")["value"] == pytest.approx(metrics.log_loss(predicted, teacher))


def test_calibration_error_equals_the_shared_definition(evidence_tables, scores):
    keys = ["scenario_id", "question_id", "agent_id", "timestep"]
    first = evidence_tables["reasoning_traces"].filter(pl.col("draw") == 0).select(*keys, "option")
    rows = evidence_tables["held_out_predictions"].filter(pl.col("model") == "lsm").join(first, on=keys)
    observed = np.array([("favor", "neither", "oppose").index(option) for option in rows["option"]])
    expected = metrics.ece(padded(rows["option_probabilities"], 3), observed)
    assert figure(scores, "ece")["value"] == pytest.approx(expected)


def test_a_student_that_repeats_the_teacher_is_perfect(evidence_tables):
    perfect = with_predictions(evidence_tables, pl.col("teacher_probabilities").alias("option_probabilities"))
    for metric, best in (("tvd", 0.0), ("jsd", 0.0), ("subgroup_gap", 0.0), ("dispersion_ratio", 1.0)):
        assert figure(perfect, metric)["value"] == pytest.approx(best, abs=1e-9)
    assert figure(perfect, "treatment_effect_correlation")["value"] == pytest.approx(1.0)
    assert figure(perfect, "treatment_effect_sign_agreement")["value"] == pytest.approx(1.0)


def test_a_uniform_student_has_no_dispersion_and_no_effects(scores):
    assert figure(scores, "dispersion_ratio", "uniform")["value"] == pytest.approx(0.0, abs=1e-9)
    correlation = figure(scores, "treatment_effect_correlation", "uniform")
    assert correlation["value"] is None
    assert "do not vary" in correlation["note"]


def test_noise_floor_is_the_teacher_against_its_redraws(evidence_tables, scores):
    keys = ["scenario_id", "question_id", "agent_id", "timestep"]
    traces = evidence_tables["reasoning_traces"]
    first = traces.filter(pl.col("draw") == 0).select(*keys, pl.col("option_probabilities").alias("first"))
    again = traces.filter(pl.col("draw") > 0).join(first, on=keys)
    expected = metrics.tvd(padded(again["option_probabilities"], 3), padded(again["first"], 3)).mean()
    assert figure(scores, "tvd")["noise_floor"] == pytest.approx(expected)
    assert scores.filter((pl.col("metric") == "tvd") & (pl.col("slice") == "all"))["noise_floor"].n_unique() == 1


def test_without_redraws_the_noise_floor_is_missing_and_says_so(evidence_tables):
    tables = evidence_tables
    scores = teacher_agreement(
        tables["held_out_predictions"],
        tables["reasoning_traces"].filter(pl.col("draw") == 0),
        tables["agents"],
        tables["scenarios"],
        seed=1,
    )
    assert scores["noise_floor"].null_count() == len(scores)
    assert "redraws" in figure(scores, "tvd")["note"]


def test_every_model_metric_and_slice_has_a_row(scores):
    assert set(scores["metric"]) == set(IS_HIGHER_BETTER)
    assert {"all", "late_timesteps", "held_out=agents", "scenario=quiet", "scenario=reform"} == set(scores["slice"])
    assert len(scores) == scores["metric"].n_unique() * scores["slice"].n_unique() * scores["model"].n_unique()
    assert scores.filter(pl.col("value").is_null())["note"].null_count() == 0


def test_better_models_score_better_and_intervals_hold_the_value(scores):
    order = ["lsm", "lsm_no_graph", "persistence", "uniform"]
    values = [figure(scores, "tvd", model)["value"] for model in order]
    assert values == sorted(values)
    known = scores.drop_nulls(["value", "lower", "upper"])
    assert (known["lower"] <= known["value"]).all()
    assert (known["value"] <= known["upper"]).all()


def test_same_seed_same_figures(evidence_tables, scores):
    again = with_predictions(evidence_tables, pl.col("option_probabilities"))
    assert again.equals(scores.filter(pl.col("model") == "lsm"))


def test_predictions_of_an_unknown_question_are_refused(evidence_tables):
    with pytest.raises(ValueError, match="scenarios table does not ask"):
        with_predictions(evidence_tables, pl.lit("other").alias("question_id"))
