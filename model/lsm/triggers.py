"""Endogenous events: population thresholds that start an event one timestep later, with hysteresis (`hysteresis.py`).

Legend: N agents, V events, O options.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from model.lsm.hysteresis import Hysteresis
from model.lsm.inputs import InputError, Question, Timeline, Trigger

ONE = 2**32
"""Probabilities are summed in whole units of 1 / ONE, whose sum does not depend on the order of the agents, nor on how
they are spread over processes; 2³¹ agents fit."""


class TriggerWatch:
    """Counts for how long each trigger's share has held, and starts its event.

    A trigger fires when the share has been above its threshold for `hold_for` timesteps in a row; it is armed again
    only after the share has fallen to its lower level. `total` sums whole numbers over all parts of a society that is
    spread over several processes.

    Raises:
        InputError: a trigger names an event, question or option that does not exist.
    """

    def __init__(
        self,
        triggers: Sequence[Trigger],
        questions: Sequence[Question],
        timeline: Timeline,
        *,
        total: Callable[[Tensor], Tensor] = lambda numbers: numbers,
    ) -> None:
        for position, trigger in enumerate(triggers):
            _within(f"event_index of trigger {position}", trigger.event_index, timeline.num_events)
            _within(f"question_index of trigger {position}", trigger.question_index, len(questions))
            options = questions[trigger.question_index].num_options
            _within(f"option_index of trigger {position}", trigger.option_index, options)
        self.total = total
        self.triggers = list(triggers)
        self.seen = [Hysteresis(one.share_above, one.rearms_at, one.hold_for) for one in self.triggers]

    @property
    def held(self) -> list[int]:
        """Timesteps in a row for which each share has been above its threshold."""
        return [seen.held for seen in self.seen]

    @property
    def is_armed(self) -> list[bool]:
        """Whether each trigger may fire."""
        return [seen.is_armed for seen in self.seen]

    def observe(
        self, timeline: Timeline, timestep: int, option_probabilities: Sequence[Tensor], counted_N: Tensor | None
    ) -> Timeline:
        """The timeline after the shares of a timestep were seen; the same object when nothing fired.

        Args:
            timeline: events so far.
            timestep: the timestep that was just computed.
            option_probabilities: [N, O] per question.
            counted_N: bool, agents whose share counts; None for all.
        """
        start_V = timeline.start_V
        for index, trigger in enumerate(self.triggers):
            share = self._share(option_probabilities[trigger.question_index][:, trigger.option_index], counted_N)
            if self.seen[index].fires(share):
                start_V = torch.where(
                    torch.arange(len(start_V), device=start_V.device) == trigger.event_index, timestep + 1, start_V
                )
        return timeline if start_V is timeline.start_V else replace(timeline, start_V=start_V)

    def resume(self, timeline: Timeline, start_V: Tensor, held: Sequence[int], is_armed: Sequence[bool]) -> Timeline:
        """The timeline as an interrupted rollout left it; the watch goes on from what it had seen."""
        for seen, number, armed in zip(self.seen, held, is_armed, strict=True):
            seen.held, seen.is_armed = number, armed
        return replace(timeline, start_V=start_V)

    def _share(self, probability_N: Tensor, counted_N: Tensor | None) -> float:
        counted = probability_N if counted_N is None else probability_N[counted_N]
        units = (counted.detach().double() * ONE).round().long().sum()
        units, number = self.total(torch.stack([units, torch.full_like(units, len(counted))])).tolist()
        return units / ONE / number if number else 0.0


def _within(what: str, found: int, length: int) -> None:
    if not 0 <= found < length:
        raise InputError(f"The {what} is {found}; allowed: 0 up to below {length}.")
