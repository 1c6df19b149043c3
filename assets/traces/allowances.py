"""Rate limits of a server as token buckets: what may be sent now, and how long to wait otherwise.

Servers announce limits in headers of every answer (`x-ratelimit-limit-requests`, `-remaining-`, `-reset-`, and the same
for tokens), from which the refill per second follows.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_UNITS = (86_400.0, 3_600.0, 60.0, 1.0, 0.001)
SLACK = 0.98
"""Share of an announced refill that is used, so that clocks that differ a little do not end in refusals."""


@dataclass(frozen=True)
class Announced:
    """What a server says of one limit: units left when it took a request, and what it lets through per second."""

    limit: float
    remaining: float
    per_second: float


class Allowance:
    """A bucket of `capacity` units that refills at `per_second`; time comes from a clock that only goes forward."""

    def __init__(self, per_second: float, capacity: float, now: float) -> None:
        self.per_second = per_second
        self.capacity = capacity
        self.level = capacity
        self.taken = 0.0
        self.updated_at = now

    def wait(self, amount: float, now: float) -> float:
        """Seconds until the amount is available; an amount above the capacity waits for a full bucket."""
        self._refill(now)
        missing = min(amount, self.capacity) - self.level
        return max(0.0, missing / self.per_second)

    def take(self, amount: float, now: float) -> None:
        """Takes the amount; the level may fall below zero where one request is larger than the bucket."""
        self._refill(now)
        self.level -= amount
        self.taken += amount

    def give_back(self, amount: float) -> None:
        """Returns what a request turned out not to need (or takes more, when negative)."""
        self.level = min(self.capacity, self.level + amount)

    def change_rate(self, per_second: float, now: float) -> None:
        """Refills at another rate from now on."""
        self._refill(now)
        self.per_second = per_second

    def follow(self, said: Announced, taken_when_sent: float, sent_at: float, now: float) -> None:
        """Takes over what the server announced in the answer to a request.

        Args:
            said: the announcement, made when the server took the request.
            taken_when_sent: `taken` right after that request was sent; what was taken since is not in `said`.
            sent_at: when it was sent.
            now: the present.
        """
        self.capacity = said.limit
        self.change_rate(SLACK * said.per_second, now)
        since = self.taken - taken_when_sent
        self.level = min(self.level, said.remaining - since + self.per_second * (now - sent_at), self.capacity)

    def _refill(self, now: float) -> None:
        self.level = min(self.capacity, self.level + self.per_second * (now - self.updated_at))
        self.updated_at = now


def announced(headers: Mapping[str, str], unit: str) -> Announced | None:
    """What the headers of an answer say of `requests` or `tokens`; None where they say nothing, or nothing to go by.

    Servers refill either steadily, so that the reset is the time until all is available again, or all at once at the
    reset. What is used per reset is the rate of the former, what is left per reset that of the latter, and the larger
    of the two is never below either; `remaining` keeps it honest.
    """
    try:
        limit = float(headers[f"x-ratelimit-limit-{unit}"])
        remaining = float(headers[f"x-ratelimit-remaining-{unit}"])
        reset = read_duration(headers[f"x-ratelimit-reset-{unit}"])
    except (KeyError, ValueError):
        return None
    if not 0 < limit < float("inf") or not 0 <= remaining <= limit or not reset:
        return None
    return Announced(limit, remaining, max(limit - remaining, remaining) / reset)


def read_duration(text: str) -> float | None:
    """Seconds of durations such as `6m0s`, `120ms`, `1.5s` or `3`; None where it is no duration."""
    try:
        seconds = float(text)
    except ValueError:
        match = _DURATION.fullmatch(text.strip())
        if not match or not match.group(0):
            return None
        return sum(float(part) * unit for part, unit in zip(match.groups(), _UNITS, strict=True) if part)
    return seconds if 0 <= seconds < float("inf") else None
