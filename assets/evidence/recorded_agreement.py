"""Recorded answers of LLMs against the answers of the very people that they were asked to be, item by item.

Only people whose own answer is known count, and each model is compared on those whom it answered for. Intervals
resample these people, model and person together; the noise floor is what as many resampled people score against
themselves.

Legend: R people, O options, B resamples.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from assets.evidence.demographic_model import predict_from_demographics
from assets.evidence.question_means import means_over_questions
from validation.contracts import CONTRACTS
from validation.metrics import scored_variance, tail_survival, tvd, w1_ordinal

NUM_RESAMPLES = 200
MIN_PEOPLE = 100
"""Items with fewer answers of people are left out: their sampling error alone is about ten points."""

NOTHING = np.empty(0)
IS_HIGHER_BETTER = {
    "tvd": False,
    "w1_ordinal": False,
    "dispersion_ratio": None,
    "tail_survival": True,
    "same_answer": True,
}
BASELINES = ("uniform", "other_respondents", "demographic_regression")


@dataclass(frozen=True)
class Item:
    """One question, the people who answered it, and the respondents of the survey who were no persona.

    `people` and `others` have `answer`, `weight` and attributes.
    """

    scenario_id: str
    question_id: str
    options: tuple[str, ...]
    scores_O: np.ndarray
    is_ordinal: bool
    note: str
    people: pl.DataFrame
    others: pl.DataFrame


@dataclass(frozen=True)
class Compared:
    """A model's answers beside the people's: `model_RO` holds probabilities, one-hot for a single answer."""

    model: str
    model_RO: np.ndarray
    human_RO: np.ndarray


def recorded_agreement(
    recorded_answers: pl.DataFrame, recorded_questions: pl.DataFrame, survey_respondents: pl.DataFrame, seed: int
) -> pl.DataFrame:
    """Scores every model and baseline on every item that the people answered too.

    Args:
        recorded_answers: the models' answers with the people's own; first draws count.
        recorded_questions: options, scores and scale of every item.
        survey_respondents: attributes of the people, and the answers of all others.
        seed: fixes resamples and the half on which the regression is fitted.

    Returns:
        Rows of `recorded_agreement`; none where there are no recorded answers.
    """
    rows: list[dict[str, Any]] = []
    first = recorded_answers.filter((pl.col("draw") == 0) & pl.col("human_option").is_not_null())
    for question in recorded_questions.filter(pl.col("item").is_not_null()).iter_rows(named=True):
        answers = first.filter(
            (pl.col("scenario_id") == question["scenario_id"]) & (pl.col("question_id") == question["question_id"])
        )
        item = _item(question, answers, recorded_answers, survey_respondents)
        if item.people.height < MIN_PEOPLE:
            continue
        generator = np.random.default_rng([seed, *item.question_id.encode()])
        for compared in (*_models(item, answers), *_baselines(item, seed)):
            rows += _score(item, compared, generator)
    frame = pl.DataFrame(rows, schema=CONTRACTS["recorded_agreement"].polars_schema())
    reworded = recorded_questions.filter(pl.col("note") != "").select("scenario_id", "question_id")
    alike = frame.join(reworded, on=["scenario_id", "question_id"], how="anti")
    return pl.concat([frame, means_over_questions(alike, ("scenario_id", "metric", "model"), seed)]).sort(
        "scenario_id", "metric", "question_id", "model"
    )


def _item(
    question: Mapping[str, Any], answers: pl.DataFrame, recorded: pl.DataFrame, respondents: pl.DataFrame
) -> Item:
    column = f"item_{question['item']}"
    own = answers.unique("respondent_id").select("respondent_id", answer="human_option")
    with_weight = respondents.with_columns(weight="design_weight")
    people = own.join(with_weight, on="respondent_id").sort("respondent_id")
    personas = recorded.filter(pl.col("scenario_id") == question["scenario_id"])["respondent_id"].unique()
    surveys = people["survey"].unique()
    others = with_weight.filter(pl.lit(False))
    if column in respondents.columns:
        others = with_weight.filter(
            pl.col("survey").is_in(surveys.implode())
            & ~pl.col("respondent_id").is_in(personas.implode())
            & pl.col(column).is_in(question["options"])
        )
        others = others.with_columns(answer=pl.col(column))
    return Item(
        question["scenario_id"],
        question["question_id"],
        tuple(question["options"]),
        np.array(question["option_scores"]),
        question["scale"] == "ordinal",
        question["note"],
        people,
        others,
    )


def _models(item: Item, answers: pl.DataFrame) -> Iterator[Compared]:
    for (model,), given in answers.filter(pl.col("option").is_not_null()).group_by("model", maintain_order=True):
        yield Compared(
            str(model), _one_hot(given["option"], item.options), _one_hot(given["human_option"], item.options)
        )


def _baselines(item: Item, seed: int) -> Iterator[Compared]:
    human_RO = _one_hot(item.people["answer"], item.options)
    yield Compared("uniform", np.full(human_RO.shape, 1.0 / len(item.options)), human_RO)
    if item.others.height >= MIN_PEOPLE:
        share_O = _one_hot(item.others["answer"], item.options).mean(axis=0)
        yield Compared("other_respondents", np.broadcast_to(share_O, human_RO.shape), human_RO)
        predicted_RO = predict_from_demographics(item.others, item.people, item.options, seed)
        if predicted_RO is not None:
            yield Compared("demographic_regression", predicted_RO, human_RO)


def _one_hot(answers: pl.Series, options: tuple[str, ...]) -> np.ndarray:
    return (answers.to_numpy()[:, None] == np.array(options)[None, :]).astype(np.float64)


def _score(item: Item, compared: Compared, generator: np.random.Generator) -> Iterator[dict[str, Any]]:
    """One row per metric; a metric that the item does not allow has no value and says why."""
    num_people = len(compared.human_RO)
    weight_BR = generator.multinomial(num_people, np.full(num_people, 1.0 / num_people), NUM_RESAMPLES) / num_people
    model_BO, human_BO = weight_BR @ compared.model_RO, weight_BR @ compared.human_RO
    model_O, human_O = compared.model_RO.mean(axis=0), compared.human_RO.mean(axis=0)
    same_R = _chance_of_own_answer(compared)
    has_tail = bool(((human_O >= 0.01) & (human_O <= 0.05)).any())
    is_baseline = compared.model in BASELINES
    values: dict[str, tuple[float, np.ndarray, float]] = {
        "tvd": (float(tvd(human_O, model_O)), tvd(human_BO, model_BO), float(tvd(human_BO, human_O).mean())),
        "dispersion_ratio": (
            float(_dispersion(item, model_O, human_O)),
            _dispersion(item, model_BO, human_BO),
            float(np.nanmean(_dispersion(item, human_BO, human_O))),
        ),
        "tail_survival": (
            tail_survival(model_O, human_O),
            np.array([tail_survival(m, h) for m, h in zip(model_BO, human_BO, strict=True)]) if has_tail else NOTHING,
            float(np.mean([tail_survival(h, human_O) for h in human_BO])) if has_tail else float("nan"),
        ),
        "same_answer": (float(same_R.mean()), weight_BR @ same_R, float("nan")),
    }
    if item.is_ordinal:
        floor = float(w1_ordinal(human_BO, human_O).mean())
        values["w1_ordinal"] = (float(w1_ordinal(human_O, model_O)), w1_ordinal(human_BO, model_BO), floor)
    for metric, (value, resampled_B, floor) in values.items():
        known_B = resampled_B[np.isfinite(resampled_B)]
        has_value = np.isfinite(value)
        lower, upper = np.quantile(known_B, (0.025, 0.975)) if has_value and len(known_B) else (np.nan, np.nan)
        reason = "" if has_value else "no option is held by 1 to 5 % of the people"
        yield {
            "scenario_id": item.scenario_id,
            "question_id": item.question_id,
            "metric": metric,
            "model": compared.model,
            "role": "baseline" if is_baseline else "teacher",
            "value": _known(value),
            "lower": _known(lower),
            "upper": _known(upper),
            "noise_floor": _known(floor),
            "is_higher_better": IS_HIGHER_BETTER[metric],
            "num_observations": num_people,
            "note": " ".join(part for part in (item.note, reason) if part) or None,
        }


def _dispersion(item: Item, model: np.ndarray, human: np.ndarray) -> np.ndarray:
    """Spread of the model's shares over that of the people's, shape [...]; nan where people do not differ.

    The spread is the variance of option scores on ordinal scales, else 1 − Σ p²; both ratios agree for two options.
    """
    if item.is_ordinal:
        spread, reference = scored_variance(model, item.scores_O), scored_variance(human, item.scores_O)
    else:
        spread, reference = 1.0 - (model**2).sum(axis=-1), 1.0 - (human**2).sum(axis=-1)
    return np.where(reference > 0.0, spread / np.where(reference > 0.0, reference, 1.0), np.nan)


def _chance_of_own_answer(compared: Compared) -> np.ndarray:
    """Whether the model's likeliest option is the person's own; ties share their chance."""
    is_best_RO = np.isclose(compared.model_RO, compared.model_RO.max(axis=1, keepdims=True))
    return (is_best_RO * compared.human_RO).sum(axis=1) / is_best_RO.sum(axis=1)


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
