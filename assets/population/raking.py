"""Generalised raking: design weights that meet every margin and otherwise change as little as possible.

Respondents that agree in every margin get the same factor, so the iteration runs over the distinct combinations of
levels (cells), not over respondents: its cost does not grow with the survey.

Legend: R respondents, C cells, L levels of one margin.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assets.population.errors import EmptyMarginLevel, InconsistentMargins, RakingNotConverged

TOTALS_TOLERANCE = 1e-6
"""Largest relative difference between the totals of two margins; beyond it no weight can meet both."""

LARGEST_CODE = 2**31
"""Cell codes are made dense again before they pass this bound."""


@dataclass(frozen=True)
class Margin:
    """Control totals of one margin and the level that each respondent belongs to.

    Shapes: `level_R` holds indices into `levels`; `total_L` is a count (or any common scale) per level.
    """

    name: str
    levels: tuple[str, ...]
    level_R: np.ndarray
    total_L: np.ndarray


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
    _check(design_weight_R, margins)
    cell_R, level_MC = _cells(margins, len(design_weight_R))
    num_cells = level_MC.shape[1]
    design_C = np.bincount(cell_R, weights=design_weight_R, minlength=num_cells)

    weight_C = design_C * (margins[0].total_L.sum() / design_C.sum())
    initial_max_error = max(error for _, _, error in _errors(weight_C, margins, level_MC))
    num_iterations, max_error = 0, initial_max_error
    while max_error > tolerance:
        if num_iterations == max_iterations:
            raise RakingNotConverged(_not_converged(weight_C, margins, level_MC, max_iterations, tolerance))
        for margin, level_C in zip(margins, level_MC, strict=True):
            sum_L = np.bincount(level_C, weights=weight_C, minlength=len(margin.levels))
            factor_L = np.divide(margin.total_L, sum_L, out=np.ones_like(sum_L), where=sum_L > 0)
            weight_C = weight_C * factor_L[level_C]
        num_iterations += 1
        max_error = max(error for _, _, error in _errors(weight_C, margins, level_MC))
    return RakingResult(
        calibrated_weight_R=design_weight_R * (weight_C / design_C)[cell_R],
        num_iterations=num_iterations,
        max_error=max_error,
        initial_max_error=initial_max_error,
    )


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


def cell_of_each(level_MR: Sequence[np.ndarray], num_levels_M: Sequence[int], num_respondents: int) -> np.ndarray:
    """Dense index of the combination of levels that each respondent belongs to.

    Args:
        level_MR: per margin, the level index of each respondent.
        num_levels_M: number of levels of each margin.
        num_respondents: R.

    Returns:
        Index 0…C−1 per respondent; combinations are numbered in the lexicographic order of their levels.
    """
    code_R = np.zeros(num_respondents, dtype=np.int64)
    bound = 1
    for level_R, num_levels in zip(level_MR, num_levels_M, strict=True):
        if bound * num_levels > LARGEST_CODE:
            code_R = np.unique(code_R, return_inverse=True)[1]
            bound = int(code_R.max()) + 1
        code_R = code_R * num_levels + level_R
        bound *= num_levels
    return np.unique(code_R, return_inverse=True)[1]


def _cells(margins: Sequence[Margin], num_respondents: int) -> tuple[np.ndarray, np.ndarray]:
    """Cell of each respondent, and the level of each cell per margin, shape [M, C]."""
    cell_R = cell_of_each([m.level_R for m in margins], [len(m.levels) for m in margins], num_respondents)
    member_C = np.zeros(int(cell_R.max()) + 1, dtype=np.int64)
    member_C[cell_R] = np.arange(num_respondents)
    return cell_R, np.stack([np.asarray(margin.level_R)[member_C] for margin in margins])


def _errors(weight_C: np.ndarray, margins: Sequence[Margin], level_MC: np.ndarray) -> list[tuple[int, int, float]]:
    """Margin index, index of its worst level and that level's relative error, per margin."""
    worst = []
    for index, (margin, level_C) in enumerate(zip(margins, level_MC, strict=True)):
        sum_L = np.bincount(level_C, weights=weight_C, minlength=len(margin.levels))
        error_L = np.divide(
            np.abs(sum_L - margin.total_L), margin.total_L, out=np.zeros_like(sum_L), where=margin.total_L > 0
        )
        worst.append((index, int(error_L.argmax()), float(error_L.max())))
    return worst


def _check(design_weight_R: np.ndarray, margins: Sequence[Margin]) -> None:
    if not margins:
        raise InconsistentMargins("Raking needs at least one margin, found none. Name the margins to calibrate on.")
    if len(design_weight_R) == 0 or not (np.isfinite(design_weight_R).all() and (design_weight_R > 0).all()):
        bad = int((~(np.isfinite(design_weight_R) & (design_weight_R > 0))).sum())
        raise InconsistentMargins(
            f"Raking needs positive design weights: found {len(design_weight_R)} respondents, {bad} of them with a "
            "weight that is missing, zero or negative. Drop those respondents or mend the weight column."
        )
    first = margins[0]
    for margin in margins:
        total, expected = float(margin.total_L.sum()), float(first.total_L.sum())
        if not (np.isfinite(margin.total_L).all() and (margin.total_L >= 0).all() and total > 0):
            raise InconsistentMargins(
                f"Margin {margin.name} has totals {margin.total_L.tolist()}; totals must be zero or more and not all "
                "zero. Correct the margin."
            )
        if abs(total - expected) > TOTALS_TOLERANCE * expected:
            raise InconsistentMargins(
                f"Margin {margin.name} sums to {total:,.6g}, but margin {first.name} sums to {expected:,.6g} (allowed "
                f"relative difference {TOTALS_TOLERANCE:g}). Scale one to the population of the other."
            )
        count_L = np.bincount(margin.level_R, minlength=len(margin.levels))
        for level, count, level_total in zip(margin.levels, count_L, margin.total_L, strict=True):
            if level_total > 0 and count == 0:
                raise EmptyMarginLevel(
                    f"Margin {margin.name}={level} has the total {level_total:,.6g}, but no respondent is in that "
                    "level. Merge it with a neighbouring level, or use a survey that reaches these people."
                )
            if level_total == 0 and count > 0:
                raise InconsistentMargins(
                    f"Margin {margin.name}={level} has the total 0, but {count} respondents are in that level. Correct "
                    "the total, or leave these respondents out of the survey."
                )


def _not_converged(
    weight_C: np.ndarray, margins: Sequence[Margin], level_MC: np.ndarray, max_iterations: int, tolerance: float
) -> str:
    index, level, error = max(_errors(weight_C, margins, level_MC), key=lambda entry: entry[2])
    margin = margins[index]
    count = int((np.asarray(margin.level_R) == level).sum())
    return (
        f"Raking stopped after {max_iterations} iterations: margin {margin.name}={margin.levels[level]} "
        f"is off by {100 * error:.4g} % (limit {100 * tolerance:.4g} %). The level has {count} respondents; merge "
        "levels or raise max_iterations."
    )
