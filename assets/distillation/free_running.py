"""Free rollouts of the stacked panel: from what was observed at timestep 0, or from people drawn by their attributes.

Legend: N stacked agents, T timesteps (0 … last), K channels, M agents of a question, O options.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from assets.distillation.losses import Window, answer_offset, read_logits, window_of
from assets.distillation.share_paths import SharePath, counted_answers, share_error, share_path
from assets.distillation.stacking import StackedPanel, StackedQuestion, start_stack
from model.lsm.lsm import LSM
from model.lsm.noise import standard_normal
from model.lsm.state import State

ANCHOR_WEIGHTS = tuple(number / 10 for number in range(11))
VALIDATION_DRAWS = 2


@dataclass(frozen=True, eq=False)
class DrawnPeople:
    """Standard normal numbers behind drawn people, of channels [N, K] and of leanings [M, 1 + O] per question.

    A person is the same in every scenario of a draw.
    """

    channels_NK: Tensor
    leanings: tuple[Tensor, ...]


def draw_people(model: LSM, stack: StackedPanel, seed: int) -> DrawnPeople:
    """The people of one draw; those of odd seeds mirror those of the even seed before, so that pairs average well."""
    num_channels, num_people = model.config.num_channels, len(stack.attributes_PA)
    sizes = [1 + asked.question.num_options for asked in stack.questions]
    sign = -1.0 if seed % 2 else 1.0
    numbers_PR = sign * standard_normal(seed // 2, torch.arange(num_people), num_channels + sum(sizes)).float()
    channels_PK, *leanings = numbers_PR.split([num_channels, *sizes], 1)
    return DrawnPeople(
        channels_NK=stack.repeat_rows(channels_PK),
        leanings=tuple(
            numbers_PO[asked.agents_M % num_people] for numbers_PO, asked in zip(leanings, stack.questions, strict=True)
        ),
    )


def roll_on(model: LSM, stack: StackedPanel, state: State, num_timesteps: int) -> Window:
    """The student's rollout from a state, timesteps 0 … num_timesteps, without gradient."""
    with torch.no_grad():
        states, saliences = [state], [torch.zeros_like(state.conviction_N)]
        for timestep in range(1, num_timesteps + 1):
            state, perception = model.advance(state, stack.graph, stack.timeline, timestep)
            states.append(state)
            saliences.append(perception.salience_N)
        return window_of(0, states, saliences)


def free_run(model: LSM, stack: StackedPanel) -> Window:
    """The rollout of all timesteps from the teacher's channels at timestep 0; no gradient."""
    with torch.no_grad():
        return roll_on(model, stack, start_stack(model, stack, stack.channels_TNK[0]), stack.num_timesteps)


def drawn_run(model: LSM, stack: StackedPanel, people: DrawnPeople, num_timesteps: int) -> Window:
    """The rollout of drawn people, as simulations run it; no gradient."""
    with torch.no_grad():
        return roll_on(model, stack, start_stack(model, stack, None, people.channels_NK), num_timesteps)


def drawn_answers(model: LSM, window: Window, people: DrawnPeople, stack: StackedPanel) -> list[Tensor]:
    """Probabilities [T, M, O] of every question in a rollout of drawn people, leanings included."""
    return [
        (read_logits(model, window, asked) + leaning_MO).softmax(2)
        for asked, leaning_MO in zip(stack.questions, drawn_leanings(model, people, stack), strict=True)
    ]


def drawn_leanings(model: LSM, people: DrawnPeople, stack: StackedPanel) -> list[Tensor]:
    """Leanings [M, O] of drawn people, per question."""
    return [
        model.leaning.draw(asked.question, noise_MO)
        for asked, noise_MO in zip(stack.questions, people.leanings, strict=True)
    ]


def free_running_error(model: LSM, stack: StackedPanel, counts_N: Tensor) -> tuple[float, float]:
    """Mean TVD between student and teacher from timestep 1 on, and the anchor weight at which it is lowest.

    Args:
        model: the student.
        stack: the teacher's answers.
        counts_N: bool, agents that count.
    """
    with torch.no_grad():
        start = start_stack(model, stack, stack.channels_TNK[0])
        window = free_run(model, stack)
        errors = torch.zeros(len(ANCHOR_WEIGHTS))
        num_known = 0
        for asked in stack.questions:
            offset_MO = answer_offset(model, start, asked)
            target_TMO, is_known_TM = known_targets(asked, counts_N)
            logits_TMO = read_logits(model, window, asked)[1:]
            num_known += int(is_known_TM.sum())
            for number, weight in enumerate(ANCHOR_WEIGHTS):
                gap_TM = ((logits_TMO + weight * offset_MO).softmax(2) - target_TMO).abs().sum(2) / 2
                errors[number] += gap_TM[is_known_TM].sum()
    best = int(errors.argmin())
    return float(errors[best]) / max(1, num_known), ANCHOR_WEIGHTS[best]


def drawn_shares_error(model: LSM, stack: StackedPanel, teacher: Sequence[SharePath], counts_N: Tensor) -> float:
    """Mean over questions of how far the shares of drawn people are from the teacher's, see `share_paths.share_error`.

    Args:
        model: the student.
        stack: whose questions are asked.
        teacher: the teacher's shares of every question.
        counts_N: bool, agents of whom the shares are taken.
    """
    errors = []
    answers: list[list[Tensor]] = []
    with torch.no_grad():
        for draw in range(VALIDATION_DRAWS):
            people = draw_people(model, stack, draw)
            window = drawn_run(model, stack, people, stack.num_timesteps)
            answers.append(drawn_answers(model, window, people, stack))
        for number, asked in enumerate(stack.questions):
            mean_TMO = torch.stack([drawn[number] for drawn in answers]).mean(0)
            is_known_TM = counted_answers(asked, counts_N)
            ours = share_path(mean_TMO, is_known_TM, stack.scenario_of(asked.agents_M), stack.num_copies)
            errors.append(share_error(ours, teacher[number]))
    return sum(errors) / len(errors)


def known_targets(asked: StackedQuestion, counts_N: Tensor) -> tuple[Tensor, Tensor]:
    """The teacher's answers from timestep 1 on [T, M, O] and which of them are known and count [T, M]."""
    target_TMO = asked.probability_TMO[1:]
    return target_TMO, counts_N[asked.agents_M] & ~target_TMO.isnan().any(2)
