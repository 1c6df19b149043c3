"""What a student must beat: predictions of the teacher's answers that need no student.

All see the held-out agents' attributes and the teacher's answers at timestep 0, and no later answer of theirs.

    uniform                every option alike
    persistence            the agent's own answer at timestep 0, carried forward
    demographic_regression multinomial regression on attributes, per scenario and question, on the training agents
    friedkin_johnsen       in `friedkin_johnsen.py`, since it has an engine of its own
    lsm_no_graph           a student trained in the same way without its graph (`distil.py`)

Legend: P panel agents, T timesteps (0 … last), O options, F features.
"""

import numpy as np

from assets.distillation.teacher_rollouts import QuestionTargets, TeacherRollout
from assets.distillation.training_set import TrainingSet
from assets.tensors import attribute_levels

Predictions = dict[tuple[str, str], np.ndarray]
"""Probabilities [T, P, O] by scenario id and question id."""


def predict_uniform(training_set: TrainingSet) -> Predictions:
    """Every option alike."""
    return {
        key: np.full(target.probability_TPO.shape, 1.0 / len(target.options))
        for key, _, target in each_question(training_set)
    }


def predict_persistence(training_set: TrainingSet) -> Predictions:
    """The agent's own answer at timestep 0, carried forward."""
    return {
        key: np.repeat(initial_answers(training_set, target)[None], rollout.num_timesteps + 1, axis=0)
        for key, rollout, target in each_question(training_set)
    }


def predict_demographic_regression(training_set: TrainingSet) -> Predictions:
    """Multinomial logistic regression of the answers on attributes and timestep, fitted on the training agents.

    The teacher's probabilities enter as weights of the options, so that the fit maximises the expected likelihood. The
    ridge penalty is scikit-learn's default, which keeps rare levels from running away.
    """
    from sklearn.linear_model import LogisticRegression

    is_fitted_P = (~training_set.is_held_out_P).numpy()
    one_hot_PF = _one_hot(training_set)
    predictions: Predictions = {}
    for key, rollout, target in each_question(training_set):
        num_steps, num_options = rollout.num_timesteps + 1, len(target.options)
        features_TPF = np.stack([_at_timestep(one_hot_PF, timestep, num_steps) for timestep in range(num_steps)])
        probability_TPO = target.probability_TPO.numpy().astype(np.float64)
        is_known_TP = is_fitted_P & ~np.isnan(probability_TPO).any(axis=2)
        features, weight = features_TPF[is_known_TP], probability_TPO[is_known_TP]
        model = LogisticRegression(max_iter=300)
        model.fit(
            np.repeat(features, num_options, axis=0),
            np.tile(np.arange(num_options), len(features)),
            sample_weight=weight.ravel() + 1e-9,
        )
        predicted = model.predict_proba(features_TPF.reshape(-1, features_TPF.shape[2]))
        predictions[key] = predicted.reshape(num_steps, -1, num_options)
    return predictions


def each_question(training_set: TrainingSet) -> list[tuple[tuple[str, str], TeacherRollout, QuestionTargets]]:
    """Every question of every scenario, with its key in `Predictions`."""
    return [
        ((rollout.scenario_id, target.question.question_id), rollout, target)
        for rollout in training_set.rollouts
        for target in rollout.targets
    ]


def initial_answers(training_set: TrainingSet, target: QuestionTargets) -> np.ndarray:
    """The teacher's answers at timestep 0, [P, O]; the mean of the fitted agents where an answer failed."""
    answer_PO = target.probability_TPO[0].numpy().astype(np.float64)
    is_known_P = ~np.isnan(answer_PO).any(axis=1)
    is_fitted_P = is_known_P & (~training_set.is_held_out_P).numpy()
    num_options = answer_PO.shape[1]
    mean_O = answer_PO[is_fitted_P].mean(axis=0) if is_fitted_P.any() else np.full(num_options, 1.0 / num_options)
    answer_PO = np.where(is_known_P.reshape(-1, 1), answer_PO, mean_O)
    return answer_PO / answer_PO.sum(axis=1, keepdims=True)


def _one_hot(training_set: TrainingSet) -> np.ndarray:
    codes_PA = training_set.attributes_PA.numpy()
    return np.concatenate(
        [np.eye(num_levels)[codes_PA[:, number]] for number, num_levels in enumerate(attribute_levels())], axis=1
    )


def _at_timestep(one_hot_PF: np.ndarray, timestep: int, num_steps: int) -> np.ndarray:
    dummies = np.zeros((len(one_hot_PF), num_steps))
    dummies[:, timestep] = 1.0
    return np.concatenate([one_hot_PF, dummies], axis=1)
