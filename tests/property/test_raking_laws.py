"""Laws of raking, under non-uniform design weights."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import lsqr

from assets.population.laid_margins import Margin
from assets.population.raking import effective_sample_size, kish_design_effect
from assets.population.weighting import CalibrationMethod, calibrate_weights

TIGHT = CalibrationMethod(tolerance=1e-10)
LEVELS = {"sex": 2, "age_group": 4, "education": 3}


@st.composite
def problems(draw):
    """Respondents with random design weights, and margins that some positive weighting of them meets exactly."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    num_respondents = draw(st.integers(40, 400))
    design_weight = rng.gamma(1.5, size=num_respondents) + 0.05
    population_weight = design_weight * rng.lognormal(sigma=0.8, size=num_respondents)
    margins = []
    for name, num_levels in LEVELS.items():
        level = rng.permutation(np.arange(num_respondents) % num_levels)
        total = np.bincount(level, weights=population_weight, minlength=num_levels)
        margins.append(Margin(name, tuple(f"{name}{index}" for index in range(num_levels)), level, total))
    return design_weight, margins


def sums(weight, margin):
    return np.bincount(margin.level_R, weights=weight, minlength=len(margin.levels))


@given(problems())
@settings(max_examples=60, deadline=None)
def test_raked_totals_equal_the_margins(problem):
    design_weight, margins = problem
    result = calibrate_weights(design_weight, margins)
    for margin in margins:
        assert sums(result.calibrated_weight_R, margin) == pytest.approx(margin.total_L, rel=1e-6)
    assert result.max_error <= 1e-6
    assert (result.calibrated_weight_R > 0).all()


@given(problems(), st.floats(1e-3, 1e6))
@settings(max_examples=30, deadline=None)
def test_scale_of_design_weights_does_not_matter(problem, scale):
    design_weight, margins = problem
    weight = calibrate_weights(design_weight, margins, TIGHT).calibrated_weight_R
    scaled = calibrate_weights(design_weight * scale, margins, TIGHT).calibrated_weight_R
    assert scaled == pytest.approx(weight, rel=1e-6)


@given(problems(), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_reordering_respondents_reorders_weights(problem, seed):
    design_weight, margins = problem
    order = np.random.default_rng(seed).permutation(len(design_weight))
    shuffled = [Margin(m.name, m.levels, m.level_R[order], m.total_L) for m in margins]
    weight = calibrate_weights(design_weight, margins, TIGHT).calibrated_weight_R
    assert calibrate_weights(design_weight[order], shuffled, TIGHT).calibrated_weight_R == pytest.approx(
        weight[order], rel=1e-6
    )


@given(problems())
@settings(max_examples=30, deadline=None)
def test_weights_that_already_meet_the_margins_stay(problem):
    design_weight, margins = problem
    kept = [Margin(m.name, m.levels, m.level_R, sums(design_weight, m)) for m in margins]
    result = calibrate_weights(design_weight, kept)
    assert result.calibrated_weight_R == pytest.approx(design_weight, rel=1e-9)
    assert result.num_iterations == 0


@given(problems())
@settings(max_examples=30, deadline=None)
def test_raking_twice_changes_nothing_more(problem):
    design_weight, margins = problem
    once = calibrate_weights(design_weight, margins).calibrated_weight_R
    assert calibrate_weights(once, margins).calibrated_weight_R == pytest.approx(once, rel=1e-5)


@given(problems())
@settings(max_examples=30, deadline=None)
def test_log_of_the_factors_is_additive_in_the_levels(problem):
    """The optimum of the Kullback–Leibler distance has factors exp(sum of one multiplier per level)."""
    design_weight, margins = problem
    log_factor = np.log(calibrate_weights(design_weight, margins, TIGHT).calibrated_weight_R / design_weight)
    offsets = np.cumsum([0, *(len(m.levels) for m in margins)])
    columns = np.stack([m.level_R + offset for m, offset in zip(margins, offsets, strict=False)], axis=1)
    rows = np.repeat(np.arange(len(design_weight)), len(margins))
    design = csr_matrix((np.ones(columns.size), (rows, columns.ravel())))
    multipliers = lsqr(design, log_factor, atol=1e-13, btol=1e-13, iter_lim=2000)[0]
    assert design @ multipliers == pytest.approx(log_factor, abs=1e-6)


@given(problems())
@settings(max_examples=30, deadline=None)
def test_design_effect_is_at_least_one_and_pairs_with_the_effective_sample_size(problem):
    weight, _ = problem
    assert kish_design_effect(weight) >= 1 - 1e-12
    assert kish_design_effect(weight) * effective_sample_size(weight) == pytest.approx(len(weight))
    assert kish_design_effect(7.0 * weight) == pytest.approx(kish_design_effect(weight))
