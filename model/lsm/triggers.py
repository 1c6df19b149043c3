"""Endogenous events: population thresholds that start an event one timestep later, with hysteresis.

Legend: N agents, V events, O options.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from model.lsm.inputs import InputError, Question, Timeline, Trigger


class TriggerWatch:
    """Counts for how long each trigger's share has held, and starts its event.

    A trigger fires when the share has been above its threshold for `hold_for` timesteps in a row; it is armed again
    only after the share has fallen to the threshold or below.

    Raises:
        InputError: a trigger names an event, question or option that does not exist.
    """

    def __init__(self, triggers: Sequence[Trigger], questions: Sequence[Question], timeline: Timeline) -> None:
        for position, trigger in enumerate(triggers):
            _within(f"event_index of trigger {position}", trigger.event_index, timeline.num_events)
            _within(f"question_index of trigger {position}", trigger.question_index, len(questions))
            options = questions[trigger.question_index].num_options
            _within(f"option_index of trigger {position}", trigger.option_index, options)
        self.triggers = list(triggers)
        self.held = [0] * len(self.triggers)
        self.is_armed = [True] * len(self.triggers)

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
            probability_N = option_probabilities[trigger.question_index][:, trigger.option_index].detach().double()
            share_N = probability_N if counted_N is None else probability_N[counted_N]
            share = float(share_N.mean()) if len(share_N) else 0.0
            if share <= trigger.share_above:
                self.held[index], self.is_armed[index] = 0, True
                continue
            self.held[index] += 1
            if self.is_armed[index] and self.held[index] >= trigger.hold_for:
                self.is_armed[index] = False
                start_V = torch.where(
                    torch.arange(len(start_V), device=start_V.device) == trigger.event_index, timestep + 1, start_V
                )
        return timeline if start_V is timeline.start_V else replace(timeline, start_V=start_V)


def _within(what: str, found: int, length: int) -> None:
    if not 0 <= found < length:
        raise InputError(f"The {what} is {found}; allowed: 0 up to below {length}.")
