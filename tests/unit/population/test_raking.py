"""Raking: closed forms and refusals."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from assets.population.errors import EmptyMarginLevel, InconsistentMargins, InfeasibleMargins, RakingNotConverged
from assets.population.feasibility import smallest_misses
from assets.population.laid_margins import Margin, cell_of_each
from assets.population.raking import effective_sample_size, kish_design_effect
from assets.population.weighting import CalibrationMethod, calibrate_weights


def margin(name, level, total):
    return Margin(
        name, tuple(f"l{index}" for index in range(len(total))), np.array(level), np.array(total, dtype=float)
    )


def test_one_margin_is_post_stratification():
    weight = calibrate_weights(np.array([1.0, 3.0, 2.0]), [margin("sex", [0, 0, 1], [60, 40])]).calibrated_weight_R
    assert weight == pytest.approx([15, 45, 40])


def test_independent_cells_stay_independent():
    level = np.indices((2, 3)).reshape(2, -1)
    margins = [margin("a", level[0], [30, 70]), margin("b", level[1], [20, 30, 50])]
    weight = calibrate_weights(np.ones(6), margins).calibrated_weight_R
    assert weight == pytest.approx(np.outer([30, 70], [0.2, 0.3, 0.5]).ravel())


def test_cells_survive_more_combinations_than_an_integer_holds():
    rng = np.random.default_rng(3)
    levels = [rng.integers(0, 50, 200) for _ in range(8)]
    cell = cell_of_each(levels, [50] * 8, 200)
    distinct = {tuple(level[row] for level in levels) for row in range(200)}
    assert cell.max() + 1 == len(distinct)


def test_design_effect_of_two_groups():
    weight = np.array([1.0, 1.0, 1.0, 3.0])
    assert effective_sample_size(weight) == pytest.approx(36 / 12)
    assert kish_design_effect(weight) == pytest.approx(4 * 12 / 36)
    assert kish_design_effect(np.full(9, 2.5)) == pytest.approx(1.0)


def test_totals_that_differ_are_refused():
    margins = [margin("sex", [0, 1], [50, 50]), margin("age", [0, 1], [40, 61])]
    with pytest.raises(InconsistentMargins, match=r"Margin age sums to 101, but margin sex sums to 100 .*Scale"):
        calibrate_weights(np.ones(2), margins)


def test_a_level_without_respondents_is_refused():
    with pytest.raises(
        EmptyMarginLevel, match=r"Margin age has 1 of 3 levels .* no respondent: l2 \(total 10\)\..*Merge"
    ):
        calibrate_weights(np.ones(2), [margin("age", [0, 1], [50, 40, 10])])


def test_respondents_in_a_level_without_people_are_refused():
    with pytest.raises(InconsistentMargins, match=r"age=l1 has the total 0, but 1 respondents"):
        calibrate_weights(np.ones(2), [margin("age", [0, 1], [50, 0])])


def test_margins_that_cannot_hold_together_are_refused():
    margins = [margin("a", [0, 0, 1], [20, 80]), margin("b", [0, 1, 1], [60, 40])]
    with pytest.raises(
        InfeasibleMargins, match=r"No weights of zero or more .* the nearest miss levels by .* added up"
    ):
        calibrate_weights(np.ones(3), margins, CalibrationMethod(max_iterations=50))


def test_the_nearest_that_weights_can_come_is_measured():
    # level 0 of b lies within level 0 of a: 60 people are wanted where there are 20
    member = csr_matrix(np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 1.0]]))
    miss = smallest_misses(member, np.array([20.0, 80.0, 60.0, 40.0]))
    by_hand = [0.0, -0.5, -2 / 3, 0.0]
    assert miss == pytest.approx(by_hand)
    assert not smallest_misses(member, np.array([20.0, 80.0, 10.0, 90.0])).any()


def test_margins_that_take_longer_are_told_from_those_that_cannot_hold():
    margins = [margin("a", [0, 0, 1, 1], [20, 80]), margin("b", [0, 1, 0, 1], [60, 40])]
    weight = np.array([1.0, 5.0, 7.0, 1.0])
    with pytest.raises(
        RakingNotConverged, match=r"stopped after 2 iterations: margin .* off by .*raise max_iterations"
    ):
        calibrate_weights(weight, margins, CalibrationMethod(max_iterations=2))
    assert calibrate_weights(weight, margins).max_error <= 1e-6


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_design_weights_must_be_positive(bad):
    with pytest.raises(InconsistentMargins, match=r"positive design weights: found 2 respondents, 1 of them"):
        calibrate_weights(np.array([1.0, bad]), [margin("sex", [0, 1], [1, 1])])


def test_raking_needs_a_margin():
    with pytest.raises(InconsistentMargins, match="at least one margin"):
        calibrate_weights(np.ones(2), [])


@pytest.mark.parametrize("total", [[-1.0, 2.0], [np.nan, 1.0], [0.0, 0.0]])
def test_totals_must_be_counts(total):
    with pytest.raises(InconsistentMargins, match="totals must be zero or more"):
        calibrate_weights(np.ones(2), [margin("sex", [0, 1], total)])
