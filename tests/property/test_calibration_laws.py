"""Laws of generalised calibration: every method, bounds, caps, soft margins and several geographies."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import null_space
from scipy.optimize import minimize

from assets.population.errors import CalibrationError, InfeasibleBounds
from assets.population.laid_margins import OUTSIDE, Margin
from assets.population.weighting import CalibrationMethod, calibrate_weights, soften

LEVELS = {"sex": 2, "age_group": 4, "education": 3}
EXACT = {"tolerance": 1e-9, "max_iterations": 200}


def sums(weight, margin):
    inside = margin.level_R >= 0
    return np.bincount(margin.level_R[inside], weights=weight[inside], minlength=len(margin.levels))


@st.composite
def problems(draw, spread=0.5, largest=300):
    """Respondents with unequal design weights, and margins that weights near to them meet; state margins besides."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    num = draw(st.integers(60, largest))
    design = rng.gamma(4.0, size=num) + 0.2
    target = design * rng.lognormal(sigma=spread, size=num)
    target *= design.sum() / target.sum()
    margins = []
    for name, num_levels in LEVELS.items():
        level = rng.permutation(np.arange(num) % num_levels)
        margins.append(Margin(name, tuple(map(str, range(num_levels))), level, np.bincount(level, target, num_levels)))
    state = rng.permutation(np.arange(num) % 5)
    of_state = np.where(state < 2, 2 * state + margins[0].level_R, OUTSIDE)
    names = tuple(f"{s}*{sex}" for s in range(2) for sex in range(2))
    totals = np.bincount(of_state + 1, weights=target, minlength=5)[1:]
    margins.append(Margin("state*sex", names, of_state, totals, geography="states"))
    if (totals == 0).any():
        margins.pop()
    return design, margins


@given(problems(spread=0.2), st.sampled_from(["linear", "raking", "logit"]))
@settings(max_examples=40, deadline=None)
def test_every_method_meets_the_margins_of_nation_and_states(problem, method):
    design, margins = problem
    bounds = (0.05, 12.0) if method == "logit" else None
    try:
        result = calibrate_weights(design, margins, CalibrationMethod(method, bounds, **EXACT))
    except CalibrationError:
        assert method == "linear"
        return
    for margin in margins:
        assert sums(result.calibrated_weight_R, margin) == pytest.approx(margin.total_L, rel=1e-6)


@given(problems(spread=0.15), st.sampled_from(["linear", "raking", "logit"]))
@settings(max_examples=30, deadline=None)
def test_bounds_are_kept(problem, method):
    design, margins = problem
    bounds = (0.4, 2.2)
    try:
        result = calibrate_weights(design, margins, CalibrationMethod(method, bounds, **EXACT))
    except InfeasibleBounds:
        return
    ratio = result.calibrated_weight_R / design * design.sum() / margins[0].total_L.sum()
    assert ratio.min() >= bounds[0] - 1e-9
    assert ratio.max() <= bounds[1] + 1e-9
    if method == "logit":
        assert ratio.min() > bounds[0]
        assert ratio.max() < bounds[1]


@given(problems())
@settings(max_examples=20, deadline=None)
def test_newton_and_proportional_fitting_agree(problem):
    design, margins = problem
    fitted = calibrate_weights(design, margins, CalibrationMethod(tolerance=1e-10))
    wide = CalibrationMethod("raking", (0.0, 1e9), **EXACT)
    assert calibrate_weights(design, margins, wide).calibrated_weight_R == pytest.approx(
        fitted.calibrated_weight_R, rel=1e-6
    )


@pytest.mark.parametrize("seed", range(4))
def test_raking_is_the_nearest_in_the_kullback_leibler_sense(seed):
    """Compared with a general optimiser over all weights that meet the margins, started elsewhere."""
    rng = np.random.default_rng(seed)
    design = rng.gamma(4.0, size=40) + 0.2
    target = design * rng.lognormal(sigma=0.3, size=40)
    margins = []
    for name, num_levels in LEVELS.items():
        level = rng.permutation(np.arange(40) % num_levels)
        margins.append(Margin(name, tuple(map(str, range(num_levels))), level, np.bincount(level, target, num_levels)))
    scaled = design * target.sum() / design.sum()
    rows = np.concatenate([[(m.level_R == level).astype(float) for level in range(len(m.levels))] for m in margins])
    free = null_space(rows)

    def distance(weight):
        return float((weight * np.log(weight / scaled) - weight + scaled).sum()) if weight.min() > 0 else np.inf

    found = minimize(
        lambda z: distance(target + free @ z),
        np.zeros(free.shape[1]),
        jac=lambda z: free.T @ np.log(np.maximum(target + free @ z, 1e-12) / scaled),
        method="BFGS",
    )
    raked = calibrate_weights(design, margins, CalibrationMethod(tolerance=1e-10)).calibrated_weight_R
    assert distance(target) > distance(raked) + 0.1
    assert distance(raked) <= found.fun + 1e-9
    assert raked == pytest.approx(target + free @ found.x, rel=1e-3)


@given(problems(spread=0.3))
@settings(max_examples=20, deadline=None)
def test_trimmed_weights_stay_below_the_cap_and_meet_the_margins(problem):
    design, margins = problem
    plain = calibrate_weights(design, margins, CalibrationMethod(**EXACT)).calibrated_weight_R
    cap = 1.0 + 0.8 * (plain.max() / plain.mean() - 1.0)
    try:
        result = calibrate_weights(design, margins, CalibrationMethod(trim=cap, **EXACT))
    except InfeasibleBounds:
        return
    weight = result.calibrated_weight_R
    assert weight.max() <= cap * margins[0].total_L.sum() / len(weight) * (1 + 1e-9)
    for margin in margins:
        assert sums(weight, margin) == pytest.approx(margin.total_L, rel=1e-6)


@given(problems(spread=0.4))
@settings(max_examples=15, deadline=None)
def test_soft_margins_tend_to_hard_ones_as_the_penalty_grows(problem):
    design, margins = problem
    hard = calibrate_weights(design, margins, CalibrationMethod(**EXACT)).calibrated_weight_R
    gaps, errors = [], []
    for penalty in (0.1, 10.0, 1e4, 1e7):
        soft = soften(margins, {"education": penalty})
        weight = calibrate_weights(design, soft, CalibrationMethod(**EXACT)).calibrated_weight_R
        gaps.append(np.abs(weight / hard - 1).max())
        errors.append(np.abs(sums(weight, margins[2]) / margins[2].total_L - 1).max())
        assert sums(weight, margins[1]) == pytest.approx(margins[1].total_L, rel=1e-6)
    assert errors == sorted(errors, reverse=True)
    assert gaps[-1] < 1e-4


@given(problems(spread=0.2), st.floats(1e-3, 1e4), st.sampled_from(["linear", "raking", "logit"]))
@settings(max_examples=20, deadline=None)
def test_scale_and_order_of_respondents_do_not_matter(problem, scale, method):
    design, margins = problem
    how = CalibrationMethod(method, (0.01, 50.0), **EXACT)
    weight = calibrate_weights(design, margins, how).calibrated_weight_R
    order = np.random.default_rng(0).permutation(len(design))
    shuffled = [Margin(m.name, m.levels, m.level_R[order], m.total_L, m.geography) for m in margins]
    again = calibrate_weights(scale * design[order], shuffled, how).calibrated_weight_R
    assert again == pytest.approx(weight[order], rel=1e-5, abs=1e-9 * weight.max())


def test_bounds_that_exclude_every_solution_have_a_name():
    margin = Margin("sex", ("male", "female"), np.array([0, 0, 0, 1]), np.array([10.0, 90.0]))
    with pytest.raises(
        InfeasibleBounds, match=r"No weights within bounds \[0.5, 2.0\] meet .*sex=male .*3 respondents"
    ):
        calibrate_weights(np.ones(4), [margin], CalibrationMethod("logit", (0.5, 2.0)))
    with pytest.raises(InfeasibleBounds, match="logit method needs bounds"):
        calibrate_weights(np.ones(4), [margin], CalibrationMethod("logit"))
    with pytest.raises(InfeasibleBounds, match="allowed is 0 ≤ lower < 1 < upper"):
        calibrate_weights(np.ones(4), [margin], CalibrationMethod("logit", (1.2, 2.0)))


def test_negative_weights_of_the_linear_method_have_a_name():
    first = Margin("a", ("0", "1"), np.array([0, 0, 1, 1]), np.array([2.0, 98.0]))
    second = Margin("b", ("0", "1"), np.array([0, 1, 0, 1]), np.array([2.0, 98.0]))
    with pytest.raises(CalibrationError, match="weight of zero or less"):
        calibrate_weights(np.ones(4), [first, second], CalibrationMethod("linear"))
