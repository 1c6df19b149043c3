"""Predictions for held-out agents, of students and baselines side by side: what gates and evidence are read from.

The setting: the whole panel starts from what the teacher said and thought at timestep 0 and runs freely; predictions
from timestep 1 on are compared with the teacher's for agents that nothing was fitted on. Students start from the
observed channels and shift their log-odds by the gap between observed and predicted answer at timestep 0, so that they
know what persistence knows. `lsm_unanchored` leaves that shift out. `lsm_simulated` knows attributes, ties and events
only, as simulations do: its people are drawn, and its prediction for an agent is the mean over draws.

Legend: P panel agents, T timesteps (0 … last), O options, K channels.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import torch
from torch import Tensor

from assets.distillation.baselines import Predictions, each_question
from assets.distillation.free_running import free_run
from assets.distillation.losses import answer_offset, read_logits
from assets.distillation.stacking import StackedPanel, stack_panel, start_stack
from assets.distillation.training_set import TrainingSet
from model.lsm.lsm import LSM
from validation.contracts import CONTRACTS

SPLIT = "agents"

Channels = dict[str, np.ndarray]
"""Anchored channels [T, P, K] by scenario id."""


def predict_student(model: LSM, training_set: TrainingSet, anchor_weight: float | None = None) -> Predictions:
    """The student's answers of the whole panel, started from the teacher's channels and answers at timestep 0.

    Args:
        model: the student.
        training_set: the panel and the teacher's answers.
        anchor_weight: 0 … 1, how much of the first answer's gap stays; the student's own when left out.
    """
    stack = stack_panel(training_set)
    window = free_run(model, stack)
    with torch.no_grad():
        start = start_stack(model, stack, stack.channels_TNK[0])
        weights = [
            float(model.leaning_weight(asked.question)) if anchor_weight is None else anchor_weight
            for asked in stack.questions
        ]
        answers = [
            (read_logits(model, window, asked) + weight * answer_offset(model, start, asked)).double().softmax(2)
            for asked, weight in zip(stack.questions, weights, strict=True)
        ]
    return _by_scenario(stack, training_set, answers)


def predict_channels(model: LSM, training_set: TrainingSet) -> Channels:
    """What the student thinks in the rollout behind `predict_student`: the whole panel's anchored channels, −1 … 1."""
    stack = stack_panel(training_set)
    channels_TNK = free_run(model, stack).channels_TNK
    by_scenario = channels_TNK.unflatten(1, (stack.num_copies, len(stack.attributes_PA))).numpy()
    return {
        rollout.scenario_id: by_scenario[: rollout.num_timesteps + 1, number]
        for number, rollout in enumerate(training_set.rollouts)
    }


def _by_scenario(stack: StackedPanel, training_set: TrainingSet, answers: Sequence[Tensor]) -> Predictions:
    predictions: Predictions = {}
    for asked, answers_TMO in zip(stack.questions, answers, strict=True):
        scenario_M = stack.scenario_of(asked.agents_M)
        for number in torch.unique(scenario_M).tolist():
            rollout = training_set.rollouts[number]
            answers_TPO = answers_TMO[: rollout.num_timesteps + 1, scenario_M == number]
            predictions[rollout.scenario_id, asked.question.question_id] = answers_TPO.numpy()
    return predictions


def predict_held_out(
    training_set: TrainingSet,
    predictions: Mapping[str, Predictions],
    model_version: int = 0,
    *,
    channels: Mapping[str, Channels] | None = None,
) -> pl.DataFrame:
    """The table `held_out_predictions`.

    Args:
        training_set: the panel and the teacher's answers.
        predictions: answers of the whole panel by name of the model.
        model_version: registered version of the student; 0 as long as it has none (see `with_model_version`).
        channels: channels of the whole panel by name of the model, for those that have any.

    Returns:
        One row per model and held-out answer from timestep 1 on; answers that failed are left out.
    """
    held_out_P = torch.nonzero(training_set.is_held_out_P)[:, 0].numpy()
    agent_ids_P = np.array(training_set.agent_ids)
    parts: list[pl.DataFrame] = []
    for name, answers in predictions.items():
        thought = (channels or {}).get(name)
        for key, _, target in each_question(training_set):
            teacher_THO = target.first_draw_TPO.numpy().astype(np.float64)[1:, held_out_P]
            is_known_TH = ~np.isnan(teacher_THO).any(axis=2)
            step_B, agent_B = np.nonzero(is_known_TH)
            predicted_BO = answers[key][1:, held_out_P][is_known_TH]
            teacher_BO = teacher_THO[is_known_TH]
            channels_BK = None if thought is None else thought[key[0]][1:, held_out_P][is_known_TH].tolist()
            parts.append(
                pl.DataFrame(
                    {
                        "model": [name] * len(step_B),
                        "scenario_id": [key[0]] * len(step_B),
                        "question_id": [key[1]] * len(step_B),
                        "agent_id": agent_ids_P[held_out_P][agent_B],
                        "timestep": (step_B + 1).astype(np.int32),
                        "split": [SPLIT] * len(step_B),
                        "option_probabilities": (predicted_BO / predicted_BO.sum(axis=1, keepdims=True)).tolist(),
                        "teacher_probabilities": (teacher_BO / teacher_BO.sum(axis=1, keepdims=True)).tolist(),
                        "channels": [None] * len(step_B) if channels_BK is None else channels_BK,
                        "model_version": [model_version] * len(step_B),
                    },
                    schema=_schema(),
                )
            )
    return pl.concat(parts) if parts else pl.DataFrame(schema=_schema())


def with_model_version(held_out: pl.DataFrame, model_version: int) -> pl.DataFrame:
    """The table with the version under which the student was registered."""
    return held_out.with_columns(pl.lit(model_version, dtype=pl.Int64).alias("model_version"))


def _schema() -> dict[str, pl.DataType]:
    columns = CONTRACTS["held_out_predictions"].columns
    return {name: column.dtype.type for name, column in columns.items()}  # pyright: ignore[reportOptionalMemberAccess]
