"""Margins laid over respondents: the level of each beside the totals, the cells they form, and whether totals agree.

Legend: R respondents, C cells (combinations of levels that occur), L levels of one margin, M margins.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assets.population.errors import EmptyMarginLevel, InconsistentMargins

TOTALS_TOLERANCE = 1e-6
"""Largest relative difference between the totals of two margins; beyond it no weight can meet both."""

NATION = "US"
OUTSIDE = -1
"""Level of a respondent who lives outside a margin's geography."""

LARGEST_CODE = 2**31
"""Cell codes are made dense again before they pass this bound."""


@dataclass(frozen=True)
class Margin:
    """Control totals of one margin and the level that each respondent belongs to.

    Shapes: `level_R` holds indices into `levels`, or `OUTSIDE` for respondents of another geography; `total_L` is a
    count (or any common scale) per level. A margin with a `penalty` is soft: missing it costs penalty · (found −
    total)² / (2 · total) per level, in the scale of the totals.
    """

    name: str
    levels: tuple[str, ...]
    level_R: np.ndarray
    total_L: np.ndarray
    geography: str = NATION
    penalty: float | None = None

    @property
    def label(self) -> str:
        """The name, with the geography where it is not the nation."""
        return self.name if self.geography == NATION else f"{self.name} of {self.geography}"


@dataclass(frozen=True)
class Cells:
    """Respondents grouped by the combination of their levels: cell of each, and level of each cell per margin."""

    cell_R: np.ndarray
    level_MC: np.ndarray

    @property
    def num_cells(self) -> int:
        """Number of combinations that occur."""
        return self.level_MC.shape[1]

    @classmethod
    def of(cls, margins: Sequence[Margin], num_respondents: int) -> "Cells":
        """The cells of the margins' levels."""
        cell_R = cell_of_each([m.level_R for m in margins], [len(m.levels) for m in margins], num_respondents)
        member_C = np.zeros(int(cell_R.max()) + 1, dtype=np.int64)
        member_C[cell_R] = np.arange(num_respondents)
        return cls(cell_R, np.stack([np.asarray(margin.level_R)[member_C] for margin in margins]))


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
        num_codes = num_levels + 1
        if bound * num_codes > LARGEST_CODE:
            code_R = np.unique(code_R, return_inverse=True)[1]
            bound = int(code_R.max()) + 1
        code_R = code_R * num_codes + (np.asarray(level_R) - OUTSIDE)
        bound *= num_codes
    return np.unique(code_R, return_inverse=True)[1]


def level_sums(weight_C: np.ndarray | None, level_C: np.ndarray, num_levels: int) -> np.ndarray:
    """Weight per level, or number of cells where no weight is given; those outside the geography count nowhere."""
    return np.bincount(level_C - OUTSIDE, weights=weight_C, minlength=num_levels + 1)[1:].astype(np.float64)


def check_margins(design_weight_R: np.ndarray, margins: Sequence[Margin], *, is_replicate: bool = False) -> None:
    """Refuses weights and totals that no calibration can use.

    In a replicate a design weight of zero leaves a respondent out; elsewhere it is refused.

    Raises:
        InconsistentMargins: totals contradict one another, or weights cannot be used.
        EmptyMarginLevel: a level with a positive total has no respondent.
    """
    if not margins:
        raise InconsistentMargins("Raking needs at least one margin, found none. Name the margins to calibrate on.")
    is_fine_R = np.isfinite(design_weight_R) & (design_weight_R >= 0 if is_replicate else design_weight_R > 0)
    bad = int((~is_fine_R).sum())
    if bad or not (design_weight_R > 0).any():
        raise InconsistentMargins(
            f"Raking needs positive design weights: found {len(design_weight_R)} respondents, {bad} of them with a "
            "weight that is missing, zero or negative. Drop those respondents or mend the weight column."
        )
    first_of: dict[str, Margin] = {}
    for margin in margins:
        first = first_of.setdefault(margin.geography, margin)
        total, expected = float(margin.total_L.sum()), float(first.total_L.sum())
        if not (np.isfinite(margin.total_L).all() and (margin.total_L >= 0).all() and total > 0):
            raise InconsistentMargins(
                f"Margin {margin.label} has totals {margin.total_L.tolist()}; totals must be zero or more and not all "
                "zero. Correct the margin."
            )
        if abs(total - expected) > TOTALS_TOLERANCE * expected:
            raise InconsistentMargins(
                f"Margin {margin.label} sums to {total:,.6g}, but margin {first.label} sums to {expected:,.6g} "
                f"(allowed relative difference {TOTALS_TOLERANCE:g}). Scale one to the population of the other."
            )
        weight_L = level_sums(design_weight_R, np.asarray(margin.level_R), len(margin.levels))
        count_L = level_sums(None, np.asarray(margin.level_R), len(margin.levels)).astype(int)
        is_empty_L = (margin.total_L > 0) & (weight_L == 0)
        if is_empty_L.any() and margin.penalty is None:
            empty = [
                f"{margin.levels[index]} (total {margin.total_L[index]:,.6g})" for index in np.flatnonzero(is_empty_L)
            ]
            raise EmptyMarginLevel(
                f"Margin {margin.label} has {len(empty)} of {len(margin.levels)} levels with people in the population, "
                f"but no respondent: {', '.join(empty)}. No weights can meet these totals. Merge each with a "
                "neighbouring level (merge in the population file), make the margin soft, or use a survey that "
                "reaches these people."
            )
        for level, weight, count, level_total in zip(margin.levels, weight_L, count_L, margin.total_L, strict=True):
            if level_total == 0 and weight > 0:
                raise InconsistentMargins(
                    f"Margin {margin.label}={level} has the total 0, but {count} respondents are in that level. "
                    "Correct the total, or leave these respondents out of the survey (universe)."
                )
