"""Intervals against scipy, and against the coverage that they promise."""

import numpy as np
import pytest
import scipy.stats

from validation.intervals import (
    basic_interval,
    bootstrap_interval,
    design_effect,
    weighted_share_interval,
    wilson_interval,
)
from validation.metrics import interval_coverage, tail_survival


def test_wilson_is_scipys():
    for successes, trials in ((0, 10), (3, 17), (40, 41), (500, 1000)):
        wanted = scipy.stats.binomtest(successes, trials).proportion_ci(method="wilson")
        found = wilson_interval(successes, trials)
        assert found == pytest.approx((successes / trials, wanted.low, wanted.high), abs=1e-9)


def test_wilson_without_trials_says_nothing():
    found = wilson_interval(0, 0)
    assert np.isnan(found.value)
    assert (found.lower, found.upper) == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "trials"), [(-1, 3), (4, 3), (0, -1)])
def test_wilson_refuses_impossible_counts(successes, trials):
    with pytest.raises(ValueError, match="successes in"):
        wilson_interval(successes, trials)


def test_bootstrap_of_a_mean_is_near_the_normal_interval():
    values = np.random.default_rng(0).normal(5.0, 2.0, 400)
    found = bootstrap_interval(np.mean, values, seed=1)
    half_width = 1.96 * values.std(ddof=1) / 20
    assert found.value == pytest.approx(values.mean())
    assert found.lower == pytest.approx(values.mean() - half_width, abs=0.05)
    assert found.upper == pytest.approx(values.mean() + half_width, abs=0.05)


def test_bootstrap_resamples_rows_together_and_repeats_with_the_seed():
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    y = 2 * x
    found = bootstrap_interval(lambda a, b: np.corrcoef(a, b)[0, 1], x, y, seed=1, num_resamples=50)
    assert found == pytest.approx((1.0, 1.0, 1.0))
    assert bootstrap_interval(np.mean, x, seed=4) == bootstrap_interval(np.mean, x, seed=4)
    assert bootstrap_interval(np.mean, x, seed=4) != bootstrap_interval(np.mean, x, seed=5)


def test_bootstrap_of_an_undefined_statistic_has_no_ends():
    shares = np.full((5, 2), 0.5)
    assert all(np.isnan(bootstrap_interval(tail_survival, shares, shares, seed=1, num_resamples=5)))


def test_bootstrap_refuses_arrays_of_different_lengths():
    with pytest.raises(ValueError, match=r"lengths \[2, 3\]"):
        bootstrap_interval(np.mean, np.ones(2), np.ones(3), seed=1)


def test_the_basic_interval_turns_percentiles_around_the_estimate():
    draws = np.arange(1001) / 100
    assert basic_interval(4.0, draws) == pytest.approx((4.0, 8.0 - 9.75, 8.0 - 0.25))
    assert basic_interval(4.0, [*draws, np.nan], smallest=0.0) == pytest.approx((4.0, 0.0, 7.75))
    assert np.isnan(basic_interval(4.0, [np.nan]).lower)


@pytest.mark.parametrize("largest_bias", [0.02, 0.05])
def test_the_basic_interval_holds_mean_absolute_errors_and_their_difference(largest_bias):
    """Two models' mean absolute errors of 24 shares, from 32 agents whose errors are alike between shares.

    Noise of a share is 0.014. Percentiles of resamples count it once more and hold what is sought too seldom.
    """
    rng = np.random.default_rng(5)
    bias_MS = np.stack([np.linspace(-largest_bias, largest_bias, 24), np.linspace(0.02, 0.08, 24)])
    wanted_M = np.abs(bias_MS).mean(axis=1)
    held = {"basic": [], "percentile": []}
    for _ in range(300):
        shared_MA1, own_MAS = rng.normal(size=(2, 32, 1)), rng.normal(size=(2, 32, 24))
        error_MAS = bias_MS[:, None] + 0.08 * (0.2**0.5 * shared_MA1 + 0.8**0.5 * own_MAS)
        weight_BA = np.vstack([np.ones(32), rng.multinomial(32, np.full(32, 1 / 32), 300)]) / 32
        error_MB = np.abs(weight_BA @ error_MAS).mean(axis=2)
        figures = ((error_MB[0], wanted_M[0]), (error_MB[0] - error_MB[1], wanted_M[0] - wanted_M[1]))
        found = [(basic_interval(draw_B[0], draw_B[1:]), wanted) for draw_B, wanted in figures]
        held["basic"].append([at.lower <= wanted <= at.upper for at, wanted in found])
        quantiles = [(np.quantile(draw_B[1:], (0.025, 0.975)), wanted) for draw_B, wanted in figures]
        held["percentile"].append([lower <= wanted <= upper for (lower, upper), wanted in quantiles])
    own, difference = np.mean(held["basic"], axis=0)
    assert min(own, difference) >= 0.87
    if largest_bias == 0.02:
        own, difference = np.mean(held["percentile"], axis=0)
        assert own < 0.4
        assert difference < 0.85


def test_design_effect_of_known_weights():
    assert design_effect([3.0, 3.0, 3.0]) == pytest.approx(1.0)
    assert design_effect([1.0, 3.0]) == pytest.approx(2 * 10 / 16)
    with pytest.raises(ValueError, match="weights"):
        design_effect([0.0, 0.0])


def test_equal_weights_give_wilsons_interval():
    holds = np.array([True] * 30 + [False] * 70)
    assert weighted_share_interval(holds, np.full(100, 7.0)) == pytest.approx(wilson_interval(30, 100))


def test_weighted_intervals_cover_about_as_often_as_they_say():
    rng = np.random.default_rng(2)
    found = [weighted_share_interval(rng.random(300) < 0.3, np.exp(rng.normal(0, 0.8, size=300))) for _ in range(600)]
    coverage = interval_coverage([i.lower for i in found], [i.upper for i in found], [0.3] * len(found))
    assert 0.92 < coverage < 0.98
