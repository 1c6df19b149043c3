"""How far a student carries over to scenarios of which it saw nothing: sets of questions left out of training in turn.

A scenario and its baseline ask the same questions, so they are left out together. The student is trained like the
registered one on what remains, and predicts the held-out agents in the scenarios left out: it saw neither them nor the
questions, events and baselines, nor recorded answers to the same questions. `lsm_seen` is the registered student, which
saw other agents in these scenarios: a bound, not a rival. Friedkin–Johnsen takes its parameters from the questions that
remain.

Legend: H held-out agents, B resamples, P panel agents.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import polars as pl

from assets.distillation.baselines import predict_persistence, predict_uniform
from assets.distillation.distil import student_config
from assets.distillation.friedkin_johnsen import predict_friedkin_johnsen
from assets.distillation.gates import mean_tvd_by_agent
from assets.distillation.held_out import predict_held_out, predict_student
from assets.distillation.simulated_shares import change_errors, draw_panel, held_out_resamples
from assets.distillation.training_set import TrainingSet
from assets.distillation.trainings import Training
from model.lsm.lsm import LSM
from validation.contracts import CONTRACTS
from validation.intervals import basic_interval, bootstrap_interval

NUM_RESAMPLES = 1_000
STUDENT = "lsm"
CONTRACT = CONTRACTS["unseen_scenarios"]


def question_sets(training_set: TrainingSet) -> dict[tuple[str, ...], list[int]]:
    """Positions of the rollouts that ask the same questions, by their questions."""
    sets: dict[tuple[str, ...], list[int]] = {}
    for number, rollout in enumerate(training_set.rollouts):
        asked = tuple(sorted(target.question.question_id for target in rollout.targets))
        sets.setdefault(asked, []).append(number)
    return dict(sorted(sets.items()))


def left_out_sets(training_set: TrainingSet, num_splits: int, seed: int) -> dict[str, list[int]]:
    """Positions of the rollouts that are left out together, by name of the training that leaves them out.

    Args:
        training_set: the panel and the teacher's answers.
        num_splits: sets of questions, at most all of them; each costs a training.
        seed: fixes which sets.

    Returns:
        Nothing where nothing would remain to be trained on.
    """
    sets = list(question_sets(training_set).values())
    order = np.random.default_rng(seed).permutation(len(sets))
    chosen = [sets[number] for number in order[:num_splits]] if len(sets) > 1 else []
    return {
        f"without {', '.join(training_set.rollouts[number].scenario_id for number in left_out)}": left_out
        for left_out in chosen
    }


def trainings_without_scenarios(
    training_set: TrainingSet, left_out_sets: Mapping[str, list[int]], seed: int
) -> dict[str, Training]:
    """One training per set, on what remains, with the sizes of the registered student."""
    config = student_config(training_set)
    return {name: Training(_without(training_set, left_out), config, seed) for name, left_out in left_out_sets.items()}


def score_unseen_scenarios(
    training_set: TrainingSet,
    seen: LSM,
    left_out_sets: Mapping[str, list[int]],
    students: Mapping[str, LSM],
    *,
    epochs: int,
    seed: int,
    model_version: int,
) -> pl.DataFrame:
    """The table `unseen_scenarios`; no rows where nothing was left out.

    Args:
        training_set: the panel and the teacher's answers.
        seen: the registered student, trained on every scenario.
        left_out_sets: positions of rollouts, by name of the training that left them out.
        students: what these trainings gave.
        epochs: passes over what remained.
        seed: fixes resamples.
        model_version: registered version of `seen`.
    """
    rows = []
    for name, left_out in left_out_sets.items():
        kept, student = _without(training_set, left_out), students[name]
        for number in left_out:
            unseen = _part(training_set, [number])
            rows += _tvd_rows(unseen, kept, student, seen, seed)
            rows += _share_rows(unseen, student, seen, seed)
    table = pl.DataFrame(
        rows, schema={name: dtype for name, dtype in CONTRACT.polars_schema().items() if name in COLUMNS}
    )
    table = table.with_columns(epochs=pl.lit(epochs, pl.Int64), model_version=pl.lit(model_version, pl.Int64))
    return CONTRACT.validate(table.sort("scenario_id", "question_id", "metric", "value", "model"))


COLUMNS = (
    "scenario_id",
    "question_id",
    "metric",
    "model",
    "value",
    "lower",
    "upper",
    "student_minus_model",
    "difference_lower",
    "difference_upper",
    "num_agents",
)


def _part(training_set: TrainingSet, numbers: list[int]) -> TrainingSet:
    return replace(
        training_set,
        rollouts=tuple(training_set.rollouts[number] for number in numbers),
        is_validation_S=training_set.is_validation_S[numbers],
    )


def _without(training_set: TrainingSet, left_out: list[int]) -> TrainingSet:
    """What remains without some scenarios, and without recorded answers to their questions."""
    kept = _part(training_set, [number for number in range(len(training_set.rollouts)) if number not in left_out])
    asked = {target.question.question_id for number in left_out for target in training_set.rollouts[number].targets}
    return replace(kept, static=training_set.static.without(asked) if training_set.static else None)


def _tvd_rows(unseen: TrainingSet, kept: TrainingSet, student: LSM, seen: LSM, seed: int) -> list[dict[str, object]]:
    """Distances to the teacher's answers of one scenario, every model told each agent's first answer."""
    predictions = {
        STUDENT: predict_student(student, unseen),
        "lsm_seen": predict_student(seen, unseen),
        "persistence": predict_persistence(unseen),
        "uniform": predict_uniform(unseen),
        "friedkin_johnsen": predict_friedkin_johnsen(unseen, fitted_on=kept),
    }
    rows = []
    held_out = predict_held_out(unseen, predictions)
    for (question_id,), answers in held_out.group_by("question_id", maintain_order=True):
        by_agent = mean_tvd_by_agent(answers)
        student_H = by_agent[STUDENT].to_numpy()
        for name in predictions:
            model_H = by_agent[name].to_numpy()
            value = bootstrap_interval(np.mean, model_H, seed=seed, num_resamples=NUM_RESAMPLES)
            gap = bootstrap_interval(np.mean, student_H - model_H, seed=seed, num_resamples=NUM_RESAMPLES)
            difference = (gap.value, gap.lower, gap.upper) if name != STUDENT else (None, None, None)
            rows.append(
                _row(unseen, str(question_id), "tvd", name, (value.value, value.lower, value.upper), difference)
            )
    return rows


def _share_rows(unseen: TrainingSet, student: LSM, seen: LSM, seed: int) -> list[dict[str, object]]:
    """Errors of drawn people's changes of shares, beside those of standing still; all questions of the scenario."""
    weight_BP = held_out_resamples(unseen, NUM_RESAMPLES, seed)
    ours, bound = (change_errors(draw_panel(model, unseen), unseen, weight_BP) for model in (student, seen))
    errors = {STUDENT: ours.student_B, "lsm_seen": bound.student_B, "persistence": ours.persistence_B}
    rows = []
    for name, error_B in errors.items():
        value = basic_interval(float(error_B[0]), error_B[1:], smallest=0.0)
        gap_B = ours.student_B - error_B
        difference = (None, None, None) if name == STUDENT else basic_interval(float(gap_B[0]), gap_B[1:])
        rows.append(_row(unseen, "", "share_changes", name, value, difference))
    return rows


def _row(
    unseen: TrainingSet,
    question_id: str,
    metric: str,
    model: str,
    value: tuple[float, float, float],
    difference: tuple[float | None, float | None, float | None],
) -> dict[str, object]:
    scenario_id = unseen.rollouts[0].scenario_id
    num_agents = int(unseen.is_held_out_P.sum())
    return dict(zip(COLUMNS, (scenario_id, question_id, metric, model, *value, *difference, num_agents), strict=True))
