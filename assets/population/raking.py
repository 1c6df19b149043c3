"""Generalised raking: design weights that meet every margin and otherwise change as little as possible.

Respondents that agree in every margin get the same factor, so the iteration runs over the distinct combinations of
levels (cells), not over respondents: its cost does not grow with the survey.

Legend: R respondents, C cells, L levels of one margin, M margins.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assets.population.errors import RakingNotConverged
from assets.population.laid_margins import Cells, Margin, check_margins, level_sums


@dataclass(frozen=True)
class RakingResult:
    """Calibrated weights and how they were reached; errors are relative to the level's total."""

    calibrated_weight_R: np.ndarray
    num_iterations: int
    max_error: float
    initial_max_error: float


def rake(
    design_weight_R: np.ndarray,
    margins: Sequence[Margin],
    *,
    tolerance: float = 1e-6,
    max_iterations: int = 1000,
) -> RakingResult:
    """Adjusts design weights until every margin holds, changing each weight as little as possible.

    Minimises the Kullback–Leibler distance to the design weights under the margins' linear constraints, by iterative
    proportional fitting.

    Args:
        design_weight_R: positive design weight per respondent, any scale.
        margins: control totals; totals must agree across margins.
        tolerance: largest relative error allowed in any margin level.
        max_iterations: cycles over all margins before giving up.

    Raises:
        InconsistentMargins: totals of two margins differ, or a level that has respondents has the total zero.
        EmptyMarginLevel: a level with a positive total has no respondent.
        RakingNotConverged: the tolerance was not reached.

    Example:
        >>> sex = Margin("sex", ("male", "female"), np.array([0, 0, 1]), np.array([50.0, 50.0]))
        >>> rake(np.ones(3), [sex]).calibrated_weight_R.tolist()
        [25.0, 25.0, 50.0]

    Source: Deville, Särndal & Sautory (1993), generalized raking, the multiplicative method (case 2 of their table 1);
    the iteration is Deming & Stephan (1940).
    """
    design_weight_R = np.asarray(design_weight_R, dtype=np.float64)
    check_margins(design_weight_R, margins)
    cells = Cells.of(margins, len(design_weight_R))
    design_C = np.bincount(cells.cell_R, weights=design_weight_R, minlength=cells.num_cells)
    scaled_C = design_C * (margins[0].total_L.sum() / design_C.sum())
    weight_C, num_iterations, max_error = fit_proportionally(scaled_C, margins, cells, tolerance, max_iterations)
    return RakingResult(
        calibrated_weight_R=design_weight_R * (weight_C / design_C)[cells.cell_R],
        num_iterations=num_iterations,
        max_error=max_error,
        initial_max_error=max(error for _, _, error in worst_levels(scaled_C, margins, cells)),
    )


def fit_proportionally(
    design_C: np.ndarray, margins: Sequence[Margin], cells: Cells, tolerance: float, max_iterations: int
) -> tuple[np.ndarray, int, float]:
    """Iterative proportional fitting of cell weights: the weights, the cycles taken and the largest relative error.

    Raises:
        RakingNotConverged: the tolerance was not reached.
    """
    weight_C, num_iterations = design_C, 0
    inside = [None if (level_C >= 0).all() else level_C >= 0 for level_C in cells.level_MC]
    max_error = max(error for _, _, error in worst_levels(weight_C, margins, cells))
    while max_error > tolerance:
        if num_iterations == max_iterations:
            raise RakingNotConverged(_not_converged(weight_C, margins, cells, max_iterations, tolerance))
        for margin, level_C, is_inside_C in zip(margins, cells.level_MC, inside, strict=True):
            sum_L = level_sums(weight_C, level_C, len(margin.levels))
            factor_L = np.divide(margin.total_L, sum_L, out=np.ones_like(sum_L), where=sum_L > 0)
            if is_inside_C is None:
                weight_C = weight_C * factor_L[level_C]
            else:
                weight_C = np.where(is_inside_C, weight_C * factor_L[level_C], weight_C)
        num_iterations += 1
        max_error = max(error for _, _, error in worst_levels(weight_C, margins, cells))
    return weight_C, num_iterations, max_error


def kish_design_effect(weight_R: np.ndarray) -> float:
    """Factor by which unequal weights inflate the variance of a mean: 1 when all weights are equal.

    Source: Kish (1965), Survey Sampling, section 11.7: n Σw² / (Σw)².
    """
    return len(weight_R) / effective_sample_size(weight_R)


def effective_sample_size(weight_R: np.ndarray) -> float:
    """Number of equally weighted respondents that would give the same variance of a mean.

    Source: Kish (1965), Survey Sampling, section 11.7: (Σw)² / Σw².
    """
    weight_R = np.asarray(weight_R, dtype=np.float64)
    scaled_R = weight_R / weight_R.max()
    return float(scaled_R.sum() ** 2 / np.square(scaled_R).sum())


def worst_levels(weight_C: np.ndarray, margins: Sequence[Margin], cells: Cells) -> list[tuple[int, int, float]]:
    """Margin index, index of its worst level and that level's relative error, per margin."""
    worst = []
    for index, (margin, level_C) in enumerate(zip(margins, cells.level_MC, strict=True)):
        sum_L = level_sums(weight_C, level_C, len(margin.levels))
        error_L = np.divide(
            np.abs(sum_L - margin.total_L), margin.total_L, out=np.zeros_like(sum_L), where=margin.total_L > 0
        )
        worst.append((index, int(error_L.argmax()), float(error_L.max())))
    return worst


def _not_converged(
    weight_C: np.ndarray, margins: Sequence[Margin], cells: Cells, max_iterations: int, tolerance: float
) -> str:
    index, level, error = max(worst_levels(weight_C, margins, cells), key=lambda entry: entry[2])
    margin = margins[index]
    count = int((np.asarray(margin.level_R) == level).sum())
    return (
        f"Raking stopped after {max_iterations} iterations: margin {margin.label}={margin.levels[level]} "
        f"is off by {100 * error:.4g} % (limit {100 * tolerance:.4g} %). The level has {count} respondents; merge "
        "levels or raise max_iterations."
    )
