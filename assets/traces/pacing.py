"""How fast a teacher is asked: as fast as it takes, found out while asking.

Requests in flight follow a window that grows while answers come and shrinks when the server is overloaded (additive
increase, multiplicative decrease). Where the server announces limits of requests or tokens they are followed. Where it
only refuses (429) a rate is found: what went through, slowly past it, and faster the longer too little is refused to
matter. A few refusals are the way of finding out, or come in bursts after this process stood still; the rate is eased
when more are refused than that. A `Retry-After` holds everything back. Time is the event loop's, so a clock that is set
does not matter.

Source: Chiu & Jain (1989), Analysis of the increase and decrease algorithms for congestion avoidance, section 3; for
the shape of the probing Ha, Rhee & Xu (2008), CUBIC, equation 1.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace

from assets.traces.allowances import Allowance, announced

FIRST_WINDOW = 16
MOST_IN_FLIGHT = 512
SHRINK = 0.5
"""What an overloaded server leaves of the window."""
MANY = 0.2
"""Share of recent requests above which failures are no chance: then the window shrinks or the rate is measured anew."""
TOLERATED = 0.02
"""Share of refusals that is the price of finding the rate."""
BURSTY = 0.1
"""Share of refusals that is tolerated while less than the rate was asked for: a burst was refused, not the rate."""
EASE = 0.98
"""Share of what went through under refusals with which a rate starts anew."""
STEP, CURVE = 0.02, 5e-4
"""How the rate aimed at rises above the last that was too fast: by these times the seconds since, and their cube."""
FIRST_STEP = 0.25
"""STEP of the first rate that is found: it was measured while requests had only begun to flow."""
APPROACH_PER_SECOND = 2.0
"""Share per second of the way to the rate that is aimed at."""
LIMIT_MEMORY_SECONDS = 5.0
"""How long the lowest announced refill holds: a bucket that is nearly full overstates its own."""
RECENT_SECONDS = 2.0
LEAST_TO_MEASURE = 20
MOST_REMEMBERED = 10_000
FULL_SPEED = 0.95
"""Share of the rate above which it counts as asked for in full."""
BURST_SECONDS = 0.2
"""How much of a second's worth a found rate lets through at once."""
THROUGH, REFUSED, OVERLOADED = "through", "refused", "overloaded"


@dataclass
class Turn:
    """A request in flight: when it was sent, and what had been taken by then."""

    sent_at: float
    tokens: float
    requests_taken: float
    tokens_taken: float


class Pace:
    """Lets requests pass in the order in which they come.

    Args:
        most_in_flight: cap on the window.
        requests_per_minute: limit to keep even where the server announces none; None where unknown.
        tokens_per_minute: as above, for tokens of prompts and answers.
    """

    def __init__(
        self,
        most_in_flight: int = MOST_IN_FLIGHT,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
    ) -> None:
        self._clock = asyncio.get_running_loop().time
        self.most_in_flight = most_in_flight
        self.window = float(min(FIRST_WINDOW, most_in_flight))
        self.in_flight = 0
        self.requests = _per_minute(requests_per_minute, self._clock())
        self.tokens = _per_minute(tokens_per_minute, self._clock())
        self._limits = {"requests": requests_per_minute, "tokens": tokens_per_minute}
        self._found: Allowance | None = None
        self._is_announced = False
        self._ceiling, self._step, self._probing_seconds = 0.0, FIRST_STEP, 0.0
        self._is_growing_fast = True
        self._not_before = 0.0
        self._shrunk_at = self._probed_at = self._eased_at = -1.0
        self._recent: deque[tuple[float, str]] = deque()
        self._sent: deque[float] = deque()
        self._refused_turns: deque[float] = deque()
        self._heard: dict[str, deque[tuple[float, float]]] = {}
        self._queue: deque[tuple[float, asyncio.Future[Turn]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def turn(self, tokens: float) -> Turn:
        """Waits until a request of so many expected tokens may be sent; every turn must be ended by `done`."""
        future: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        self._queue.append((tokens, future))
        self._pump()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.done(future.result(), None)
            raise

    def done(self, turn: Turn, tokens_used: float | None) -> None:
        """Ends a turn.

        Args:
            turn: the turn.
            tokens_used: what the server counted; None where nothing came back.
        """
        self.in_flight -= 1
        if self.tokens is not None and tokens_used is not None:
            self.tokens.give_back(turn.tokens - tokens_used)
        self._pump()

    def went_through(self, turn: Turn, headers: Mapping[str, str]) -> None:
        """Notes an answer: the window grows, announced limits are followed."""
        now = self._clock()
        self._note(now, THROUGH)
        if self.in_flight >= 0.5 * self.window:
            growth = 1.0 if self._is_growing_fast else 1.0 / self.window
            self.window = min(self.most_in_flight, self.window + growth)
        self.requests = self._follow("requests", self.requests, turn.requests_taken, turn, headers, now)
        self.tokens = self._follow("tokens", self.tokens, turn.tokens_taken, turn, headers, now)
        self._probe(now)

    def refused(self, turn: Turn, retry_after: float | None) -> None:
        """Notes a refusal for being too fast (429)."""
        now = self._clock()
        self._note(now, REFUSED)
        self._hold(now, retry_after)
        self._refused_turns.append(turn.sent_at)
        if turn.sent_at < self._eased_at:
            return
        asked_per_second, share = self._measure(now)
        if asked_per_second is None:
            if self._found is None:
                self._shrink(turn, now)
            return
        self._is_growing_fast = False
        if self._is_announced:
            return
        is_full_speed = self._found is None or asked_per_second >= FULL_SPEED * self._found.per_second
        if share <= (TOLERATED if is_full_speed else BURSTY):
            return
        through_per_second = max(1.0 / RECENT_SECONDS, asked_per_second * (1.0 - share))
        burst = max(1.0, BURST_SECONDS * through_per_second)
        self._step = FIRST_STEP if self._found is None else STEP
        self._ceiling, self._eased_at, self._probing_seconds = through_per_second, now, 0.0
        if self._found is None:
            self._found = Allowance(through_per_second, burst, now)
        self._found.change_rate(EASE * through_per_second, now)
        self._found.capacity = burst

    def overloaded(self, turn: Turn, retry_after: float | None) -> None:
        """Notes that the server did not cope: 408, 5xx, a timeout, a connection that broke."""
        now = self._clock()
        self._note(now, OVERLOADED)
        self._hold(now, retry_after)
        if sum(kind == OVERLOADED for _, kind in self._recent) > MANY * len(self._recent):
            self._is_growing_fast = False
            self._shrink(turn, now)

    def _measure(self, now: float) -> tuple[float | None, float]:
        """Requests sent per second since the rate was last eased, and the share of them that was refused.

        Counted by when they were sent: a refusal comes at once, an answer late. None where there were too few, or too
        little time has passed.
        """
        is_kept = min(now - RECENT_SECONDS, self._sent[-min(len(self._sent), 2 * LEAST_TO_MEASURE)])
        start = max(is_kept, self._eased_at, self._sent[0])
        for times in (self._sent, self._refused_turns):
            while times and times[0] < start:
                times.popleft()
        num_sent, num_refused, span = len(self._sent), len(self._refused_turns), now - start
        least = num_sent - num_refused if self._found is None else num_sent
        is_enough = least >= LEAST_TO_MEASURE and span >= 0.25 * RECENT_SECONDS
        return (num_sent / span if is_enough else None), num_refused / max(1, num_sent)

    def _probe(self, now: float) -> None:
        """Lets a found rate grow for as long as it is used and too little is refused to matter."""
        if self._found is None:
            return
        passed, self._probed_at = min(now - self._probed_at, RECENT_SECONDS), now
        if self._found.level >= self._found.capacity - 1.0:
            return
        self._probing_seconds += passed
        since = self._probing_seconds
        aim = self._ceiling * (EASE + self._step * since + CURVE * since**3)
        share = min(1.0, APPROACH_PER_SECOND * passed)
        if aim > self._found.per_second:
            self._found.change_rate(self._found.per_second + share * (aim - self._found.per_second), now)

    def _shrink(self, turn: Turn, now: float) -> None:
        """Shrinks the window once for all that was sent before it last shrank."""
        if turn.sent_at >= self._shrunk_at:
            self._shrunk_at = now
            self.window = max(1.0, SHRINK * self.window)

    def _hold(self, now: float, retry_after: float | None) -> None:
        if retry_after is not None:
            self._not_before = max(self._not_before, now + retry_after)

    def _note(self, now: float, kind: str) -> None:
        self._recent.append((now, kind))
        while len(self._recent) > 2 * LEAST_TO_MEASURE and self._recent[0][0] < now - RECENT_SECONDS:
            self._recent.popleft()

    def _follow(
        self,
        unit: str,
        allowance: Allowance | None,
        taken_when_sent: float,
        turn: Turn,
        headers: Mapping[str, str],
        now: float,
    ) -> Allowance | None:
        said = announced(headers, unit)
        if said is None:
            return allowance
        self._is_announced, self._found = True, None
        heard = self._heard.setdefault(unit, deque())
        while heard and (heard[0][0] < now - LIMIT_MEMORY_SECONDS or heard[0][1] >= said.per_second):
            heard.popleft()
        while heard and heard[-1][1] >= said.per_second:
            heard.pop()
        heard.append((now, said.per_second))
        said = replace(said, per_second=heard[0][1])
        if allowance is None:
            allowance = Allowance(said.per_second, said.limit, now)
            taken_when_sent = 0.0
        allowance.follow(said, taken_when_sent, turn.sent_at, now)
        own_limit = self._limits[unit]
        if own_limit is not None:
            allowance.change_rate(min(allowance.per_second, own_limit / 60.0), now)
        return allowance

    def _pump(self) -> None:
        """Lets pass what may, and comes back when more may."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._clock()
        while self._queue and self.in_flight < int(self.window):
            tokens, future = self._queue[0]
            if future.done():
                self._queue.popleft()
                continue
            buckets = ((self.requests, 1.0), (self._found, 1.0), (self.tokens, tokens))
            wait = max(
                self._not_before - now,
                *(bucket.wait(amount, now) for bucket, amount in buckets if bucket is not None),
                0.0,
            )
            if wait > 0:
                self._timer = asyncio.get_running_loop().call_later(max(wait, 0.001), self._pump)
                return
            self._queue.popleft()
            for bucket, amount in buckets:
                if bucket is not None:
                    bucket.take(amount, now)
            self.in_flight += 1
            self._sent.append(now)
            if len(self._sent) > MOST_REMEMBERED:
                self._sent.popleft()
            future.set_result(
                Turn(
                    now,
                    tokens,
                    0.0 if self.requests is None else self.requests.taken,
                    0.0 if self.tokens is None else self.tokens.taken,
                )
            )


def _per_minute(limit: float | None, now: float) -> Allowance | None:
    return None if limit is None else Allowance(limit / 60.0, max(1.0, limit / 60.0), now)
