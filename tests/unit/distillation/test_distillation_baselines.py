"""Baselines and the table of held-out predictions."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from assets.distillation.baselines import (
    initial_answers,
    predict_demographic_regression,
    predict_persistence,
    predict_uniform,
)
from assets.distillation.distil import Distilled
from assets.distillation.friedkin_johnsen import predict_friedkin_johnsen
from assets.distillation.held_out import predict_channels, predict_held_out, predict_student, with_model_version
from assets.distillation.training_set import TrainingSet
from validation.contracts import CONTRACTS

KEY = ("campaign", "support")


def _answers(training_set: TrainingSet) -> np.ndarray:
    return training_set.rollouts[0].targets[0].probability_TPO.numpy()


def test_persistence_repeats_the_first_answer(training_set: TrainingSet) -> None:
    predicted = predict_persistence(training_set)[KEY]
    for timestep in range(len(predicted)):
        assert np.allclose(predicted[timestep], _answers(training_set)[0], atol=1e-6)


def test_uniform_is_uniform(training_set: TrainingSet) -> None:
    assert np.allclose(predict_uniform(training_set)[KEY], 1 / 3)


def test_a_failed_first_answer_becomes_the_mean_of_fitted_agents(training_set: TrainingSet) -> None:
    target = training_set.rollouts[0].targets[0]
    answers = target.probability_TPO.clone()
    answers[0, 5] = float("nan")
    filled = initial_answers(training_set, replace(target, probability_TPO=answers))
    is_fitted = ~training_set.is_held_out_P.numpy() & (np.arange(training_set.num_agents) != 5)
    assert filled[5] == pytest.approx(answers[0].numpy()[is_fitted].mean(axis=0), abs=1e-5)


def _hide_held_out(training_set: TrainingSet) -> TrainingSet:
    """The training set with other answers of held-out agents from timestep 1 on."""
    is_held_out = training_set.is_held_out_P
    changed = []
    for rollout in training_set.rollouts:
        targets = []
        for target in rollout.targets:
            answers = target.probability_TPO.clone()
            answers[1:, is_held_out] = 1 / 3
            targets.append(replace(target, probability_TPO=answers))
        changed.append(replace(rollout, targets=tuple(targets)))
    return replace(training_set, rollouts=tuple(changed))


@pytest.mark.parametrize("predict", [predict_demographic_regression, predict_friedkin_johnsen])
def test_fitted_baselines_never_see_later_answers_of_held_out_agents(training_set: TrainingSet, predict) -> None:
    one, two = predict(training_set)[KEY], predict(_hide_held_out(training_set))[KEY]
    assert np.array_equal(one, two)
    assert np.allclose(one.sum(axis=2), 1)


def test_regression_finds_the_party(training_set: TrainingSet) -> None:
    predicted = predict_demographic_regression(training_set)[KEY][0]
    party = training_set.agents["party"].to_numpy()
    assert predicted[party == "democrat", 0].mean() > predicted[party == "republican", 0].mean() + 0.2


def test_opinion_dynamics_fit_a_law_of_averaging(distilled: Distilled) -> None:
    by_baseline = {gate.baseline: gate.baseline_value for gate in distilled.gates}
    assert by_baseline["friedkin_johnsen"] < 0.5 * by_baseline["persistence"]


def test_the_table_holds_every_answered_held_out_row_of_every_model(distilled: Distilled) -> None:
    held_out = CONTRACTS["held_out_predictions"].validate(distilled.held_out)
    training_set = distilled.training_set
    held_out_ids = set(np.array(training_set.agent_ids)[training_set.is_held_out_P.numpy()].tolist())
    num_failed = 2 * (7 in held_out_ids)
    for _, rows in held_out.group_by("model"):
        assert set(rows["agent_id"]) == held_out_ids
        assert rows.height == 2 * 5 * len(held_out_ids) - num_failed
    assert held_out["model"].n_unique() == 8
    assert held_out["timestep"].min() == 1
    with_channels = held_out.filter(pl.col("channels").is_not_null())
    assert set(with_channels["model"]) == {"lsm", "lsm_no_graph"}
    assert with_channels.height == held_out.filter(pl.col("model").is_in(["lsm", "lsm_no_graph"])).height


def test_channels_are_those_that_the_answers_were_read_from(distilled: Distilled) -> None:
    training_set, model = distilled.training_set, distilled.student.model
    thought = predict_channels(model, training_set)
    said = predict_student(model, training_set, anchor_weight=0.0)
    for (scenario_id, _), answers_TPO in said.items():
        channels_TPK = thought[scenario_id]
        assert channels_TPK.shape == (*answers_TPO.shape[:2], model.config.num_channels)
        assert np.abs(channels_TPK).max() <= 1.0
    rollout = training_set.rollouts[0]
    observed_PK = rollout.channels_TPK[0].numpy()
    is_known = ~np.isnan(observed_PK)
    np.testing.assert_allclose(thought[rollout.scenario_id][0][is_known], observed_PK[is_known], atol=1e-6)


def test_the_version_can_be_set_later(training_set: TrainingSet) -> None:
    frame = with_model_version(predict_held_out(training_set, {"uniform": predict_uniform(training_set)}), 4)
    assert frame["model_version"].unique().to_list() == [4]
    assert frame.schema["model_version"] == pl.Int64
