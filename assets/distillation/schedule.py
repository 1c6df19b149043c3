"""How a student is trained: settings, the lengths of windows by epoch, learning rates by epoch."""

import math
from dataclasses import dataclass, field
from itertools import pairwise

from assets.distillation.losses import LossWeights


@dataclass(frozen=True)
class TrainingSettings:
    """How a student is trained.

    Attributes:
        travel: peak learning rate × number of optimiser steps, so that short trainings take larger steps.
        largest_learning_rate: bound on the peak learning rate.
        residual_pace: factor on the learning rate of what attributes do not explain about a person's first state: a few
            numbers with a likelihood of their own, which is computed once per epoch.
        windows: lengths of the windows, in timesteps, by stage; 0 is the whole scenario.
        stage_ends: share of all epochs at which each stage ends, rising to 1.
        first_drawn_stage: stage, from 0, from which drawn people are rolled out too.
        identity_dropout: share of the identity's entries that are set to zero in each window, so that a student cannot
            recognise single people of a small panel.
        longest_gradient: timesteps after which the gradient is cut within a window.
        longest_settling: timesteps, at most, that drawn people go on for after the last before their shares are held.
        evaluate_every: epochs between evaluations on the validation agents.
        patience: share of all epochs without improvement after which training ends, in the last stage.

    Raises:
        ValueError: settings with which nothing can be trained; the message names each.
    """

    travel: float = 0.4
    largest_learning_rate: float = 3e-3
    residual_pace: float = 10.0
    weight_decay: float = 0.02
    largest_gradient_norm: float = 1.0
    windows: tuple[int, ...] = (1, 2, 4, 8, 0)
    stage_ends: tuple[float, ...] = (0.15, 0.35, 0.6, 0.8, 1.0)
    first_drawn_stage: int = 3
    identity_dropout: float = 0.2
    longest_gradient: int = 8
    longest_settling: int = 40
    evaluate_every: int = 2
    patience: float = 0.3
    weights: LossWeights = field(default_factory=LossWeights)

    def __post_init__(self) -> None:
        faults = self._faults()
        if faults:
            raise ValueError(f"TrainingSettings: {'; '.join(faults)}.")

    def _faults(self) -> list[str]:
        found = []
        if not self.windows:
            found.append("windows is empty; a training needs one stage or more")
        if len(self.windows) != len(self.stage_ends):
            found.append(
                f"{len(self.windows)} windows and {len(self.stage_ends)} stage_ends; each stage has one of both"
            )
        if any(window < 0 for window in self.windows):
            found.append(f"windows {self.windows} must be timesteps, 0 for the whole scenario")
        ends = (0.0, *self.stage_ends)
        if self.stage_ends and not (ends[-1] == 1.0 and all(one < two for one, two in pairwise(ends))):
            found.append(f"stage_ends {self.stage_ends} must rise to 1")
        for names, allowed, is_allowed in (
            (("longest_gradient", "evaluate_every"), "1 or more", lambda value: value >= 1),
            (("longest_settling", "first_drawn_stage"), "0 or more", lambda value: value >= 0),
            (("weight_decay", "patience"), "a number from 0", lambda value: 0 <= value < math.inf),
            (
                ("travel", "largest_learning_rate", "residual_pace", "largest_gradient_norm"),
                "a number above 0",
                lambda value: 0 < value < math.inf,
            ),
            (("identity_dropout",), "0 or more and below 1", lambda value: 0 <= value < 1),
        ):
            values = {name: getattr(self, name) for name in names}
            found += [
                f"{name} is {value}, allowed is {allowed}" for name, value in values.items() if not is_allowed(value)
            ]
        return found

    def stage(self, epoch: int, epochs: int) -> int:
        """The stage, from 0, of an epoch."""
        return next(number for number, end in enumerate(self.stage_ends) if epoch <= end * epochs)

    def window(self, epoch: int, epochs: int, num_timesteps: int) -> int:
        """Length of the epoch's windows, in timesteps."""
        return self.windows[self.stage(epoch, epochs)] or num_timesteps

    def has_drawn_people(self, epoch: int, epochs: int) -> bool:
        """Whether people drawn from their attributes are rolled out in this epoch too."""
        return self.stage(epoch, epochs) >= self.first_drawn_stage

    def learning_rates(self, epochs: int, num_timesteps: int) -> list[float]:
        """Learning rate by epoch: a short rise to the peak, then half a cosine down to a tenth of it."""
        windows = [self.window(epoch, epochs, num_timesteps) for epoch in range(1, epochs + 1)]
        num_steps = sum(math.ceil(num_timesteps / min(window, self.longest_gradient)) for window in windows)
        peak = min(self.largest_learning_rate, self.travel / max(1, num_steps))
        rises = [min(1.0, epoch / max(1.0, 0.05 * epochs)) for epoch in range(1, epochs + 1)]
        falls = [0.1 + 0.45 * (1 + math.cos(math.pi * epoch / epochs)) for epoch in range(1, epochs + 1)]
        return [peak * rise * fall for rise, fall in zip(rises, falls, strict=True)]
