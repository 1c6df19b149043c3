"""Rectification: simulated shares corrected by a small survey, raw and corrected kept apart, with checked intervals.

For an item and an option, with f_i what a model says of person i, y_i ∈ {0, 1} the answer, w_i the survey weight, s a
small sample of n of the N people, and means weighted:

    raw                 mean_N f                                     no survey at all
    survey_only         mean_s y                                     no model at all
    post_stratified     Σ_g W_g mean_{s,g} y,  g parties             no model, known margins
    prediction_powered  λ mean_N f + mean_s (y − λ f)                unbiased whatever the model says

λ = cov(y, f) / var(f), within 0 … 1, estimated on small surveys of the *other* items: the item itself stays held out.
Linearised intervals fail where few or none of the sampled people give an answer: all residuals are then alike and the
interval has no width. So t² pretended people, half of whom gave the answer, join the effective people of the sample,
with t the quantile of n − 1 degrees of freedom; without a model this is the interval of Agresti & Coull. It has the
finite population correction and ends at 0 and 1; estimates themselves are not moved. Coverage is the share of repeated
small surveys whose interval holds the share among all N.

Sources: Angelopoulos, Duchi & Zrnic (2023), PPI++, section 3; Särndal, Swensson & Wretman (1992), Model assisted survey
sampling, sections 6.5 (difference estimator) and 7.6 (post-stratification); Agresti & Coull (1998), Approximate is
better than "exact" for interval estimation of binomial proportions; Kish (1965) for effective people; Franco, Little,
Louis & Slud (2019), Comparative study of confidence intervals for proportions in complex sample surveys.

Legend: N people, O options, B repeated small surveys, n people in each.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from validation.attributes import ATTRIBUTE_BY_NAME
from validation.contracts import CONTRACTS
from validation.intervals import design_effect

SURVEY_SIZE = 100
NUM_SURVEYS = 300
MIN_PEOPLE = 300
"""Items with fewer people have no room for a small survey beside the truth."""

LEVEL = 0.95
LEAST_COVERAGE = round(0.9 * LEVEL, 4)
"""Share of surveys in which an option's interval must hold at least: nine tenths of what it promises."""
MIN_STRATUM = 5
"""Sampled people below which a stratum is given the mean of the whole sample."""

SCHEMA = CONTRACTS["rectified_shares"].polars_schema()


@dataclass(frozen=True, eq=False)
class Predicted:
    """What a model says of each person, beside their answer: f [N, O], answer [N], weight [N], stratum [N]."""

    model: str
    item: str
    options: tuple[str, ...]
    said_NO: np.ndarray
    answer_N: np.ndarray
    weight_N: np.ndarray
    stratum_N: np.ndarray


@dataclass(frozen=True, eq=False)
class Estimates:
    """Estimates of B small surveys with the ends of their intervals, [B, O]."""

    value_BO: np.ndarray
    lower_BO: np.ndarray
    upper_BO: np.ndarray


def rectified_shares(
    student_answers: pl.DataFrame, recorded_answers: pl.DataFrame, survey_respondents: pl.DataFrame, seed: int
) -> pl.DataFrame:
    """The `rectified_shares` table: every model and item with enough people who answered it.

    Args:
        student_answers: rows with question_id (the item), options, respondent_id and option_probabilities: the
            student's answers at timestep 0, one row per agent.
        recorded_answers: the table of that name; models beside the answers of the same people.
        survey_respondents: the table of that name, for answers, weights and parties.
        seed: fixes the small surveys.
    """
    predicted = [*_of_student(student_answers, survey_respondents), *_of_recorded(recorded_answers, survey_respondents)]
    by_model: dict[str, list[Predicted]] = {}
    for each in predicted:
        by_model.setdefault(each.model, []).append(each)
    rows: list[dict[str, Any]] = []
    for model, items in sorted(by_model.items()):
        moments = [_moments(each, seed) for each in items]
        for index, each in enumerate(items):
            others = [moment for other, moment in enumerate(moments) if other != index]
            weight = _power(others)
            rows.extend(_item_rows(model, each, weight, len(others), seed))
    return CONTRACTS["rectified_shares"].validate(pl.DataFrame(rows, schema=SCHEMA))


def student_answers_at_rest(trajectories: pl.LazyFrame, agents: pl.DataFrame, scenarios: pl.DataFrame) -> pl.DataFrame:
    """The student's probabilities at timestep 0 of the first replicate with the agents' donors.

    An item that several scenarios ask is taken from the first of them.
    """
    asked = (
        scenarios.filter((pl.col("kind") == "question") & pl.col("item").is_not_null())
        .sort("scenario_id", "position")
        .unique("item", keep="first", maintain_order=True)
        .select("scenario_id", pl.col("name").alias("question_id"), "item", "options")
    )
    start = trajectories.filter(
        (pl.col("timestep") == 0) & (pl.col("replicate") == 0) & (pl.col("engine") == "lsm")
    ).select("scenario_id", "question_id", "agent_id", "option_probabilities")
    return (
        start.join(asked.lazy(), on=["scenario_id", "question_id"], how="inner")
        .join(agents.lazy().select("agent_id", "respondent_id"), on="agent_id", how="inner")
        .collect()
        .sort("item", "agent_id")
    )


def draw_surveys(num_people: int, size: int, num_surveys: int, seed: int) -> np.ndarray:
    """Small simple random samples without replacement, [B, n]."""
    generator = np.random.default_rng(seed)
    return np.argsort(generator.random((num_surveys, num_people)), axis=1)[:, :size]


def prediction_powered(each: Predicted, sample_BS: np.ndarray, power: float) -> Estimates:
    """λ · mean over everybody of f + mean over the sample of y − λ f."""
    truth_NO = np.eye(len(each.options))[each.answer_N]
    everybody_O = each.weight_N @ each.said_NO / each.weight_N.sum()
    weight_BS, gap_BSO = each.weight_N[sample_BS], (truth_NO - power * each.said_NO)[sample_BS]
    mean_BO = np.einsum("bs,bso->bo", weight_BS, gap_BSO) / weight_BS.sum(axis=1, keepdims=True)
    return _estimates(power * everybody_O + mean_BO, gap_BSO - mean_BO[:, None], weight_BS, len(each.weight_N))


def post_stratified(each: Predicted, sample_BS: np.ndarray) -> Estimates:
    """Σ over strata of their known weight times the sample's mean within them."""
    truth_NO = np.eye(len(each.options))[each.answer_N]
    strata = np.unique(each.stratum_N)
    share_G = np.array([each.weight_N[each.stratum_N == g].sum() for g in strata]) / each.weight_N.sum()
    weight_BS, stratum_BS = each.weight_N[sample_BS], each.stratum_N[sample_BS]
    overall_BO = np.einsum("bs,bso->bo", weight_BS, truth_NO[sample_BS]) / weight_BS.sum(axis=1, keepdims=True)
    value_BO = np.zeros_like(overall_BO)
    fitted_BSO = np.repeat(overall_BO[:, None], sample_BS.shape[1], axis=1)
    for stratum, share in zip(strata, share_G, strict=True):
        is_in_BS = stratum_BS == stratum
        own_BS = weight_BS * is_in_BS
        is_large_B1 = (is_in_BS.sum(axis=1) >= MIN_STRATUM)[:, None]
        mean_BO = np.einsum("bs,bso->bo", own_BS, truth_NO[sample_BS]) / np.maximum(own_BS.sum(axis=1), 1e-12)[:, None]
        mean_BO = np.where(is_large_B1, mean_BO, overall_BO)
        value_BO += share * mean_BO
        fitted_BSO = np.where(is_in_BS[:, :, None], mean_BO[:, None], fitted_BSO)
    return _estimates(value_BO, truth_NO[sample_BS] - fitted_BSO, weight_BS, len(each.weight_N))


def survey_only(each: Predicted, sample_BS: np.ndarray) -> Estimates:
    """The sample's own shares."""
    truth_BSO, weight_BS = np.eye(len(each.options))[each.answer_N][sample_BS], each.weight_N[sample_BS]
    mean_BO = np.einsum("bs,bso->bo", weight_BS, truth_BSO) / weight_BS.sum(axis=1, keepdims=True)
    return _estimates(mean_BO, truth_BSO - mean_BO[:, None], weight_BS, len(each.weight_N))


def _item_rows(
    model: str, each: Predicted, power: float | None, num_others: int, seed: int
) -> Iterator[dict[str, Any]]:
    truth_NO = np.eye(len(each.options))[each.answer_N]
    truth_O = each.weight_N @ truth_NO / each.weight_N.sum()
    raw_O = each.weight_N @ each.said_NO / each.weight_N.sum()
    sample_BS = draw_surveys(len(each.answer_N), SURVEY_SIZE, NUM_SURVEYS, seed)
    estimates = {
        "survey_only": survey_only(each, sample_BS),
        "post_stratified": post_stratified(each, sample_BS),
    }
    if power is not None:
        estimates["prediction_powered"] = prediction_powered(each, sample_BS, power)
    effective = len(each.answer_N) / design_effect(each.weight_N)
    for place, option in enumerate(each.options):
        common = {
            "model": model,
            "item": each.item,
            "option": option,
            "reference": float(truth_O[place]),
            "noise_floor": float(np.sqrt(truth_O[place] * (1 - truth_O[place]) / effective)),
            "held_out": "items",
            "num_people": len(each.answer_N),
        }
        yield {
            **common, "method": "raw", "value": float(raw_O[place]), "lower": None, "upper": None, "coverage": None,
            "mean_width": None, "mean_error": abs(float(raw_O[place] - truth_O[place])), "survey_size": 0,
            "power": None, "note": None,
        }  # fmt: skip
        for method, found in estimates.items():
            low_B, high_B = found.lower_BO[:, place], found.upper_BO[:, place]
            covers = float(((low_B <= truth_O[place] + 1e-12) & (truth_O[place] - 1e-12 <= high_B)).mean())
            yield {
                **common,
                "method": method,
                "value": float(found.value_BO[0, place]),
                "lower": float(low_B[0]),
                "upper": float(high_B[0]),
                "coverage": covers,
                "mean_width": float((high_B - low_B).mean()),
                "mean_error": float(np.abs(found.value_BO[:, place] - truth_O[place]).mean()),
                "survey_size": SURVEY_SIZE,
                "power": power if method == "prediction_powered" else None,
                "note": f"λ from {num_others} other items" if method == "prediction_powered" else None,
            }


def _moments(each: Predicted, seed: int) -> tuple[float, float]:
    """Σ cov(y, f) and Σ var(f) over options, in one small survey of the item."""
    sample = draw_surveys(len(each.answer_N), SURVEY_SIZE, 1, seed + 1)[0]
    weight = each.weight_N[sample] / each.weight_N[sample].sum()
    said = each.said_NO[sample] - weight @ each.said_NO[sample]
    truth_NO = np.eye(len(each.options))[each.answer_N[sample]]
    truth = truth_NO - weight @ truth_NO
    return float((weight[:, None] * said * truth).sum()), float((weight[:, None] * said**2).sum())


def _power(moments: Sequence[tuple[float, float]]) -> float | None:
    """λ within 0 … 1; None where no other item tells."""
    variance = sum(variance for _, variance in moments)
    if not moments or variance <= 0:
        return None
    return float(np.clip(sum(covariance for covariance, _ in moments) / variance, 0.0, 1.0))


def _estimates(value_BO: np.ndarray, residual_BSO: np.ndarray, weight_BS: np.ndarray, num_people: int) -> Estimates:
    """Intervals around a mean of shares with the given residuals, pretended people included.

    With b the share of the pretended people, the middle is θ + b (½ − θ) and the variance that of real residuals and of
    pretended answers 0 and 1 together, around that middle.
    """
    size = weight_BS.shape[1]
    quantile = stats.t.ppf((1 + LEVEL) / 2, size - 1)
    share_BS = weight_BS / weight_BS.sum(axis=1, keepdims=True)
    effective_B1 = 1 / (share_BS**2).sum(axis=1, keepdims=True)
    pretended_B1 = quantile**2 / (effective_B1 + quantile**2)
    inside_BO = np.clip(value_BO, 0.0, 1.0)
    shift_BO = pretended_B1 * (0.5 - inside_BO)
    # Residuals count as their weights do in the variance of a weighted mean, which is Kish's rule where they are alike.
    real_BO = np.einsum("bs,bso->bo", share_BS**2, residual_BSO**2) * effective_B1
    answers_BO = 0.5 * ((1 - inside_BO) ** 2 + inside_BO**2)
    variance_BO = (1 - pretended_B1) * real_BO + pretended_B1 * answers_BO - shift_BO**2
    correction = max(0.0, 1.0 - size / num_people)
    half_width_BO = quantile * np.sqrt(variance_BO / (effective_B1 + quantile**2) * correction)
    middle_BO = value_BO + shift_BO
    lower_BO, upper_BO = middle_BO - half_width_BO, middle_BO + half_width_BO
    return Estimates(
        value_BO,
        np.minimum(np.clip(lower_BO, 0.0, 1.0), value_BO),
        np.maximum(np.clip(upper_BO, 0.0, 1.0), value_BO),
    )


def _of_student(answers: pl.DataFrame, respondents: pl.DataFrame) -> Iterator[Predicted]:
    """The student's mean probabilities over the agents of each donor, where the donor answered the item."""
    for (item,), rows in answers.group_by("item", maintain_order=True):
        column = f"item_{item}"
        if column not in respondents.columns:
            continue
        options = tuple(rows["options"][0])
        means = rows.group_by("respondent_id").agg(
            *(pl.col("option_probabilities").list.get(i).mean().alias(f"said_{i}") for i in range(len(options)))
        )
        known = means.join(
            respondents.select("respondent_id", "design_weight", "party", pl.col(column).alias("answer")),
            on="respondent_id",
            how="inner",
        )
        yield from _predicted("student", str(item), options, known)


def _of_recorded(recorded: pl.DataFrame, respondents: pl.DataFrame) -> Iterator[Predicted]:
    """Recorded models' chosen options, as certain statements, beside the same respondents' answers."""
    first = recorded.filter(
        (pl.col("draw") == 0) & pl.col("option").is_not_null() & pl.col("human_option").is_not_null()
    )
    weighted = first.join(
        respondents.select("respondent_id", "design_weight", "party"), on="respondent_id", how="inner"
    )
    for (model, item), rows in weighted.group_by("model", "question_id", maintain_order=True):
        options = tuple(sorted({*rows["option"].unique(), *rows["human_option"].unique()}))
        said = [(pl.col("option") == option).cast(pl.Float64).alias(f"said_{i}") for i, option in enumerate(options)]
        known = rows.with_columns(*said, pl.col("human_option").alias("answer"))
        yield from _predicted(str(model), str(item), options, known)


def _predicted(model: str, item: str, options: tuple[str, ...], known: pl.DataFrame) -> Iterator[Predicted]:
    used = known.filter(pl.col("answer").is_in(list(options))).sort("respondent_id")
    if used.height < MIN_PEOPLE or used["answer"].n_unique() < 2:
        return
    levels = ATTRIBUTE_BY_NAME["party"].levels
    yield Predicted(
        model=model,
        item=item,
        options=options,
        said_NO=used.select(f"said_{i}" for i in range(len(options))).to_numpy().astype(np.float64),
        answer_N=np.array([options.index(answer) for answer in used["answer"]]),
        weight_N=used["design_weight"].to_numpy(),
        stratum_N=np.array([levels.index(party) if party in levels else len(levels) for party in used["party"]]),
    )
