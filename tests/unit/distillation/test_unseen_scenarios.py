"""Scenarios left out of training: nothing of them is fitted on, and every model meets the same held-out agents."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from assets.distillation.baselines import predict_persistence
from assets.distillation.distil import student_config
from assets.distillation.friedkin_johnsen import predict_friedkin_johnsen
from assets.distillation.gates import mean_tvd_by_agent
from assets.distillation.held_out import predict_held_out
from assets.distillation.simulated_shares import change_errors, draw_panel, held_out_resamples
from assets.distillation.training_set import TrainingSet
from assets.distillation.trainings import train_students
from assets.distillation.unseen_scenarios import (
    NUM_RESAMPLES,
    left_out_sets,
    question_sets,
    score_unseen_scenarios,
    trainings_without_scenarios,
)
from model.lsm.lsm import LSM


@pytest.fixture(scope="module")
def two_questions(training_set: TrainingSet) -> TrainingSet:
    """The small society, whose second scenario asks a question of its own."""
    first, second = training_set.rollouts
    targets = tuple(
        replace(target, question=replace(target.question, question_id="another")) for target in second.targets
    )
    return replace(training_set, rollouts=(first, replace(second, targets=targets)))


@pytest.fixture(scope="module")
def untrained(training_set: TrainingSet) -> LSM:
    torch.manual_seed(0)
    return LSM(student_config(training_set)).eval()


def score(training_set: TrainingSet, seen: LSM, num_splits: int) -> pl.DataFrame:
    sets = left_out_sets(training_set, num_splits, seed=4)
    trained = train_students(trainings_without_scenarios(training_set, sets, seed=4), epochs=1)
    students = {name: student.model for name, student in trained.items()}
    return score_unseen_scenarios(training_set, seen, sets, students, epochs=1, seed=4, model_version=2)


def only(training_set: TrainingSet, number: int) -> TrainingSet:
    return replace(training_set, rollouts=(training_set.rollouts[number],))


def test_scenarios_that_ask_the_same_are_left_out_together(
    training_set: TrainingSet, two_questions: TrainingSet
) -> None:
    assert list(question_sets(training_set).values()) == [[0, 1]]
    assert sorted(question_sets(two_questions).values()) == [[0], [1]]


def test_the_student_is_trained_on_what_remains_and_judged_on_held_out_agents(
    two_questions: TrainingSet, untrained: LSM
) -> None:
    sets = left_out_sets(two_questions, 9, seed=4)
    trainings = trainings_without_scenarios(two_questions, sets, seed=4)
    trained_on = [{rollout.scenario_id for rollout in item.training_set.rollouts} for item in trainings.values()]
    table = score(two_questions, untrained, num_splits=9)
    everything = {rollout.scenario_id for rollout in two_questions.rollouts}
    assert sorted(map(sorted, trained_on)) == [[name] for name in sorted(everything)]
    assert set(table["scenario_id"]) == everything
    assert set(table["num_agents"]) == {int(two_questions.is_held_out_P.sum())}
    assert table.filter(pl.col("student_minus_model").is_null())["model"].unique().to_list() == ["lsm"]

    one = only(two_questions, 0)
    by_agent = mean_tvd_by_agent(predict_held_out(one, {"persistence": predict_persistence(one)}))
    (row,) = table.filter(scenario_id=one.rollouts[0].scenario_id, metric="tvd", model="persistence").to_dicts()
    assert row["value"] == pytest.approx(by_agent["persistence"].mean())
    assert row["lower"] < row["value"] < row["upper"]


def test_intervals_of_share_changes_are_those_of_the_basic_bootstrap(
    two_questions: TrainingSet, untrained: LSM
) -> None:
    one = only(two_questions, 0)
    errors = change_errors(draw_panel(untrained, one), one, held_out_resamples(one, NUM_RESAMPLES, 4))
    low, high = np.quantile(errors.student_B[1:], (0.025, 0.975))
    table = score(two_questions, untrained, num_splits=9)
    (row,) = table.filter(scenario_id=one.rollouts[0].scenario_id, metric="share_changes", model="lsm_seen").to_dicts()
    ends = [max(0.0, 2 * errors.student_B[0] - end) for end in (high, low)]
    assert (row["value"], row["lower"], row["upper"]) == pytest.approx((errors.student_B[0], *ends))


def test_one_of_two_sets_is_left_out_when_one_is_asked_for(two_questions: TrainingSet, untrained: LSM) -> None:
    assert score(two_questions, untrained, num_splits=1)["scenario_id"].n_unique() == 1


@pytest.mark.parametrize("num_splits", [0, 3])
def test_nothing_is_measured_where_nothing_remains(training_set: TrainingSet, untrained: LSM, num_splits: int) -> None:
    assert score(training_set, untrained, num_splits).is_empty()


def test_borrowed_parameters_do_not_depend_on_the_answers_they_predict(two_questions: TrainingSet) -> None:
    kept, unseen = only(two_questions, 0), only(two_questions, 1)
    (rollout,) = unseen.rollouts

    def later_turned(probability_TPO: torch.Tensor) -> torch.Tensor:
        return torch.cat([probability_TPO[:1], probability_TPO[1:].flip(2)])

    turned = tuple(replace(target, probability_TPO=later_turned(target.probability_TPO)) for target in rollout.targets)
    altered = replace(unseen, rollouts=(replace(rollout, targets=turned),))
    ((answers, same),) = zip(
        predict_friedkin_johnsen(unseen, fitted_on=kept).values(),
        predict_friedkin_johnsen(altered, fitted_on=kept).values(),
        strict=True,
    )
    ((fitted, refitted),) = zip(
        predict_friedkin_johnsen(unseen).values(), predict_friedkin_johnsen(altered).values(), strict=True
    )

    assert np.array_equal(answers, same)
    assert not np.allclose(fitted, refitted)
