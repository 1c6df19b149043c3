"""Raking by iterative proportional fitting, and what unequal weights cost in precision.

Respondents that agree in every margin get the same factor, so the iteration runs over the distinct combinations of
levels (cells), not over respondents: its cost does not grow with the survey.

Legend: R respondents, C cells, L levels of one margin.
"""

from collections.abc import Sequence

import numpy as np

from assets.population.errors import RakingNotConverged
from assets.population.laid_margins import Cells, Margin, level_sums


def fit_proportionally(
    design_C: np.ndarray, margins: Sequence[Margin], cells: Cells, tolerance: float, max_iterations: int
) -> tuple[np.ndarray, int, float]:
    """Cell weights that meet every margin, nearest to the design weights in Kullback–Leibler distance.

    Args:
        design_C: design weight of each cell, on the scale of the totals.
        margins: control totals.
        cells: which cell falls in which level.
        tolerance: largest relative error allowed in any margin level.
        max_iterations: cycles over all margins before giving up.

    Returns:
        The weights [C], the cycles taken and the largest relative error.

    Raises:
        RakingNotConverged: the tolerance was not reached.

    Source: Deville, Särndal & Sautory (1993), generalized raking, the multiplicative method (case 2 of their table 1);
    the iteration is Deming & Stephan (1940).
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
