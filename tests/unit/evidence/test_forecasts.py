"""Forecasts: what was held out never enters, laws of the baselines, refusals, and the boards that results end in."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from assets.evidence.forecast_case import CaseRefused, ForecastCase, Series, check_options, check_weights
from assets.evidence.forecast_models import forecasts, num_early
from assets.evidence.forecast_scores import case_rows
from assets.evidence.leaderboard import RecordedRun, extend_leaderboard
from assets.evidence.panel_people import predict_people
from assets.evidence.people_scores import people_rows
from assets.evidence.survey_series import trend_cases
from validation.contracts import CONTRACTS

SPLIT = 20


def series(segment: str, slope: float, level: float, item: str = "item_reform") -> Series:
    step_T = np.arange(0, 31, 2)
    stance_T = np.tanh((level + slope * step_T) / 2)
    share_TO = np.stack([(1 + stance_T) / 2, (1 - stance_T) / 2], axis=1)
    return Series(item, segment, ("yes", "no"), np.array([1.0, -1.0]), step_T, share_TO, np.full(len(step_T), 1000.0))


def opinion_case(mechanism: str = "momentum", **changes) -> ForecastCase:
    case = ForecastCase(
        name="made",
        title="made up",
        series=(
            series("all", 0.03, 0.0),
            series("party=democrat", 0.05, 0.4),
            series("party=republican", 0.01, -0.4),
        ),
        moments={step: str(2000 + step) for step in range(0, 31, 2)},
        split_step=SPLIT,
        lookback=10,
        longest=10,
        mechanism=mechanism,
        resample_by="segment",
    )
    return replace(case, **changes)


def after_the_split_changed(case: ForecastCase) -> ForecastCase:
    changed = []
    for each in case.series:
        share_TO = each.share_TO.copy()
        share_TO[each.step_T > case.split_step] = share_TO[each.step_T > case.split_step][:, ::-1]
        changed.append(replace(each, share_TO=share_TO))
    return replace(case, series=tuple(changed))


@pytest.mark.parametrize("mechanism", ["momentum", "adoption"])
def test_no_forecast_sees_the_held_out_part(mechanism: str) -> None:
    case = opinion_case(mechanism)

    for ours, theirs in zip(forecasts(case), forecasts(after_the_split_changed(case)), strict=True):
        assert ours.model == theirs.model
        for one, other in zip(ours.share_STO, theirs.share_STO, strict=True):
            if one is None or other is None:
                assert one is other
            else:
                np.testing.assert_array_equal(one, other)


def test_every_forecast_is_a_distribution() -> None:
    for forecast in forecasts(opinion_case()):
        for share_TO in forecast.share_STO:
            if share_TO is not None:
                np.testing.assert_allclose(share_TO.sum(axis=1), 1.0, atol=1e-9)
                assert share_TO.min() >= 0


def test_the_linear_trend_is_exact_on_a_linear_trend_and_persistence_is_not() -> None:
    rows = pl.DataFrame(list(case_rows(opinion_case(), forecasts(opinion_case()), 0)), infer_schema_length=None)
    score = {
        (metric, model): value
        for metric, model, value in rows.filter(pl.col("slice") == "all").select("metric", "model", "value").iter_rows()
    }

    assert score["tvd", "linear_trend"] == pytest.approx(0.0, abs=1e-9)
    assert score["skill", "linear_trend"] == pytest.approx(1.0, abs=1e-6)
    assert score["tvd", "persistence"] > 0.02
    assert score["skill", "momentum"] > 0, "a steady trend must be carried on to some degree"


def test_skill_is_one_minus_the_ratio_of_errors() -> None:
    rows = pl.DataFrame(list(case_rows(opinion_case(), forecasts(opinion_case()), 0)), infer_schema_length=None)
    for name in ("all", "subgroups"):
        score = {
            (metric, model): value
            for metric, model, value in rows.filter(pl.col("slice") == name).select("metric", "model", "value").rows()
        }
        assert score["skill", "momentum"] == pytest.approx(
            1 - score["tvd", "momentum"] / score["tvd", "persistence"], abs=1e-9
        )


def test_intervals_hold_their_value_and_the_rows_keep_the_contract() -> None:
    rows = list(case_rows(opinion_case(refused={"item_x/all": "refused: why"}), forecasts(opinion_case()), 0))
    contract = CONTRACTS["dynamic_calibration"]

    table = contract.validate(pl.DataFrame(rows, schema=contract.polars_schema()))

    assert table.filter(pl.col("model") == "none")["note"].to_list() == ["refused: why"]


def respondents(num_waves: int = 10, per_wave: int = 260, seed: int = 0) -> pl.DataFrame:
    generator = np.random.default_rng(seed)
    wave = np.repeat(2000 + 2 * np.arange(num_waves), per_wave)
    chance = 0.3 + 0.01 * (wave - 2000)
    return pl.DataFrame(
        {
            "wave": wave.astype(np.int32),
            "weight": generator.uniform(0.5, 2.0, len(wave)),
            "age": generator.integers(18, 80, len(wave)).astype(np.int32),
            "sex": generator.choice(["male", "female"], len(wave)),
            "item_reform": np.where(generator.random(len(wave)) < chance, "yes", "no"),
        }
    )


def made_case(rows: pl.DataFrame) -> ForecastCase:
    return trend_cases(
        rows, ["item_reform"], name="made", title="made", note="", splits=[2012], years_after=10
    )[0]  # fmt: skip


def test_shares_are_weighted() -> None:
    rows = respondents()
    case = made_case(rows)
    whole = next(each for each in case.series if each.segment == "all")
    first = rows.filter(pl.col("wave") == 2000)
    expected = first.filter(pl.col("item_reform") == "yes")["weight"].sum() / first["weight"].sum()

    assert whole.share_TO[0, 0] == pytest.approx(expected)
    assert num_early(whole, case.split_step) == 7


def test_a_wave_without_weights_is_refused_with_its_reason() -> None:
    rows = respondents().with_columns(
        pl.when(pl.col("wave") == 2004).then(None).otherwise(pl.col("weight")).alias("weight")
    )

    case = made_case(rows)

    assert case.series == ()
    assert "wave 2004 have no positive weight" in case.refused["item_reform/all"]
    with pytest.raises(CaseRefused, match="260 of 260 respondents of wave 2004"):
        check_weights(rows.filter(pl.col("wave") == 2004), "2004")


def test_items_whose_options_differ_between_waves_are_refused() -> None:
    rows = respondents().with_columns(
        pl.when((pl.col("wave") >= 2010) & (pl.col("item_reform") == "no"))
        .then(pl.lit("not_really"))
        .otherwise(pl.col("item_reform"))
        .alias("item_reform")
    )

    assert "options of item_reform differ between waves" in made_case(rows).refused["item_reform/all"]
    with pytest.raises(CaseRefused, match="'no' is answered in 2000 and nobody answers it in 2010"):
        check_options(rows.with_columns(pl.col("item_reform").alias("answer")), "item_reform")


def test_a_subgroup_below_the_minimum_size_is_suppressed_with_its_reason() -> None:
    rows = respondents()
    few = pl.int_range(pl.len()).over("wave") < 60
    case = made_case(rows.with_columns(pl.when(few).then(pl.lit("male")).otherwise(pl.lit("female")).alias("sex")))

    assert {each.segment for each in case.series} == {"all", "sex=female"} | {
        each.segment for each in case.series if each.segment.startswith("age_group")
    }


def people(num: int = 700, seed: int = 1) -> pl.DataFrame:
    """People who keep their answer with chance 0.8, whatever the item."""
    generator = np.random.default_rng(seed)
    before = generator.integers(1, 3, num).astype(float)
    keeps = generator.random(num) < 0.8
    after = np.where(keeps, before, 3 - before)
    return pl.DataFrame(
        {
            "yearid": [str(i) for i in range(num)],
            "base_wave": np.where(np.arange(num) < num // 2, 2016, 2018),
            "sex": generator.choice(["male", "female"], num),
            "age_group": generator.choice(["18-29", "40-49"], num),
            "race_ethnicity": generator.choice(["white", "black"], num),
            "education": generator.choice(["no_college_degree", "college_degree"], num),
            "party": generator.choice(["democrat", "republican"], num),
            "weight": generator.uniform(0.5, 2.0, num),
            "stratum": np.arange(num) % 30,
            "psu": generator.integers(0, 2, num),
            "abany_before": before,
            "abany_after": after,
        }
    )


@pytest.fixture
def only_one_item(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assets.evidence.panel_people.PANEL_ITEMS", {"abany": {1: "yes", 2: "no"}})


@pytest.mark.usefixtures("only_one_item")
def test_transitions_are_learned_from_the_earlier_cohort_and_judged_on_the_later() -> None:
    found = {each.model: each for each in predict_people(people(), 0)}
    diagonal = found["transition_matrix"].probability_RO.max(axis=1)

    assert diagonal == pytest.approx(0.8, abs=0.06)
    assert len(found["persistence"].answer_R) == 350
    scored = pl.DataFrame(list(people_rows(list(found.values()), 0)), infer_schema_length=None)
    brier = dict(
        scored.filter((pl.col("metric") == "brier") & (pl.col("slice") == "all")).select("model", "value").iter_rows()
    )
    judged = people().filter(pl.col("base_wave") == 2018)
    changed = judged.filter(pl.col("abany_before") != pl.col("abany_after"))["weight"].sum() / judged["weight"].sum()
    assert brier["persistence"] == pytest.approx(2 * changed)
    assert brier["transition_matrix"] < brier["persistence"]
    assert brier["friedkin_johnsen"] < brier["demographic_regression"]


@pytest.mark.usefixtures("only_one_item")
def test_later_answers_of_the_judged_people_never_enter_a_fit() -> None:
    rows = people()
    flipped = rows.with_columns(
        pl.when(pl.col("base_wave") == 2018)
        .then(3 - pl.col("abany_after"))
        .otherwise("abany_after")
        .alias("abany_after")
    )

    for ours, theirs in zip(predict_people(rows, 0), predict_people(flipped, 0), strict=True):
        np.testing.assert_allclose(ours.probability_RO, theirs.probability_RO, atol=1e-12)


def board_rows(value: float) -> pl.DataFrame:
    contract = CONTRACTS["dynamic_calibration"]
    row = {
        "case_id": "made", "metric": "skill", "slice": "all", "held_out": "wave", "model": "momentum", "value": value,
        "lower": None, "upper": None, "noise_floor": None, "is_higher_better": True, "num_observations": 5,
        "note": None,
        "fitted_until": "2012",
    }  # fmt: skip
    return pl.DataFrame([row], schema=contract.polars_schema())


def extended(earlier: pl.DataFrame | None, run_id: str, value: float) -> pl.DataFrame:
    run = RecordedRun(run_id, datetime(2024, 1, 1, tzinfo=UTC), "smoke", "embedded", 1)
    nothing = {name: pl.DataFrame(schema=CONTRACTS[name].polars_schema()) for name in ("teacher_agreement",
               "survey_calibration", "rectified_shares")}  # fmt: skip
    return extend_leaderboard(earlier, run, board_rows(value), **nothing)


def test_the_leaderboard_keeps_earlier_runs_and_replaces_its_own() -> None:
    first = extended(None, "one", 0.1)
    second = extended(first, "two", 0.2)
    again = extended(second, "two", 0.3)

    assert sorted(second["recorded_run"]) == ["one", "two"]
    assert dict(again.select("recorded_run", "value").iter_rows()) == {"one": 0.1, "two": 0.3}
    CONTRACTS["leaderboard"].validate(again)
