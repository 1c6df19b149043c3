"""Timing two or more callables in turn, and the row that comes of it."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One ratio: `ours` against `other`, medians, and the target that was set beforehand.

    Both are in `unit`, seconds unless said otherwise. With `is_speedup` the ratio is other / ours and must reach the
    target (times faster than a peer); without it the ratio is ours / other and must stay below it (times the floor).
    """

    name: str
    ours: float
    other: float
    other_name: str
    target: float
    is_speedup: bool
    note: str = ""
    unit: str = "s"

    @property
    def ratio(self) -> float:
        """Times faster than the peer, or times the floor."""
        return self.other / self.ours if self.is_speedup else self.ours / self.other

    @property
    def verdict(self) -> str:
        """Whether the target is met."""
        is_met = self.ratio >= self.target if self.is_speedup else self.ratio <= self.target
        return "met" if is_met else "falls short"


def median_seconds(
    candidates: Mapping[str, Callable[[], object]], repeats: int = 5, *, is_warmed: bool = True
) -> dict[str, float]:
    """Median time of each callable, measured in turn so that a noisy moment hits all of them alike.

    Each is called once beforehand to warm caches, unless `is_warmed` is False because a call takes long or the caller
    has done so; garbage is collected before every measurement.
    """
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for call in candidates.values() if is_warmed else ():
        call()
    for _ in range(repeats):
        for name, call in candidates.items():
            gc.collect()
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}
