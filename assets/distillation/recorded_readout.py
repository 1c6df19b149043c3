"""How well the readout answers for people and for questions that it never saw, on recorded answers of a real LLM.

A student is fitted to the answers of some personas to some questions. Asked are then unseen personas the same
questions, the fitted personas unseen questions, and unseen personas unseen questions. Question splits are disjoint, so
that no figure rests on a lucky choice. What the student says about unseen questions is mixed with equal chances, by the
weight that does best on the unseen questions of the other splits.

Legend: P people, F sentences, Q questions, O options.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch

from assets.distillation.personas import frequent_sentences, persona_codes
from assets.distillation.readout_baselines import nearest_people, nearest_question, regressions, shares_of
from assets.distillation.readout_training import MISSING, StaticAnswers, predict_answers, train_readout
from assets.tensors import row_to_question
from validation.contracts import CONTRACTS
from validation.intervals import bootstrap_interval
from validation.metrics import tvd

PREFERRED_TEACHER = "openai/gpt-4o-mini"
UNSEEN_PEOPLE, VALIDATION_PEOPLE = 0.2, 0.08
UNSEEN_QUESTIONS = 0.19
FEWEST_PEOPLE, FEWEST_QUESTIONS = 100, 10
NUM_RESAMPLES = 1_000
FLOOR_DRAWS = 200
SMALLEST_PROBABILITY = 1e-4
MIXTURES = tuple(number / 10 for number in range(11))
GROUPS = {
    "unseen_personas": "seen questions, unseen personas",
    "unseen_items": "unseen questions, fitted personas",
    "both": "unseen questions, unseen personas",
}

Tell = Callable[[str], None]
Predicted = dict[int, np.ndarray]
"""Probabilities [P, O] by position of the question."""


@dataclass(frozen=True, eq=False)
class Recorded:
    """The answers of one teacher: people split into fitted, validation and unseen, questions split by `unseen_of`."""

    answers: StaticAnswers
    teacher_model: str
    fitted_P: np.ndarray
    validation_P: np.ndarray
    unseen_P: np.ndarray
    unseen_of: tuple[tuple[int, ...], ...]

    @property
    def num_questions(self) -> int:
        """Questions, seen or not."""
        return len(self.answers.questions)


def score_recorded_readout(
    recorded_answers: pl.DataFrame,
    recorded_questions: pl.DataFrame,
    *,
    epochs: int,
    num_splits: int,
    seed: int,
    progress: Tell,
) -> pl.DataFrame:
    """The table `recorded_readout`; no rows where too few recorded answers are at hand.

    Args:
        recorded_answers: rows of that table.
        recorded_questions: rows of that table.
        epochs: passes over the answers per student.
        num_splits: students, each with other unseen questions, 1 or more.
        seed: fixes splits, weights and resamples.
        progress: told what is being done.
    """
    empty = pl.DataFrame(schema=CONTRACTS["recorded_readout"].polars_schema())
    recorded = read_recorded(recorded_answers, recorded_questions, num_splits, seed)
    if recorded is None:
        progress("Recorded answers are not available, so the readout on real answers is not measured.")
        return empty
    students: list[tuple[Predicted, Predicted]] = []
    for number, unseen in enumerate(recorded.unseen_of):
        progress(f"readout on recorded answers: student {number + 1} of {len(recorded.unseen_of)}")
        students.append(_train_and_predict(recorded, unseen, epochs, seed + number))
    progress("readout on recorded answers: baselines")
    rows = _score(recorded, students, _baselines(recorded), seed)
    facts = {"teacher_model": recorded.teacher_model, "num_splits": len(recorded.unseen_of)}
    table = pl.DataFrame([facts | row for row in rows], schema=empty.schema)
    return CONTRACTS["recorded_readout"].validate(table)


def read_recorded(
    recorded_answers: pl.DataFrame, recorded_questions: pl.DataFrame, num_splits: int, seed: int
) -> Recorded | None:
    """The first draws of one teacher with persona texts, split; None where there are too few."""
    valid = recorded_answers.filter(
        (pl.col("draw") == 0) & pl.col("option").is_not_null() & pl.col("persona").is_not_null()
    )
    if valid.is_empty():
        return None
    names = valid["model"].unique().sort().to_list()
    teacher = PREFERRED_TEACHER if PREFERRED_TEACHER in names else names[0]
    valid = valid.filter(pl.col("model") == teacher)
    valid = valid.filter(pl.col("scenario_id") == valid["scenario_id"].sort()[0])
    people = valid.select("persona_id", "persona").unique("persona_id").sort("persona_id")
    asked = recorded_questions.join(valid, on=["scenario_id", "question_id"], how="semi").sort("question_id")
    if people.height < FEWEST_PEOPLE or asked.height < FEWEST_QUESTIONS:
        return None
    rng = np.random.default_rng(seed)
    order_P = rng.permutation(people.height)
    num_unseen, num_validation = (round(share * people.height) for share in (UNSEEN_PEOPLE, VALIDATION_PEOPLE))
    unseen_P, validation_P, fitted_P = np.split(order_P, [num_unseen, num_unseen + num_validation])
    order_Q = rng.permutation(asked.height)
    size = round(UNSEEN_QUESTIONS * asked.height)
    splits = [order_Q[size * number : size * (number + 1)] for number in range(num_splits)]
    texts = people["persona"].to_list()
    sentences = frequent_sentences([texts[person] for person in fitted_P])
    answers = StaticAnswers(
        codes_PF=torch.from_numpy(persona_codes(texts, sentences)),
        questions=tuple(row_to_question(row | {"name": row["question_id"]}) for row in asked.iter_rows(named=True)),
        chosen_PQ=torch.from_numpy(_chosen(valid, people, asked)),
    )
    return Recorded(
        answers=answers,
        teacher_model=teacher,
        fitted_P=np.sort(fitted_P),
        validation_P=np.sort(validation_P),
        unseen_P=np.sort(unseen_P),
        unseen_of=tuple(tuple(sorted(split.tolist())) for split in splits if len(split) == size),
    )


def _chosen(valid: pl.DataFrame, people: pl.DataFrame, asked: pl.DataFrame) -> np.ndarray:
    """Position of the chosen option, int64 [P, Q]; −1 where there is none."""
    options = (
        asked.select("question_id", pl.col("options").alias("option"))
        .with_row_index("question")
        .explode("option")
        .with_columns(pl.int_range(pl.len()).over("question").alias("chosen"))
    )
    placed = valid.join(options, on=["question_id", "option"]).join(
        people.select("persona_id").with_row_index("person"), on="persona_id"
    )
    chosen_PQ = np.full((people.height, asked.height), MISSING, dtype=np.int64)
    chosen_PQ[placed["person"].to_numpy(), placed["question"].to_numpy()] = placed["chosen"].to_numpy()
    return chosen_PQ


def _train_and_predict(
    recorded: Recorded, unseen: Sequence[int], epochs: int, seed: int
) -> tuple[Predicted, Predicted]:
    """Predictions of one student for all people: of its seen questions, and of its unseen ones."""
    seen = [number for number in range(recorded.num_questions) if number not in unseen]
    fitted, validation = (
        recorded.answers.of(torch.from_numpy(people_P), seen) for people_P in (recorded.fitted_P, recorded.validation_P)
    )
    model = train_readout(fitted, validation, epochs=epochs, seed=seed)
    found = []
    for questions in (seen, list(unseen)):
        asked = [recorded.answers.questions[number] for number in questions]
        predicted = predict_answers(model, recorded.answers.codes_PF, asked)
        found.append(dict(zip(questions, (item.numpy() for item in predicted), strict=True)))
    return found[0], found[1]


def _baselines(recorded: Recorded) -> Mapping[str, Predicted]:
    """Predictions for all people by baselines that are fitted per question."""
    codes_PF, chosen_PQ = recorded.answers.codes_PF.numpy(), recorded.answers.chosen_PQ.numpy()
    num_options = [question.num_options for question in recorded.answers.questions]
    fitted_P, validation_P = recorded.fitted_P, recorded.validation_P
    shares = [shares_of(chosen_PQ[fitted_P, number], size) for number, size in enumerate(num_options)]
    num_people = len(codes_PF)
    return {
        "regression": dict(enumerate(regressions(codes_PF, chosen_PQ, num_options, fitted_P, validation_P))),
        "nearest_personas": dict(enumerate(nearest_people(codes_PF, chosen_PQ, shares, fitted_P))),
        "item_marginal": {number: np.tile(share_O, (num_people, 1)) for number, share_O in enumerate(shares)},
        "uniform": {number: np.full((num_people, size), 1 / size) for number, size in enumerate(num_options)},
    }


def _score(
    recorded: Recorded,
    students: Sequence[tuple[Predicted, Predicted]],
    baselines: Mapping[str, Predicted],
    seed: int,
) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for group, note in GROUPS.items():
        people_P = recorded.fitted_P if group == "unseen_items" else recorded.unseen_P
        names = ("lsm", "regression", "nearest_personas", "item_marginal", "uniform")
        if group != "unseen_personas":
            names = ("lsm", "nearest_item", "uniform", "item_marginal")
        values: dict[tuple[str, str], dict[int, list[float]]] = {}
        for number, (seen, unseen) in enumerate(students):
            asked = list(seen) if group == "unseen_personas" else list(unseen)
            own = seen if group == "unseen_personas" else _mixed(recorded, students, number)
            for question in asked:
                chosen_P = recorded.answers.chosen_PQ.numpy()[people_P, question]
                for name in names:
                    if name == "lsm":
                        predicted_PO = own[question]
                    elif name == "nearest_item":
                        share_O = nearest_question(recorded.answers, question, list(seen), recorded.fitted_P)
                        predicted_PO = np.tile(share_O, (len(recorded.answers.codes_PF), 1))
                    else:
                        predicted_PO = baselines[name][question]
                    for metric, value in _metrics(predicted_PO[people_P], chosen_P).items():
                        values.setdefault((metric, name), {}).setdefault(question, []).append(value)
        asked_ever = sorted(values["tvd", "lsm"])
        floor = float(np.mean([_floor(recorded, question, len(people_P), rng) for question in asked_ever]))
        for metric in ("tvd", "log_loss"):
            own_Q = np.array([np.mean(values[metric, "lsm"][question]) for question in asked_ever])
            for name in names:
                value_Q = np.array([np.mean(values[metric, name][question]) for question in asked_ever])
                interval = bootstrap_interval(np.mean, value_Q, seed=seed, num_resamples=NUM_RESAMPLES)
                gap = bootstrap_interval(np.mean, own_Q - value_Q, seed=seed, num_resamples=NUM_RESAMPLES)
                rows.append(
                    {
                        "group": group,
                        "metric": metric,
                        "model": name,
                        "value": interval.value,
                        "lower": interval.lower,
                        "upper": interval.upper,
                        "noise_floor": floor if metric == "tvd" else None,
                        "student_minus_model": None if name == "lsm" else gap.value,
                        "difference_lower": None if name == "lsm" else gap.lower,
                        "difference_upper": None if name == "lsm" else gap.upper,
                        "num_questions": len(asked_ever),
                        "num_personas": len(people_P),
                        "note": f"{note}; knows the answer"
                        if name == "item_marginal" and group != "unseen_personas"
                        else note,
                    }
                )
    return rows


def _mixed(recorded: Recorded, students: Sequence[tuple[Predicted, Predicted]], number: int) -> Predicted:
    """What one student says about its unseen questions, mixed with equal chances by what is best for the others'."""
    weight = 1.0
    others = [unseen for other, (_, unseen) in enumerate(students) if other != number]
    if others:
        losses = []
        for mixture in MIXTURES:
            found = [
                _metrics(_mix(predicted_PO, mixture)[recorded.fitted_P], _chosen_of(recorded, question))["log_loss"]
                for unseen in others
                for question, predicted_PO in unseen.items()
            ]
            losses.append(np.mean(found))
        weight = MIXTURES[int(np.argmin(losses))]
    return {question: _mix(predicted_PO, weight) for question, predicted_PO in students[number][1].items()}


def _chosen_of(recorded: Recorded, question: int) -> np.ndarray:
    return recorded.answers.chosen_PQ.numpy()[recorded.fitted_P, question]


def _mix(predicted_PO: np.ndarray, weight: float) -> np.ndarray:
    return weight * predicted_PO + (1 - weight) / predicted_PO.shape[1]


def _metrics(predicted_PO: np.ndarray, chosen_P: np.ndarray) -> dict[str, float]:
    """TVD between mean prediction and shares, and mean log loss, over those who answered."""
    is_known_P = chosen_P != MISSING
    known_PO, known_P = predicted_PO[is_known_P], chosen_P[is_known_P]
    share_O = np.bincount(known_P, minlength=known_PO.shape[1]) / len(known_P)
    picked_P = known_PO[np.arange(len(known_P)), known_P]
    return {
        "tvd": float(tvd(known_PO.mean(axis=0) / known_PO.mean(axis=0).sum(), share_O)),
        "log_loss": float(-np.log(np.maximum(picked_P, SMALLEST_PROBABILITY)).mean()),
    }


def _floor(recorded: Recorded, question: int, num_people: int, rng: np.random.Generator) -> float:
    """Mean TVD between the shares of as many resampled people and those of the fitted ones they are drawn from."""
    chosen_P = _chosen_of(recorded, question)
    chosen_P = chosen_P[chosen_P != MISSING]
    share_O = np.bincount(chosen_P, minlength=recorded.answers.questions[question].num_options) / len(chosen_P)
    drawn_DO = rng.multinomial(num_people, share_O, FLOOR_DRAWS) / num_people
    return float((np.abs(drawn_DO - share_O).sum(axis=1) / 2).mean())
