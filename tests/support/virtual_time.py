"""An event loop whose clock jumps to the next timer, and a limited server on it: pacing is tested without waiting."""

import asyncio
import random
import selectors

from assets.traces.pacing import Pace


class VirtualLoop(asyncio.SelectorEventLoop):
    """Waits for nothing; `now` may be moved forward, as if the process had stood still."""

    def __init__(self) -> None:
        super().__init__(selectors.SelectSelector())
        self.now = 0.0
        select = self._selector.select  # pyright: ignore[reportAttributeAccessIssue]

        def jump(timeout: float | None = None) -> list:
            self.now += 0.001 if timeout is None else max(0.0, timeout)
            return select(0)

        self._selector.select = jump  # pyright: ignore[reportAttributeAccessIssue]

    def time(self) -> float:
        return self.now


class LimitedServer:
    """A token bucket that answers after a latency; what it refuses may come again after a few milliseconds."""

    def __init__(self, loop: VirtualLoop, per_second: float, burst: float, *, is_announced: bool) -> None:
        self.loop, self.per_second, self.burst, self.is_announced = loop, per_second, burst, is_announced
        self.level, self.updated_at = burst, 0.0
        self.num_refused = 0

    def takes(self) -> bool:
        now = self.loop.time()
        self.level = min(self.burst, self.level + self.per_second * (now - self.updated_at))
        self.updated_at = now
        if self.level < 1.0:
            self.num_refused += 1
            return False
        self.level -= 1.0
        return True

    def headers(self) -> dict[str, str]:
        if not self.is_announced:
            return {}
        left = int(self.level)
        return {
            "x-ratelimit-limit-requests": f"{self.burst:.0f}",
            "x-ratelimit-remaining-requests": str(left),
            "x-ratelimit-reset-requests": f"{1000 * (self.burst - left) / self.per_second:.0f}ms",
        }


def answers_per_second(
    *,
    num_requests: int = 5_000,
    per_second: float = 500.0,
    burst: float = 100.0,
    latency: float = 0.2,
    is_announced: bool = False,
    stall_seconds: float = 0.0,
    changes: tuple[float, float] | None = None,
) -> tuple[list[float], int]:
    """Moments of the answers when a `Pace` asks as much as it can, and how often it was refused.

    Args:
        num_requests: requests that wait from the start.
        per_second: what the server lets through.
        burst: what it lets through at once.
        latency: seconds until an answer.
        is_announced: whether it tells its limit.
        stall_seconds: mean length of stalls of the asking process, one a second on average.
        changes: moment at which the limit becomes another, and that limit.
    """
    loop, chance, moments = VirtualLoop(), random.Random(3), []

    async def main() -> int:
        server, pace = LimitedServer(loop, per_second, burst, is_announced=is_announced), Pace()

        async def ask() -> None:
            while True:
                turn = await pace.turn(1.0)
                loop.now += 0.0005  # work before it is sent
                await asyncio.sleep(chance.uniform(0.001, 0.01))  # its claim is committed
                if server.takes():
                    headers = server.headers()
                    await asyncio.sleep(latency)
                    pace.went_through(turn, headers)
                    pace.done(turn, 1.0)
                    moments.append(loop.time())
                    return
                wait = (1.0 - server.level) / server.per_second
                pace.refused(turn, wait)
                pace.done(turn, None)
                await asyncio.sleep(1.25 * wait)

        async def disturb() -> None:
            while stall_seconds:
                await asyncio.sleep(chance.expovariate(1.0))
                loop.now += chance.expovariate(1.0 / stall_seconds)

        async def change() -> None:
            if changes:
                await asyncio.sleep(changes[0])
                server.per_second = changes[1]

        beside = asyncio.gather(disturb(), change())
        await asyncio.gather(*(ask() for _ in range(num_requests)))
        beside.cancel()
        return server.num_refused

    try:
        return moments, loop.run_until_complete(main())
    finally:
        loop.close()
