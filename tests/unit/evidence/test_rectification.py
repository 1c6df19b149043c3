"""Rectification: unbiased whatever the model says, exact with a perfect model, and intervals that hold their level."""

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import duckdb
import numpy as np
import polars as pl
import pytest
from scipy import stats

from assets.evidence.rectification import (
    SURVEY_SIZE,
    Estimates,
    Predicted,
    draw_surveys,
    post_stratified,
    prediction_powered,
    rectified_shares,
    survey_only,
)
from assets.evidence.report_context import ReportContext
from assets.evidence.report_rectification import rectification_section
from validation.contracts import CONTRACTS
from validation.report import TableBlock, TextBlock

NUM_PEOPLE = 1_500


def made(said_correlation: float, bias: float, seed: int = 0) -> Predicted:
    generator = np.random.default_rng(seed)
    stratum_N = generator.integers(0, 3, NUM_PEOPLE)
    answer_N = (generator.random(NUM_PEOPLE) > 0.3 + 0.2 * stratum_N).astype(int)
    noise_N = generator.random(NUM_PEOPLE)
    yes_N = np.clip(said_correlation * (answer_N == 0) + (1 - said_correlation) * noise_N + bias, 0, 1)
    return Predicted(
        model="made",
        item="reform",
        options=("yes", "no"),
        said_NO=np.stack([yes_N, 1 - yes_N], axis=1),
        answer_N=answer_N,
        weight_N=generator.uniform(0.5, 2.0, NUM_PEOPLE),
        stratum_N=stratum_N,
    )


def truth(each: Predicted) -> float:
    return float(each.weight_N[each.answer_N == 0].sum() / each.weight_N.sum())


def coverage(found: Estimates, share: float) -> float:
    """Share of small surveys whose interval for the first option holds the truth."""
    return float(((found.lower_BO[:, 0] <= share) & (share <= found.upper_BO[:, 0])).mean())


@pytest.mark.parametrize("bias", [-0.4, 0.0, 0.4])
@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_the_corrected_share_is_unbiased_whatever_the_model_says(bias: float, power: float) -> None:
    each = made(0.5, bias)
    found = prediction_powered(each, draw_surveys(NUM_PEOPLE, SURVEY_SIZE, 600, 3), power)

    assert found.value_BO[:, 0].mean() == pytest.approx(truth(each), abs=0.012)


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_intervals_hold_nine_tenths_of_their_level_and_more(power: float) -> None:
    each = made(0.5, 0.2)
    found = prediction_powered(each, draw_surveys(NUM_PEOPLE, SURVEY_SIZE, 600, 5), power)

    assert 0.9 * 0.95 <= coverage(found, truth(each)) <= 0.99


@pytest.mark.parametrize("share", [0.004, 0.02, 0.1])
@pytest.mark.parametrize("power", [0.0, 0.4])
def test_intervals_hold_for_answers_that_hardly_anybody_gives(share: float, power: float) -> None:
    each = made(0.5, 0.2)
    rare_N = np.where(np.random.default_rng(2).random(NUM_PEOPLE) < share, 0, 1)
    rare = replace(each, answer_N=rare_N)
    sample = draw_surveys(NUM_PEOPLE, SURVEY_SIZE, 400, 11)
    for found in (prediction_powered(rare, sample, power), post_stratified(rare, sample)):
        assert coverage(found, truth(rare)) >= 0.9 * 0.95
        assert found.lower_BO.min() >= 0.0 or found.value_BO.min() < 0.0
        assert (found.upper_BO - found.lower_BO).min() > 0.01


def test_without_model_and_weights_the_interval_is_that_of_agresti_and_coull() -> None:
    each = replace(made(0.5, 0.0), weight_N=np.ones(NUM_PEOPLE))
    sample = draw_surveys(NUM_PEOPLE, SURVEY_SIZE, 5, 13)
    found = survey_only(each, sample)
    squared = stats.t.ppf(0.975, SURVEY_SIZE - 1) ** 2
    middle_B = (SURVEY_SIZE * found.value_BO[:, 0] + squared / 2) / (SURVEY_SIZE + squared)
    correction = 1 - SURVEY_SIZE / NUM_PEOPLE
    half_B = np.sqrt(squared * middle_B * (1 - middle_B) / (SURVEY_SIZE + squared) * correction)
    np.testing.assert_allclose(found.lower_BO[:, 0], middle_B - half_B)
    np.testing.assert_allclose(found.upper_BO[:, 0], middle_B + half_B)
    np.testing.assert_allclose(survey_only(each, sample).value_BO, prediction_powered(each, sample, 0.0).value_BO)


def test_a_perfect_model_needs_no_survey_and_a_good_one_narrows_the_interval() -> None:
    perfect = made(1.0, 0.0)
    sample = draw_surveys(NUM_PEOPLE, SURVEY_SIZE, 50, 7)

    np.testing.assert_allclose(prediction_powered(perfect, sample, 1.0).value_BO[:, 0], truth(perfect), atol=1e-9)
    good = made(0.8, 0.1)
    with_model, without = prediction_powered(good, sample, 1.0), prediction_powered(good, sample, 0.0)
    assert (with_model.upper_BO - with_model.lower_BO).mean() < 0.65 * (without.upper_BO - without.lower_BO).mean()


def test_post_stratification_is_exact_when_strata_decide() -> None:
    each = made(0.5, 0.0)
    decided = Predicted(
        each.model, each.item, each.options, each.said_NO, (each.stratum_N == 0).astype(int), each.weight_N,
        each.stratum_N,
    )  # fmt: skip

    found = post_stratified(decided, draw_surveys(NUM_PEOPLE, SURVEY_SIZE, 40, 9))

    np.testing.assert_allclose(found.value_BO[:, 0], truth(decided), atol=1e-9)


def test_surveys_are_drawn_without_replacement_and_repeat_with_the_seed() -> None:
    drawn = draw_surveys(200, 50, 30, 1)

    assert all(len(set(row)) == 50 for row in drawn.tolist())
    np.testing.assert_array_equal(drawn, draw_surveys(200, 50, 30, 1))


def recorded(num_items: int, seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    generator = np.random.default_rng(seed)
    ids = [f"r{i}" for i in range(400)]
    human = generator.choice(["a", "b"], (num_items, 400))
    said = np.where(generator.random((num_items, 400)) < 0.7, human, "a")
    answers = pl.DataFrame(
        {
            "model": "some/llm",
            "question_id": np.repeat([f"q{i}" for i in range(num_items)], 400),
            "respondent_id": ids * num_items,
            "draw": 0,
            "option": said.ravel(),
            "human_option": human.ravel(),
        }
    )
    respondents = pl.DataFrame(
        {"respondent_id": ids, "design_weight": generator.uniform(0.5, 2.0, 400), "party": ["democrat"] * 400}
    )
    return answers, respondents


NO_STUDENT = pl.DataFrame(
    schema={
        "item": pl.String, "options": pl.List(pl.String), "respondent_id": pl.String,
        "option_probabilities": pl.List(pl.Float64),
    }
)  # fmt: skip


def test_the_table_keeps_raw_and_corrected_apart_under_contract() -> None:
    answers, respondents = recorded(3)

    table = rectified_shares(NO_STUDENT, answers, respondents, 1)

    CONTRACTS["rectified_shares"].validate(table)
    error = dict(table.group_by("method").agg(pl.col("mean_error").mean()).iter_rows())
    assert set(error) == {"raw", "survey_only", "post_stratified", "prediction_powered"}
    assert error["prediction_powered"] < error["raw"]
    assert table.filter(pl.col("method") == "raw")["coverage"].null_count() == 6


def test_the_weight_of_an_item_comes_from_other_items_only() -> None:
    answers, respondents = recorded(2)
    lone = rectified_shares(NO_STUDENT, answers.filter(pl.col("question_id") == "q0"), respondents, 1)
    changed = answers.with_columns(
        pl.when(pl.col("question_id") == "q0").then(pl.lit("a")).otherwise("option").alias("option")
    )

    def power(table: pl.DataFrame) -> float:
        return table.filter((pl.col("item") == "q0") & (pl.col("method") == "prediction_powered"))["power"][0]

    assert "prediction_powered" not in lone["method"].to_list(), "no other item, no weight"
    assert power(rectified_shares(NO_STUDENT, answers, respondents, 1)) == pytest.approx(
        power(rectified_shares(NO_STUDENT, changed, respondents, 1))
    )


def test_without_enough_people_the_table_is_empty() -> None:
    answers, respondents = recorded(2)

    assert rectified_shares(NO_STUDENT, answers.head(100), respondents, 1).is_empty()


def test_the_report_says_which_options_are_not_covered() -> None:
    answers, respondents = recorded(3)
    table = rectified_shares(NO_STUDENT, answers, respondents, 1)
    is_one = (pl.col("item") == "q1") & (pl.col("option") == "a") & (pl.col("method") == "survey_only")
    short = table.with_columns(pl.when(is_one).then(0.7).otherwise("coverage").alias("coverage"))

    assert "No option of any model" in section_of(table)
    found = section_of(short)
    assert "Options whose intervals hold less than 85.5 %" in found
    assert "No option of any model" not in found


def section_of(table: pl.DataFrame) -> str:
    """Texts and captions of the section, and its rows."""
    connection = duckdb.connect()
    connection.register("rectified_shares", table.to_arrow())
    context = cast(ReportContext, SimpleNamespace(has=lambda *_: True))
    section = rectification_section(lambda sql: pl.DataFrame(connection.sql(sql).to_arrow_table()), context)
    return "\n".join(
        block.text if isinstance(block, TextBlock) else f"{block.caption}\n{block.frame.rows(named=True)}"
        for block in section.blocks
        if isinstance(block, TextBlock | TableBlock)
    )
