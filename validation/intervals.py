"""Intervals around figures: bootstrap, Wilson, and shares under survey weights. The figures are in `metrics.py`.

Legend: N observations (rows that are resampled or weighted).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

Z_95 = 1.959963984540054


class Interval(NamedTuple):
    """An estimate with the ends of its 95 % interval."""

    value: float
    lower: float
    upper: float


def bootstrap_interval(
    statistic: Callable[..., float | np.ndarray],
    *arrays: ArrayLike,
    seed: int,
    num_resamples: int = 1_000,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap of a statistic over the first axis, which all arrays share.

    Resamples in which the statistic is nan (for example without rare options) are left out; if all are, so are the
    ends.

    Args:
        statistic: function of the arrays, called with rows resampled together.
        arrays: data, each with the same number of rows: the units that were sampled (respondents, agents, items).
        seed: seed of the resampling.
        num_resamples: number of resamples.
        level: coverage aimed at.

    Raises:
        ValueError: no rows, or arrays of different lengths.

    Source: Efron (1979); percentile interval, Efron & Tibshirani (1993), chapter 13.
    """
    data = [np.asarray(array) for array in arrays]
    lengths = {array.shape[0] if array.ndim else 0 for array in data}
    if len(lengths) != 1 or lengths == {0}:
        raise ValueError(f"bootstrap_interval got arrays of lengths {sorted(lengths)}; pass equal ones with rows.")
    num_rows = lengths.pop()
    rng = np.random.default_rng(seed)
    draws = np.array(
        [
            float(statistic(*(array[rows] for array in data)))
            for rows in (rng.integers(0, num_rows, num_rows) for _ in range(num_resamples))
        ]
    )
    draws = draws[np.isfinite(draws)]
    tail = (1.0 - level) / 2.0
    lower, upper = np.quantile(draws, (tail, 1.0 - tail)) if len(draws) else (np.nan, np.nan)
    return Interval(float(statistic(*data)), float(lower), float(upper))


def basic_interval(estimate: float, draw_B: ArrayLike, *, level: float = 0.95, smallest: float = -np.inf) -> Interval:
    """Basic ("reverse percentile") bootstrap interval, for statistics that resampling moves to one side.

    A mean of absolute values is one: noise adds to it in the sample, and once more in every resample, so that
    percentiles of resamples lie above what is sought. The error of the estimate is taken to be as that of a resample
    around the estimate. Where noise is most of the estimate, the interval may end below it.

    Args:
        estimate: the statistic of the sample.
        draw_B: the statistic of each resample; those that are nan are left out, and if all are, so are the ends.
        level: coverage aimed at.
        smallest: value that the statistic cannot be below.

    Source: Davison & Hinkley (1997), Bootstrap methods and their application, equation 5.6.
    """
    draws = np.asarray(draw_B, dtype=np.float64)
    draws = draws[np.isfinite(draws)]
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(draws, (tail, 1.0 - tail)) if len(draws) else (np.nan, np.nan)
    ends = np.maximum((2.0 * estimate - high, 2.0 * estimate - low), smallest)
    return Interval(float(estimate), float(ends[0]), float(ends[1]))


def wilson_interval(num_successes: float, num_trials: float, z: float = Z_95) -> Interval:
    """Score interval of a share; stays within 0…1 and is sound for small samples and extreme shares.

    Args:
        num_successes: successes; may be fractional, as an effective number.
        num_trials: trials; may be fractional. With none the interval is 0…1 and the value nan.
        z: normal quantile of the level.

    Raises:
        ValueError: negative numbers, or more successes than trials.

    Source: Wilson (1927), Probable inference, the law of succession, and statistical inference.
    """
    if num_trials < 0 or not 0 <= num_successes <= num_trials:
        raise ValueError(f"Found {num_successes} successes in {num_trials} trials; 0 ≤ successes ≤ trials must hold.")
    if num_trials == 0:
        return Interval(float("nan"), 0.0, 1.0)
    share = num_successes / num_trials
    spread = z**2 / num_trials
    centre = (share + spread / 2.0) / (1.0 + spread)
    half_width = z / (1.0 + spread) * np.sqrt(share * (1.0 - share) / num_trials + spread / (4.0 * num_trials))
    lower, upper = max(0.0, centre - half_width), min(1.0, centre + half_width)
    return Interval(share, min(float(lower), share), max(float(upper), share))


def design_effect(weight_N: ArrayLike) -> float:
    """Kish's design effect of unequal weights, N Σ w² / (Σ w)²; 1 for equal weights.

    Raises:
        ValueError: no weights, negative weights, or all of them zero.

    Source: Kish (1965), Survey sampling.
    """
    weight = np.asarray(weight_N, dtype=np.float64).ravel()
    if not len(weight) or weight.min() < 0.0 or weight.sum() <= 0.0:
        raise ValueError(f"Found {len(weight)} weights; none may be negative and their sum must be positive.")
    return float(len(weight) * (weight**2).sum() / weight.sum() ** 2)


def weighted_share_interval(is_holder_N: ArrayLike, weight_N: ArrayLike, z: float = Z_95) -> Interval:
    """A weighted share with the Wilson interval of the effective sample size N / design effect.

    Args:
        is_holder_N: whether each respondent holds the option.
        weight_N: survey weight of each respondent, any scale.
        z: normal quantile of the level.

    Raises:
        ValueError: lengths differ, or weights are unusable.

    Source: effective sample size after Kish (1965); as advised for intervals of weighted proportions by Korn &
    Graubard (1998), with Wilson's interval in the place of Clopper and Pearson's.
    """
    holds, weight = np.asarray(is_holder_N, dtype=np.float64).ravel(), np.asarray(weight_N, dtype=np.float64).ravel()
    if len(holds) != len(weight):
        raise ValueError(f"Found {len(holds)} answers and {len(weight)} weights; pass one weight per respondent.")
    effective_size = len(weight) / design_effect(weight)
    share = float(np.clip((holds * weight).sum() / weight.sum(), 0.0, 1.0))
    return wilson_interval(share * effective_size, effective_size, z)
