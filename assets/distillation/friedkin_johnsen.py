"""The mechanistic baseline: biased Friedkin–Johnsen dynamics, calibrated by gradient on the agents that may be fitted.

One set of parameters per question, shared by all scenarios that ask it. An agent's stance is the mean score of its
answers; it starts from the teacher's answer at timestep 0, as persistence does. A predicted stance is turned into
answers by tilting the agent's own first answer until its mean score is the stance, which changes that answer as little
as possible.

Legend: N stacked agents, T timesteps, O options.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from assets.distillation.baselines import Predictions, initial_answers
from assets.distillation.stacking import StackedPanel, StackedQuestion, stack_panel
from assets.distillation.training_set import TrainingSet
from model.lpm.program import run
from model.lpm.programs.opinion import opinion_population, opinion_program, stance_of

CALIBRATION_STEPS = 80
LEARNING_RATE = 0.1
SMALLEST_SHARE = 1e-4
"""Options that an agent's first answer leaves out get this share, so that tilting can reach them."""
LARGEST_TILT = 60.0
ANSWERS = "answers.temperature"
"""The parameter that is not fitted: stances become answers by tilting."""
PROGRAM = opinion_program()
PARAMETERS = {name: parameter for name, parameter in PROGRAM.parameters.items() if name != ANSWERS}


def predict_friedkin_johnsen(training_set: TrainingSet, fitted_on: TrainingSet | None = None) -> Predictions:
    """Answers of the calibrated opinion program for the whole panel.

    Args:
        training_set: whose answers are predicted.
        fitted_on: rollouts that ask other questions: every question is predicted with the mean, in unconstrained
            space, of the parameters that fit theirs. When left out, each question has parameters fitted to itself.
    """
    borrowed = None
    if fitted_on is not None:
        fits = [_calibrate(task) for task in _tasks(fitted_on)]
        borrowed = {name: torch.stack([fit[name] for fit in fits]).mean(0) for name in fits[0]}
    predictions: Predictions = {}
    for task in _tasks(training_set):
        raw = _calibrate(task) if borrowed is None else borrowed
        with torch.no_grad():
            stance_TN = task.stances(raw)
        answers_TNO = torch.stack([tilt_answers(task.first_NO, stance_N, task.scores_O) for stance_N in stance_TN])
        for number, rollout in enumerate(task.part.rollouts):
            copy = slice(number * task.part.num_agents, (number + 1) * task.part.num_agents)
            answers_TPO = answers_TNO[: rollout.num_timesteps + 1, copy]
            predictions[rollout.scenario_id, task.target.question.question_id] = answers_TPO.numpy()
    return predictions


def tilt_answers(answer_NO: Tensor, stance_N: Tensor, option_scores_O: Tensor) -> Tensor:
    """Answers nearest to the given ones, in Kullback–Leibler distance, whose mean score is the stance; [N, O].

    They are p_o ∝ answer_o · exp(λ score_o); λ is found by bisection, within ±60. Stances that no tilt within that
    range can express come as near as it allows.

    Source: exponential tilting, Csiszár (1975), I-divergence geometry of probability distributions, theorem 3.1.
    """
    log_NO = answer_NO.clamp(min=SMALLEST_SHARE).log()
    lower_N = torch.full_like(stance_N, -LARGEST_TILT)
    upper_N = torch.full_like(stance_N, LARGEST_TILT)
    for _ in range(50):
        middle_N = (lower_N + upper_N) / 2
        mean_N = torch.softmax(log_NO + middle_N[:, None] * option_scores_O, 1) @ option_scores_O
        is_below_N = mean_N < stance_N
        lower_N = torch.where(is_below_N, middle_N, lower_N)
        upper_N = torch.where(is_below_N, upper_N, middle_N)
    return torch.softmax(log_NO + ((lower_N + upper_N) / 2)[:, None] * option_scores_O, 1)


@dataclass(frozen=True, eq=False)
class _Task:
    """One question with all scenarios that ask it; `first_NO` are the answers at timestep 0."""

    part: TrainingSet
    stack: StackedPanel
    target: StackedQuestion
    first_NO: Tensor

    @property
    def scores_O(self) -> Tensor:
        return self.target.question.option_scores_O.double()

    @cached_property
    def population(self) -> dict[str, Tensor]:
        stance_N = stance_of(self.first_NO, self.scores_O)
        return opinion_population(stance_N, self.stack.graph, self.stack.timeline, self.scores_O)

    def stances(self, raw: dict[str, Tensor]) -> Tensor:
        """Stances [T, N] under unconstrained parameters."""
        values = {name: PARAMETERS[name].constrain(value) for name, value in raw.items()}
        recorded: list[Tensor] = []
        run(
            PROGRAM,
            self.population,
            self.stack.num_timesteps,
            record=lambda _, state: recorded.append(state["stance_N"]),
            values=values,
        )
        return torch.stack(recorded)


def _tasks(training_set: TrainingSet) -> Iterator[_Task]:
    for asked in stack_panel(training_set).questions:
        question_id = asked.question.question_id
        copies = torch.unique(asked.agents_M // training_set.num_agents).tolist()
        part = replace(training_set, rollouts=tuple(training_set.rollouts[copy] for copy in copies))
        stack = stack_panel(part)
        target = next(item for item in stack.questions if item.question.question_id == question_id)
        first = [
            initial_answers(part, answers)
            for rollout in part.rollouts
            for answers in rollout.targets
            if answers.question.question_id == question_id
        ]
        yield _Task(part, stack, target, torch.from_numpy(np.concatenate(first)))


def _calibrate(task: _Task) -> dict[str, Tensor]:
    """Unconstrained parameters whose stances fit the teacher's best, among agents that are not held out."""
    is_fitted_N = task.stack.repeat(~task.part.is_held_out_P)
    teacher_TN = (task.target.probability_TMO.double() @ task.scores_O)[1:]
    is_counted_TN = is_fitted_N & ~teacher_TN.isnan()
    teacher_TN = teacher_TN.nan_to_num()
    raw = {name: parameter.unconstrained().requires_grad_() for name, parameter in PARAMETERS.items()}
    optimiser = torch.optim.Adam(list(raw.values()), lr=LEARNING_RATE)
    for _ in range(CALIBRATION_STEPS):
        optimiser.zero_grad()
        error_TN = (task.stances(raw)[1:] - teacher_TN) ** 2
        loss = (error_TN * is_counted_TN).sum() / is_counted_TN.sum().clamp(min=1)
        if not loss.requires_grad:
            break
        loss.backward()
        optimiser.step()
    return {name: value.detach() for name, value in raw.items()}
