"""When a share that has crossed a threshold counts: after it has held, and again only after it has fallen far enough.

The student and whatever teaches it switch triggered events on by this one rule, which needs nothing but numbers.
"""

from dataclasses import dataclass

REARMS_AT = 0.9
"""Lower level of a threshold that has none of its own, as a part of it."""


def lower_level(share_above: float, rearm_below: float | None) -> float:
    """The share to which it must fall before a trigger is armed again."""
    return REARMS_AT * share_above if rearm_below is None else rearm_below


@dataclass
class Hysteresis:
    """A threshold with a lower level, and what it has seen.

    Attributes:
        share_above: 0 … 1, the share must lie above it.
        rearm_below: 0 … `share_above`, the level to which the share must fall before it counts again.
        hold_for: observations in a row for which the share must lie above, 1 or more.
        held: observations for which it has.
        is_armed: whether it counts.
    """

    share_above: float
    rearm_below: float
    hold_for: int
    held: int = 0
    is_armed: bool = True

    def fires(self, share: float) -> bool:
        """Whether the share, seen once more, starts the event."""
        if share <= self.rearm_below:
            self.is_armed = True
        self.held = self.held + 1 if share > self.share_above else 0
        if not self.is_armed or self.held < self.hold_for:
            return False
        self.is_armed = False
        return True
