"""The pass over all timesteps from what was observed: teacher forcing at the start of every window, and every loss.

At the start of every window the channels of all agents are set to the teacher's and the gradient is cut; within a
window the student runs on its own. Every rollout is learned with its texts and without (`unread.py`). Recorded answers,
where there are any, are mixed in: every step of the optimiser asks some of the recorded people too.

Legend: N stacked agents, K channels.
"""

from dataclasses import replace

import torch
from torch import Tensor

from assets.distillation.free_running import draw_people, drawn_leanings
from assets.distillation.learner import Learner
from assets.distillation.losses import answer_offset, initial_loss, window_losses, window_of
from assets.distillation.stacking import StackedPanel, start_stack, with_identity
from assets.distillation.static_traces import StaticTraces, static_loss
from assets.distillation.unread import turned_round, without_texts
from model.lsm.state import State

TURNED_SHARE = 0.5


class ObservedPass:
    """Learns rollouts from what was observed at timestep 0."""

    def __init__(self, learner: Learner, stack: StackedPanel, counts_N: Tensor, static: StaticTraces | None) -> None:
        """Keeps what every pass reads.

        Args:
            learner: what learns.
            stack: the teacher's rollouts.
            counts_N: bool, agents whose targets count.
            static: recorded answers; None for none.
        """
        self.learner, self.stack, self.counts_N, self.static = learner, stack, counts_N, static
        unread = without_texts(stack)
        self.unread = (unread, turned_round(unread))

    def run(self, window: int) -> dict[str, float]:
        """One pass, with one step of the optimiser per stretch of gradient; mean losses by name.

        Args:
            window: timesteps between two starts from the teacher's channels.

        Raises:
            FloatingPointError: a loss is not finite.
        """
        learner = self.learner
        learner.model.train()
        stretches = [_Stretch(learner, stack, self.counts_N) for stack in self._stacks()]
        num_timesteps = self.stack.num_timesteps
        sums: dict[str, float] = {}
        num_steps, first = 0, 0
        for timestep in range(1, num_timesteps + 1):
            for stretch in stretches:
                stretch.advance(timestep)
            is_window_end = timestep % window == 0 or timestep == num_timesteps
            if not is_window_end and timestep - first < learner.settings.longest_gradient:
                continue
            losses, *unread = [stretch.losses() for stretch in stretches]
            if self.static is not None:
                losses["static"] = static_loss(learner.model, self.static, learner.noise)
            if unread:
                losses["unread"] = learner.weighted_sum(unread[0])
            learner.descend(losses)
            for name, loss in losses.items():
                sums[name] = sums.get(name, 0.0) + float(loss.detach())
            num_steps, first = num_steps + 1, timestep + 1
            for stretch in stretches:
                stretch.go_on(is_forced=is_window_end)
        return {name: value / (1 if name == "initial" else num_steps) for name, value in sums.items()}

    def _stacks(self) -> list[StackedPanel]:
        """The rollouts of an epoch, and the same without texts: scales as they are or, by chance, turned round."""
        if not self.learner.settings.weights.unread:
            return [self.stack]
        return [self.stack, self.unread[int(torch.rand((), generator=self.learner.noise) < TURNED_SHARE)]]


class _Stretch:
    """A rollout of a pass since the gradient was cut last."""

    def __init__(self, learner: Learner, stack: StackedPanel, counts_N: Tensor) -> None:
        self.learner, self.stack, self.counts_N = learner, stack, counts_N
        model = learner.model
        observed = start_stack(model, stack, stack.channels_TNK[0])
        is_anchored = float(model.leaning.weight) >= 0.5
        self.offsets = [is_anchored * answer_offset(model, observed, asked).detach() for asked in stack.questions]
        self.timestep, self.first = 0, 0
        self.state = learner.drop_identity(observed)
        self.states, self.saliences = [self.state], [torch.zeros_like(self.state.conviction_N)]

    def advance(self, timestep: int) -> None:
        """The next timestep."""
        stack, self.timestep = self.stack, timestep
        self.state, perception = self.learner.model.advance(self.state, stack.graph, stack.timeline, timestep)
        self.states.append(self.state)
        self.saliences.append(perception.salience_N)

    def losses(self) -> dict[str, Tensor]:
        """Every loss since the gradient was cut last."""
        learner, stack = self.learner, self.stack
        done = window_of(self.first, self.states, self.saliences)
        losses = window_losses(learner.model, stack, done, self.counts_N, self.offsets)
        losses |= learner.heads.losses(stack, done, self.counts_N)
        if self.first == 0:
            losses["initial"] = self._initial_loss()
        return losses

    def go_on(self, *, is_forced: bool) -> None:
        """Cuts the gradient; where the window ends, the teacher's channels are taken."""
        model, stack = self.learner.model, self.stack
        state = self.learner.drop_identity(with_identity(model, stack, self.state.detach()))
        self.state = force_channels(state, stack.channels_TNK[self.timestep]) if is_forced else state
        self.states, self.saliences, self.first = [], [], self.timestep + 1

    def _initial_loss(self) -> Tensor:
        model, stack = self.learner.model, self.stack
        people = draw_people(model, stack, self.learner.next_seed())
        typical = start_stack(model, stack, None)
        drawn = start_stack(model, stack, None, people.channels_NK)
        return initial_loss(model, stack, typical, drawn, drawn_leanings(model, people, stack), self.counts_N)


def force_channels(state: State, channels_NK: Tensor) -> State:
    """The state with the teacher's channels where they are known: what teacher forcing does."""
    return replace(state, channels_NK=torch.where(channels_NK.isnan(), state.channels_NK, channels_NK))
