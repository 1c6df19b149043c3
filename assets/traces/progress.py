"""What is told while a teacher is asked: how many requests, how fast, what it cost, how long it will take."""

import time
from collections import deque

from assets.traces.asking import Counts

RATE_SECONDS = 30.0


class Meter:
    """Turns counts into lines; the rate is that of the last half minute, on a clock that only goes forward."""

    def __init__(self, counts: Counts, num_planned: int) -> None:
        self._counts = counts
        self._num_planned = num_planned
        self._seen: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])

    def line(self) -> str:
        """For example `1,200 of 9,000 requests, 41 per second, 3 failed, 0.52 USD, about 3 min left`."""
        counts, now = self._counts, time.monotonic()
        num_sent = counts.num_asked + counts.num_failed
        self._seen.append((now, num_sent))
        while len(self._seen) > 2 and self._seen[0][0] < now - RATE_SECONDS:
            self._seen.popleft()
        then, num_then = self._seen[0]
        rate = (num_sent - num_then) / max(now - then, 1e-9)
        num_left = max(0, self._num_planned - counts.num_done)
        parts = [
            f"{counts.num_done:,} of {self._num_planned:,} requests",
            f"{rate:,.0f} per second" if rate >= 1 or not rate else f"{60 * rate:.1f} per minute",
            f"{counts.num_known:,} known before" if counts.num_known else "",
            f"{counts.num_failed:,} failed" if counts.num_failed else "",
            f"{counts.cost_usd:.2f} USD",
            f"about {in_words(num_left / rate)} left" if rate else "",
            counts.waiting_for,
        ]
        return ", ".join(part for part in parts if part)


def in_words(seconds: float) -> str:
    """A duration in its largest unit."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
