"""Recorded models and students against a weighted survey: closed forms, baselines, and the student against both."""

import numpy as np
import polars as pl
import pytest
import torch

from assets.evidence.recorded_calibration import recorded_calibration, student_answers
from model.lsm.config import LSMConfig
from model.lsm.lsm import LSM
from validation.contracts import CONTRACTS

NUM, PERSONAS = 400, 150
NO_STUDENT = pl.DataFrame(schema={"model": pl.String, "question_id": pl.String, "shares": pl.List(pl.Float64)})


def questions(text_dim: int = 1) -> pl.DataFrame:
    rows = [
        {
            "scenario_id": "town", "question_id": name, "variable": name, "text": name, "options": ["yes", "no"],
            "option_scores": [1.0, -1.0], "scale": "nominal", "item": name, "note": note, "text_encoder": "none",
            "text_embedding": [1.0] * text_dim, "option_embeddings": [[1.0] * text_dim, [-1.0] * text_dim],
        }
        for name, note in (("charge", ""), ("park", ""), ("reworded", "other words"))
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=CONTRACTS["recorded_questions"].polars_schema())


def respondents(*, earlier_yes: int | None = None) -> pl.DataFrame:
    """Half say yes and weigh three times as much, so that the weighted share of yes is three quarters."""
    answer = np.where(np.arange(NUM) % 2 == 0, "yes", "no")
    now = pl.DataFrame(
        {
            "respondent_id": [f"r{i}" for i in range(NUM)],
            "survey": "town",
            "wave": 2024,
            "design_weight": np.where(answer == "yes", 3.0, 1.0),
            **{f"item_{name}": answer for name in ("charge", "park", "reworded")},
        }
    )
    if earlier_yes is None:
        return now
    before = now.with_columns(
        pl.lit(2020).alias("wave"), pl.lit("old").alias("survey"), pl.lit(1.0).alias("design_weight"),
        pl.format("o{}", "respondent_id").alias("respondent_id"),
        pl.when(pl.int_range(pl.len()) < earlier_yes).then(pl.lit("yes")).otherwise(pl.lit("no")).alias("item_charge"),
        pl.lit(None, pl.String).alias("item_park"), pl.lit(None, pl.String).alias("item_reworded"),
    )  # fmt: skip
    return pl.concat([now, before.with_columns(pl.col("wave").cast(now.schema["wave"]))])


def recorded(option: str | None = None) -> pl.DataFrame:
    """One model that answers `option` for everybody, or what its person answered."""
    people = respondents().head(PERSONAS)
    parts = [
        pl.DataFrame(
            {
                "scenario_id": "town", "question_id": name, "model": "m", "respondent_id": people["respondent_id"],
                "draw": 0, "human_option": people[f"item_{name}"], "option": option or people[f"item_{name}"],
            }
        )
        for name in ("charge", "park", "reworded")
    ]  # fmt: skip
    return pl.concat(parts)


def value(scores: pl.DataFrame, model: str, question: str = "charge", metric: str = "tvd", reference: str = "survey"):
    found = scores.filter(
        (pl.col("model") == model) & (pl.col("question_id") == question) & (pl.col("metric") == metric)
        & (pl.col("reference") == reference)
    )  # fmt: skip
    assert found.height == 1
    return found.row(0, named=True)


def test_shares_are_weighted_on_both_sides() -> None:
    scores = recorded_calibration(recorded("yes"), questions(), respondents(), NO_STUDENT, 0, seed=1)
    CONTRACTS["recorded_calibration"].validate(scores)
    assert value(scores, "m")["value"] == pytest.approx(0.25)
    assert value(scores, "uniform")["value"] == pytest.approx(0.25)
    assert value(scores, "m", metric="dispersion_ratio")["value"] == pytest.approx(0.0)
    faithful = recorded_calibration(recorded(), questions(), respondents(), NO_STUDENT, 0, seed=1)
    assert value(faithful, "m")["value"] == pytest.approx(0.0)
    assert value(faithful, "same_people")["value"] == pytest.approx(0.0)
    assert value(faithful, "m")["lower"] <= 0.0 < value(faithful, "m")["upper"]


def test_the_noise_floor_is_that_of_the_effective_size() -> None:
    found = value(recorded_calibration(recorded(), questions(), respondents(), NO_STUDENT, 0, seed=1), "uniform")
    effective = (200 * 3 + 200) ** 2 / (200 * 9 + 200)
    expected = np.sqrt(2 / np.pi * 0.75 * 0.25 / effective)
    assert found["noise_floor"] == pytest.approx(expected, rel=0.15)


def test_persistence_is_the_last_earlier_wave_where_one_asked() -> None:
    scores = recorded_calibration(recorded(), questions(), respondents(earlier_yes=240), NO_STUDENT, 0, seed=1)
    assert value(scores, "earlier_wave")["value"] == pytest.approx(0.15)
    assert value(scores, "earlier_wave")["note"] == "old 2020"
    assert scores.filter((pl.col("model") == "earlier_wave") & (pl.col("question_id") == "park")).is_empty()


def test_the_student_stands_against_the_survey_and_against_every_model() -> None:
    said = pl.DataFrame(
        [("student", name, [0.6, 0.4]) for name in ("charge", "park", "reworded")],
        schema=NO_STUDENT.schema, orient="row",
    )  # fmt: skip
    scores = recorded_calibration(recorded("yes"), questions(), respondents(), said, 500, seed=1)
    assert value(scores, "student")["value"] == pytest.approx(0.15)
    assert value(scores, "student", reference="m")["value"] == pytest.approx(0.4)
    assert scores.filter((pl.col("reference") == "m") & (pl.col("model") != "student")).is_empty()
    assert value(scores, "student", "all")["num_observations"] == 2, "reworded questions stay out of the mean"


def test_without_recordings_the_table_is_empty() -> None:
    nothing = recorded().clear()
    assert recorded_calibration(nothing, questions(), respondents(), NO_STUDENT, 0, seed=1).is_empty()


def test_students_are_asked_each_question_at_rest(evidence_tables) -> None:
    torch.manual_seed(0)
    from assets.tensors import attribute_levels

    model = LSM(LSMConfig(attribute_levels=attribute_levels(), text_dim=6))
    said = student_answers({"student": model}, questions(6), evidence_tables["agents"].head(40), seed=3)
    assert said.height == 3
    assert all(sum(shares) == pytest.approx(1.0) for shares in said["shares"])
    again = student_answers({"student": model}, questions(6), evidence_tables["agents"].head(40), seed=3)
    assert said.equals(again)
