"""The mechanistic baseline: biased Friedkin–Johnsen dynamics, calibrated by gradient on the agents that may be fitted.

One set of parameters per question, shared by all scenarios that ask it. An agent's stance is the mean score of its
answers; it starts from the teacher's answer at timestep 0, as persistence does. A predicted stance is turned into
answers by tilting the agent's own first answer until its mean score is the stance, which changes that answer as little
as possible.

Legend: N stacked agents, T timesteps, O options.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from assets.distillation.baselines import Predictions, initial_answers
from assets.distillation.stacking import StackedPanel, StackedQuestion, stack_panel
from assets.distillation.training_set import TrainingSet
from model.lpm.program import Program, run
from model.lpm.programs.opinion import opinion_population, opinion_program, stance_of

CALIBRATION_STEPS = 80
LEARNING_RATE = 0.1
SMALLEST_SHARE = 1e-4
"""Options that an agent's first answer leaves out get this share, so that tilting can reach them."""
LARGEST_TILT = 60.0
ANSWERS = "answers.temperature"
"""The parameter that is not fitted: stances become answers by tilting."""


def predict_friedkin_johnsen(training_set: TrainingSet) -> Predictions:
    """Answers of the calibrated opinion program for the whole panel."""
    predictions: Predictions = {}
    for asked in stack_panel(training_set).questions:
        question_id = asked.question.question_id
        copies = torch.unique(asked.agents_M // training_set.num_agents).tolist()
        part = replace(training_set, rollouts=tuple(training_set.rollouts[copy] for copy in copies))
        stack = stack_panel(part)
        target = next(item for item in stack.questions if item.question.question_id == question_id)
        first_NO = torch.from_numpy(
            np.concatenate(
                [
                    initial_answers(part, answers)
                    for rollout in part.rollouts
                    for answers in rollout.targets
                    if answers.question.question_id == question_id
                ]
            )
        )
        stance_TN = _calibrated_stances(stack, target, first_NO, stack.repeat(~part.is_held_out_P))
        scores_O = asked.question.option_scores_O.double()
        answers_TNO = torch.stack([tilt_answers(first_NO, stance_N, scores_O) for stance_N in stance_TN])
        for number, rollout in enumerate(part.rollouts):
            copy = slice(number * part.num_agents, (number + 1) * part.num_agents)
            answers_TPO = answers_TNO[: rollout.num_timesteps + 1, copy]
            predictions[rollout.scenario_id, question_id] = answers_TPO.numpy()
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


def _calibrated_stances(stack: StackedPanel, target: StackedQuestion, first_NO: Tensor, is_fitted_N: Tensor) -> Tensor:
    """Stances [T, N] of the program whose parameters fit the teacher's stances of the fitted agents best."""
    scores_O = target.question.option_scores_O.double()
    population = opinion_population(stance_of(first_NO, scores_O), stack.graph, stack.timeline, scores_O)
    teacher_TN = (target.probability_TMO.double() @ scores_O)[1:]
    is_counted_TN = is_fitted_N & ~teacher_TN.isnan()
    teacher_TN = teacher_TN.nan_to_num()
    program = opinion_program()
    parameters = {name: parameter for name, parameter in program.parameters.items() if name != ANSWERS}
    raw = {name: parameter.unconstrained().requires_grad_() for name, parameter in parameters.items()}
    optimiser = torch.optim.Adam(list(raw.values()), lr=LEARNING_RATE)

    def stances() -> Tensor:
        values = {name: parameters[name].constrain(value) for name, value in raw.items()}
        return _stances(program, population, stack.num_timesteps, values)

    for _ in range(CALIBRATION_STEPS):
        optimiser.zero_grad()
        error_TN = (stances()[1:] - teacher_TN) ** 2
        loss = (error_TN * is_counted_TN).sum() / is_counted_TN.sum().clamp(min=1)
        if not loss.requires_grad:
            break
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        return stances()


def _stances(program: Program, population: dict[str, Tensor], num_timesteps: int, values: dict[str, Tensor]) -> Tensor:
    recorded: list[Tensor] = []
    run(
        program,
        population,
        num_timesteps,
        record=lambda _, state: recorded.append(state["stance_N"]),
        values=values,
    )
    return torch.stack(recorded)
