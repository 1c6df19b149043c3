"""The pass of people drawn from their attributes alone, as simulations draw them; their shares follow the teacher's.

They run on their own from timestep 0 through every event and on beyond the last, where their shares are to settle.

Legend: N stacked agents, T timesteps, M agents of a question, S scenarios, O options.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from assets.distillation.free_running import draw_people, drawn_answers, drawn_leanings
from assets.distillation.learner import Learner
from assets.distillation.losses import drawn_shares_loss, settling_loss, window_of
from assets.distillation.share_paths import counted_answers, share_path, teacher_paths, teacher_positions
from assets.distillation.stacking import StackedPanel, start_stack, with_identity
from model.lsm.leaning import SMALLEST_SHARE
from model.lsm.state import State


class DrawnPass:
    """Learns how shares of drawn people move."""

    def __init__(self, learner: Learner, stack: StackedPanel, counts_N: Tensor) -> None:
        """Keeps what every pass reads.

        Args:
            learner: what learns.
            stack: the teacher's rollouts.
            counts_N: bool, agents of whom the shares are taken.
        """
        self.learner, self.stack, self.counts_N = learner, stack, counts_N
        self.taught = teacher_paths(stack, counts_N)
        self.placed = teacher_positions(stack, counts_N, SMALLEST_SHARE)

    def run(self) -> dict[str, float]:
        """One pass, with one step of the optimiser per stretch of gradient and one for settling; mean losses by name.

        Raises:
            FloatingPointError: a loss is not finite.
        """
        learner, stack = self.learner, self.stack
        model = learner.model.train()
        people = draw_people(model, stack, learner.next_seed())
        leanings = drawn_leanings(model, people, stack)
        state = start_stack(model, stack, None, people.channels_NK)
        states, saliences, first = [state], [torch.zeros_like(state.conviction_N)], 0
        losses: list[float] = []
        start: list[Tensor] = []
        for timestep in range(1, stack.num_timesteps + 1):
            state, perception = model.advance(state, stack.graph, stack.timeline, timestep)
            states.append(state)
            saliences.append(perception.salience_N)
            if timestep < stack.num_timesteps and timestep - first < learner.settings.longest_gradient:
                continue
            window = window_of(first, states, saliences)
            if first == 0:
                start = self._shares_at_start(drawn_answers(model, window, people, stack))
            loss = drawn_shares_loss(model, stack, window, leanings, start, self.taught, self.placed, self.counts_N)
            learner.descend({"drawn_shares": loss})
            losses.append(float(loss.detach()))
            start = [share_SO.detach() for share_SO in start]
            state = with_identity(model, stack, state.detach())
            states, saliences, first = [], [], timestep + 1
        return {"drawn_shares": sum(losses) / len(losses), "settling": self._settle(state, leanings)}

    def _settle(self, state: State, leanings: Sequence[Tensor]) -> float:
        """Lets time go on after the last event, from 0 to 40 timesteps unseen, then holds shares to where they are."""
        model, stack, settings = self.learner.model, self.stack, self.learner.settings
        unseen = int(torch.randint(settings.longest_settling + 1, (1,), generator=self.learner.noise))
        first = stack.num_timesteps + unseen
        with torch.no_grad():
            for timestep in range(stack.num_timesteps + 1, first + 1):
                state, _ = model.advance(state, stack.graph, stack.timeline, timestep)
        states, saliences = [state], [torch.zeros_like(state.conviction_N)]
        for timestep in range(first + 1, first + settings.longest_gradient + 1):
            state, perception = model.advance(state, stack.graph, stack.timeline, timestep)
            states.append(state)
            saliences.append(perception.salience_N)
        loss = settling_loss(model, stack, window_of(first, states, saliences), leanings, self.counts_N)
        self.learner.descend({"settling": loss})
        return float(loss.detach())

    def _shares_at_start(self, answers: Sequence[Tensor]) -> list[Tensor]:
        """Shares at timestep 0, [S, O] per question, of answers [T, M, O]."""
        stack = self.stack
        return [
            share_path(
                answer_TMO[:1],
                counted_answers(asked, self.counts_N)[:1],
                stack.scenario_of(asked.agents_M),
                stack.num_copies,
            ).mean_TSO[0]
            for asked, answer_TMO in zip(stack.questions, answers, strict=True)
        ]
