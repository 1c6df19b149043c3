"""How well the readout answers for people and for questions that it never saw, on recorded answers of a real LLM.

A student is fitted to the answers of some personas to some questions. Asked are then unseen personas the same
questions, the fitted personas unseen questions, and unseen personas unseen questions. Question splits are disjoint, so
that no figure rests on a lucky choice. What the student says about unseen questions is mixed with equal chances, by the
weight that does best on the unseen questions of the other splits.

The registered student, whose training mixed the fitted personas' answers with rollouts, stands beside where it did: it
was asked every question, so it is scored on unseen personas, beside a regression that knows the same attributes.

Students are fitted to fitted personas, and validation personas choose their epoch; baselines of seen questions are
fitted to both, so what is unequal favours the baselines.

Legend: P people, F sentences, Q questions, O options.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch

from assets.distillation.readout_baselines import nearest_people, nearest_question, regressions, shares_of
from assets.distillation.readout_training import MISSING, predict_answers, train_readout
from assets.distillation.recorded_split import Recorded, read_recorded
from assets.distillation.side_by_side import side_by_side
from assets.distillation.static_traces import attribute_codes
from model.lsm.lsm import LSM
from validation.contracts import CONTRACTS
from validation.intervals import bootstrap_interval
from validation.metrics import tvd

NUM_RESAMPLES = 1_000
FLOOR_DRAWS = 200
SMALLEST_PROBABILITY = 1e-4
MIXTURES = tuple(number / 10 for number in range(11))
GROUPS = {
    "unseen_personas": "seen questions, unseen personas",
    "unseen_items": "unseen questions, fitted personas",
    "both": "unseen questions, unseen personas",
}

REGISTERED = ("lsm_registered", "regression_attributes")
"""The registered student and its baseline, scored on unseen personas alone."""

LONG_ENOUGH = 1_000_000
"""Epochs × answers from which on a training takes several times as long as a process takes to start."""

Tell = Callable[[str], None]
Predicted = dict[int, np.ndarray]
"""Probabilities [P, O] by position of the question."""


@dataclass(frozen=True, eq=False)
class Registered:
    """The registered student, the LLM whose answers its training mixed in, and the people behind the personas."""

    model: LSM
    teacher_model: str
    survey_respondents: pl.DataFrame


def score_recorded_readout(
    recorded_answers: pl.DataFrame,
    recorded_questions: pl.DataFrame,
    *,
    epochs: int,
    num_splits: int,
    seed: int,
    progress: Tell,
    registered: Registered | None = None,
    processes: int = 1,
) -> pl.DataFrame:
    """The table `recorded_readout`; no rows where too few recorded answers are at hand.

    Args:
        recorded_answers: rows of that table.
        recorded_questions: rows of that table.
        epochs: passes over the answers per student.
        num_splits: students, each with other unseen questions, 1 or more.
        seed: fixes splits, weights and resamples.
        progress: told what is being done.
        registered: the registered student; None where its training mixed in no recorded answers.
        processes: students trained at a time, at most; changes no bit. Short trainings run one after another.
    """
    empty = pl.DataFrame(schema=CONTRACTS["recorded_readout"].polars_schema())
    recorded = read_recorded(recorded_answers, recorded_questions, num_splits, seed)
    if recorded is None:
        progress("Recorded answers are not available, so the readout on real answers is not measured.")
        return empty
    num_students, num_answers = len(recorded.unseen_of), recorded.answers.chosen_PQ.numel()
    trainings = {
        f"readout on recorded answers: student {number + 1} of {num_students}": {
            "recorded": recorded,
            "unseen": unseen,
            "epochs": epochs,
            "seed": seed + number,
        }
        for number, unseen in enumerate(recorded.unseen_of)
    }
    processes = processes if epochs * num_answers >= LONG_ENOUGH else 1
    students = list(side_by_side(_train_and_predict, trainings, processes=processes, tell=progress).values())
    progress("readout on recorded answers: baselines")
    others = dict(_baselines(recorded))
    if registered is not None and registered.teacher_model == recorded.teacher_model:
        others |= _of_registered(recorded, registered)
    rows = _score(recorded, students, others, seed)
    facts = {"teacher_model": recorded.teacher_model, "num_splits": len(recorded.unseen_of)}
    table = pl.DataFrame([facts | row for row in rows], schema=empty.schema)
    return CONTRACTS["recorded_readout"].validate(table)


def _train_and_predict(
    recorded: Recorded, unseen: Sequence[int], epochs: int, seed: int, progress: Tell
) -> tuple[Predicted, Predicted]:
    """Predictions of one student for all people: of its seen questions, and of its unseen ones."""
    progress("training")
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
    """Predictions for all people by baselines that are fitted per question, on fitted and validation people."""
    codes_PF, chosen_PQ = recorded.answers.codes_PF.numpy(), recorded.answers.chosen_PQ.numpy()
    num_options = [question.num_options for question in recorded.answers.questions]
    fitted_P, validation_P = recorded.fitted_P, recorded.validation_P
    known_P = np.concatenate([fitted_P, validation_P])
    shares = [shares_of(chosen_PQ[known_P, number], size) for number, size in enumerate(num_options)]
    num_people = len(codes_PF)
    return {
        "regression": dict(enumerate(regressions(codes_PF, chosen_PQ, num_options, fitted_P, validation_P))),
        "nearest_personas": dict(enumerate(nearest_people(codes_PF, chosen_PQ, shares, known_P))),
        "item_marginal": {number: np.tile(share_O, (num_people, 1)) for number, share_O in enumerate(shares)},
        "uniform": {number: np.full((num_people, size), 1 / size) for number, size in enumerate(num_options)},
    }


def _of_registered(recorded: Recorded, registered: Registered) -> Mapping[str, Predicted]:
    """Predictions for all people by the registered student, and by regressions on the attributes that it reads."""
    codes_PA = attribute_codes(recorded, registered.survey_respondents)
    predicted = predict_answers(registered.model, codes_PA, recorded.answers.questions)
    levels = zip(codes_PA.unbind(1), registered.model.config.attribute_levels, strict=True)
    held_PF = torch.cat([torch.nn.functional.one_hot(code_P + 1, size + 1) for code_P, size in levels], 1).numpy()
    informative = held_PF[:, (held_PF.min(axis=0) < held_PF.max(axis=0))]
    num_options = [question.num_options for question in recorded.answers.questions]
    chosen_PQ = recorded.answers.chosen_PQ.numpy()
    fitted = regressions(informative, chosen_PQ, num_options, recorded.fitted_P, recorded.validation_P)
    return {
        "lsm_registered": dict(enumerate(item.numpy() for item in predicted)),
        "regression_attributes": dict(enumerate(fitted)),
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
        names += tuple(name for name in REGISTERED if name in baselines)
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
