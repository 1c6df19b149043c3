"""Recorded models and the student against the whole survey with its weights, and the student against each model.

`recorded_agreement` holds a model against the very people it played. Here every model's answers are a claim about the
population: the weighted answers of its personas beside the weighted answers of everybody whom the survey asked, and of
the student's agents, who were asked the same questions without having been trained on any of them.

    same_people        what the personas' own people say, weighted: what a thousand people can tell of the survey
    earlier_wave       the same item in the last earlier wave of any loaded survey: persistence
    uniform            equal chances
    student            the agents' mean probabilities at rest
    student_no_graph   the same of the student's ablation without ties

The noise floor is what a resample of the reference's effective size scores against it. Intervals resample both sides.

Legend: O options, B resamples, R people.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch

from assets.evidence.question_means import means_over_questions
from assets.evidence.survey_shares import MIN_RESPONDENTS, WeightedShares, resample_shares, weighted_shares
from assets.tensors import agents_to_tensor, row_to_question
from model.lsm.inputs import StepRecord, empty_graph, empty_timeline
from model.lsm.lsm import LSM
from model.lsm.rollout import rollout
from validation.contracts import CONTRACTS
from validation.metrics import scored_variance, tvd, w1_ordinal

SCHEMA = CONTRACTS["recorded_calibration"].polars_schema()
SURVEY = "survey"
NUM_RESAMPLES = 200
IS_HIGHER_BETTER: dict[str, bool | None] = {"tvd": False, "w1_ordinal": False, "dispersion_ratio": None}
BASELINES = ("same_people", "earlier_wave", "uniform")


@dataclass(frozen=True)
class Claim:
    """What one model says of the population: shares, and resamples of them; `note` says what must be known of it."""

    model: str
    role: str
    shares: WeightedShares
    note: str = ""


def student_answers(
    models: Mapping[str, LSM], questions: pl.DataFrame, agents: pl.DataFrame, seed: int
) -> pl.DataFrame:
    """Mean answers of the agents at rest to questions that no student was trained on: model, question_id, shares.

    Args:
        models: students by name.
        questions: rows of `recorded_questions`.
        agents: the agents that are asked.
        seed: fixes their initial noise.
    """
    attributes_NA = agents_to_tensor(agents)
    nobody = empty_graph(agents.height)
    rows = []
    for row in questions.with_columns(pl.col("question_id").alias("name")).iter_rows(named=True):
        question = row_to_question(row)
        timeline = empty_timeline(agents.height, len(question.embedding_D))
        for name, model in models.items():
            said: list[StepRecord] = []
            with torch.no_grad():
                rollout(model, attributes_NA, nobody, timeline, [question], [], 0, seed=seed, record=said.append)
            share_O = said[0].option_probabilities[0].double().mean(dim=0).numpy()
            rows.append({"model": name, "question_id": row["question_id"], "shares": share_O.tolist()})
    return pl.DataFrame(rows, schema={"model": pl.String, "question_id": pl.String, "shares": pl.List(pl.Float64)})


def recorded_calibration(
    recorded_answers: pl.DataFrame,
    recorded_questions: pl.DataFrame,
    survey_respondents: pl.DataFrame,
    said_by_students: pl.DataFrame,
    num_agents: int,
    seed: int,
) -> pl.DataFrame:
    """The `recorded_calibration` table; empty without recorded answers.

    Args:
        recorded_answers: the table of that name; first draws count.
        recorded_questions: the table of that name.
        survey_respondents: the table of that name, for weights and everybody's answers.
        said_by_students: from `student_answers`.
        num_agents: agents behind the students' shares.
        seed: fixes the resamples.
    """
    weights = survey_respondents.select("respondent_id", "survey", "wave", pl.col("design_weight").alias("weight"))
    first = recorded_answers.filter(pl.col("draw") == 0).join(weights, on="respondent_id", how="inner")
    asked_survey = survey_respondents.filter(pl.col("survey").is_in(first["survey"].unique().implode()))
    earlier = survey_respondents.join(first.select(pl.col("wave").min().alias("first_wave")), how="cross").filter(
        pl.col("wave") < pl.col("first_wave")
    )
    rows: list[dict[str, Any]] = []
    for question in recorded_questions.filter(pl.col("item").is_not_null()).iter_rows(named=True):
        answers = first.filter(
            (pl.col("scenario_id") == question["scenario_id"]) & (pl.col("question_id") == question["question_id"])
        )
        column = f"item_{question['item']}"
        if answers.is_empty() or column not in survey_respondents.columns:
            continue
        everybody = asked_survey.filter(pl.col(column).is_in(question["options"])).select(
            answer=column, weight="design_weight"
        )
        reference = weighted_shares(everybody, question["options"])
        if reference is None or reference.num_respondents < MIN_RESPONDENTS:
            continue
        generator = np.random.default_rng([seed, *question["question_id"].encode()])
        claims = [*_of_models(question, answers), *_of_students(question, said_by_students, num_agents)]
        baselines = list(_baselines(question, answers, earlier, column))
        for claim in (*claims, *baselines):
            rows += _scored(question, SURVEY, reference, claim, generator)
        for other in claims:
            for claim in claims:
                if other.role == "teacher" and claim.role == "student":
                    rows += _scored(question, other.model, other.shares, claim, generator)
    frame = pl.DataFrame(rows, schema=SCHEMA)
    reworded = recorded_questions.filter(pl.col("note") != "").select("scenario_id", "question_id")
    alike = frame.join(reworded, on=["scenario_id", "question_id"], how="anti")
    keys = ["scenario_id", "reference", "metric", "question_id", "model"]
    return pl.concat([frame, means_over_questions(alike, ("scenario_id", "reference", "metric", "model"), seed)]).sort(
        keys
    )


def _of_models(question: Mapping[str, Any], answers: pl.DataFrame) -> Iterator[Claim]:
    for (model,), given in answers.drop_nulls("option").group_by("model", maintain_order=True):
        shares = weighted_shares(given.select("weight", answer="option"), question["options"])
        if shares is not None:
            yield Claim(str(model), "teacher", shares)


def _of_students(question: Mapping[str, Any], said: pl.DataFrame, num_agents: int) -> Iterator[Claim]:
    for model, _, shares in said.filter(pl.col("question_id") == question["question_id"]).iter_rows():
        share_O = np.array(shares) / sum(shares)
        note = "the question was not in training; the agents stand for another year than the survey"
        yield Claim(model, "student", WeightedShares(share_O, num_agents, float(num_agents)), note)


def _baselines(
    question: Mapping[str, Any], answers: pl.DataFrame, earlier: pl.DataFrame, column: str
) -> Iterator[Claim]:
    options = question["options"]
    uniform_O = np.full(len(options), 1.0 / len(options))
    yield Claim("uniform", "baseline", WeightedShares(uniform_O, 0, np.inf))
    people = answers.drop_nulls("human_option").unique("respondent_id").select("weight", answer="human_option")
    shares = weighted_shares(people, options)
    if shares is not None:
        yield Claim("same_people", "baseline", shares, f"{shares.num_respondents} people, part of the survey")
    before = earlier.filter(pl.col(column).is_in(options))
    waves = before.group_by("survey", "wave").len().filter(pl.col("len") >= MIN_RESPONDENTS).sort("wave", "len")
    if waves.height:
        survey, wave, _ = waves.row(-1)
        last = before.filter((pl.col("survey") == survey) & (pl.col("wave") == wave))
        shares = weighted_shares(last.select(answer=column, weight="design_weight"), options)
        if shares is not None:
            yield Claim("earlier_wave", "baseline", shares, f"{survey} {wave}")


def _scored(
    question: Mapping[str, Any], against: str, reference: WeightedShares, claim: Claim, generator: np.random.Generator
) -> Iterator[dict[str, Any]]:
    ours_BO, theirs_BO = _resampled(claim.shares, generator), _resampled(reference, generator)
    is_ordinal, scores_O = question["scale"] == "ordinal", np.array(question["option_scores"])

    def spread_ratio(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
        spread, base = (_spread(each, scores_O, is_ordinal) for each in (ours, theirs))
        return np.where(base > 0, spread / np.where(base > 0, base, 1.0), np.nan)

    metrics = {"tvd": tvd, "dispersion_ratio": spread_ratio} | ({"w1_ordinal": w1_ordinal} if is_ordinal else {})
    for metric, measure in metrics.items():
        value = float(measure(claim.shares.share_O, reference.share_O))
        known_B = np.asarray(measure(ours_BO, theirs_BO))
        known_B = known_B[np.isfinite(known_B)]
        lower, upper = np.quantile(known_B, (0.025, 0.975)) if np.isfinite(value) and len(known_B) else (value, value)
        floor_B = np.asarray(measure(theirs_BO, reference.share_O))
        floor = float(floor_B[np.isfinite(floor_B)].mean()) if np.isfinite(floor_B).any() else float("nan")
        yield {
            "scenario_id": question["scenario_id"],
            "question_id": question["question_id"],
            "reference": against,
            "metric": metric,
            "model": claim.model,
            "role": claim.role,
            "value": value if np.isfinite(value) else None,
            "lower": min(float(lower), value) if np.isfinite(value) else None,
            "upper": max(float(upper), value) if np.isfinite(value) else None,
            "noise_floor": floor if np.isfinite(floor) else None,
            "is_higher_better": IS_HIGHER_BETTER[metric],
            "num_observations": reference.num_respondents,
            "note": "; ".join(part for part in (question["note"], claim.note) if part) or None,
        }


def _resampled(shares: WeightedShares, generator: np.random.Generator) -> np.ndarray:
    """Shares of resamples of the effective size, [B, O]; what has no sampling error stays as it is."""
    if not np.isfinite(shares.effective_size):
        return np.broadcast_to(shares.share_O, (NUM_RESAMPLES, len(shares.share_O)))
    return resample_shares(shares, generator)[:NUM_RESAMPLES]


def _spread(shares: np.ndarray, scores_O: np.ndarray, is_ordinal: bool) -> np.ndarray:
    return scored_variance(shares, scores_O) if is_ordinal else 1.0 - (shares**2).sum(axis=-1)
