"""Shares over time: mean and spread of a group's answers, per scenario and timestep, of students and of their teacher.

What simulations report are shares of a population, and errors of single agents that all point the same way add up in
them. Losses and evidence on shares therefore stand beside those on agents.

Legend: T timesteps, M agents of a question, O options, S scenarios.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from assets.distillation.stacking import StackedPanel, StackedQuestion


@dataclass(frozen=True, eq=False)
class SharePath:
    """Mean and standard deviation over agents, each [T, S, O]; NaN where nobody was asked."""

    mean_TSO: Tensor
    spread_TSO: Tensor


def share_path(answers_TMO: Tensor, is_counted_TM: Tensor, scenario_M: Tensor, num_scenarios: int) -> SharePath:
    """Mean and spread of the counted answers per scenario and timestep; differentiable where nobody differs.

    Args:
        answers_TMO: probabilities; those that do not count may be NaN.
        is_counted_TM: bool.
        scenario_M: int64, scenario of each agent.
        num_scenarios: scenarios.
    """
    is_counted_TM1 = is_counted_TM[:, :, None]
    known_TMO = torch.where(is_counted_TM1, answers_TMO, 0.0)
    shape = (len(answers_TMO), num_scenarios, answers_TMO.shape[2])
    num_TSO = known_TMO.new_zeros(shape).index_add(1, scenario_M, is_counted_TM1.to(known_TMO).expand_as(known_TMO))
    mean_TSO = known_TMO.new_zeros(shape).index_add(1, scenario_M, known_TMO) / num_TSO
    squared_TMO = torch.where(is_counted_TM1, (known_TMO - mean_TSO[:, scenario_M].nan_to_num()) ** 2, 0.0)
    variance_TSO = known_TMO.new_zeros(shape).index_add(1, scenario_M, squared_TMO) / num_TSO
    return SharePath(mean_TSO, (variance_TSO + 1e-6).sqrt())


def teacher_paths(stack: StackedPanel, counts_N: Tensor) -> list[SharePath]:
    """The teacher's shares of every question among the agents that count."""
    return [
        share_path(
            asked.probability_TMO, counted_answers(asked, counts_N), stack.scenario_of(asked.agents_M), stack.num_copies
        )
        for asked in stack.questions
    ]


def position_path(log_TMO: Tensor, asked: StackedQuestion, is_counted_TM: Tensor, stack: StackedPanel) -> SharePath:
    """Mean and spread over agents of where answers lie on the scale in log-odds, each [T, S, 1].

    Probabilities near zero and one hide how far apart people are; log-odds do not. The position of log-odds ℓ is
    Σ (ℓ_o − ℓ̄)(y_o − ȳ) / Σ (y_o − ȳ)², with the position y_o of each option.

    Args:
        log_TMO: logits, or logarithms of probabilities.
        asked: the question.
        is_counted_TM: bool.
        stack: whose scenarios ask it.
    """
    centred_O = asked.question.option_scores_O.to(log_TMO) - asked.question.option_scores_O.to(log_TMO).mean()
    position_TM = (log_TMO - log_TMO.mean(2, keepdim=True)) @ centred_O / (centred_O @ centred_O).clamp(min=1e-6)
    return share_path(position_TM[:, :, None], is_counted_TM, stack.scenario_of(asked.agents_M), stack.num_copies)


def teacher_positions(stack: StackedPanel, counts_N: Tensor, smallest: float) -> list[SharePath]:
    """The same of the teacher's answers, whose shares below `smallest` count as much."""
    return [
        position_path(asked.probability_TMO.clamp(min=smallest).log(), asked, counted_answers(asked, counts_N), stack)
        for asked in stack.questions
    ]


def counted_answers(asked: StackedQuestion, counts_N: Tensor) -> Tensor:
    """Which of the teacher's answers are known and count, bool [T, M]."""
    return counts_N[asked.agents_M] & ~asked.probability_TMO.isnan().any(2)


def share_error(ours: SharePath, theirs: SharePath) -> float:
    """Mean over scenarios and timesteps from 1 on of the total variation distance between shares."""
    gap_TS = (ours.mean_TSO - theirs.mean_TSO)[1:].abs().sum(2) / 2
    return float(gap_TS.nanmean())
