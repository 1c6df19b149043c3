"""Calibrated weights by any method: chooses the solver, states what failed, and repeats it for replicate weights.

Hard margins without bounds or a cap are raked by iterative proportional fitting over cells (`raking.py`), which no
Newton step beats on them; every other case goes to the dual (`dual.py`). Both work on groups of respondents that get
the same factor, so their cost does not grow with the survey.

Legend: R respondents, U units (respondents of one cell, and of one design weight where a cap is set), K levels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_matrix

from assets.population.distances import Method, make_distance
from assets.population.dual import solve_dual
from assets.population.errors import InfeasibleBounds, InfeasibleMargins, NegativeWeights, RakingNotConverged
from assets.population.feasibility import smallest_misses
from assets.population.laid_margins import Cells, Margin, check_margins, level_sums
from assets.population.raking import fit_proportionally, worst_levels


@dataclass(frozen=True)
class CalibrationMethod:
    """How design weights are calibrated.

    Attributes:
        method: linear, raking or logit.
        bounds: smallest and largest ratio of calibrated to design weight (both brought to one scale).
        trim: largest calibrated weight as a multiple of the mean calibrated weight; the margins still hold.
        tolerance: largest relative error allowed in a hard margin level.
        max_iterations: cycles or Newton steps before giving up.
    """

    method: Method = "raking"
    bounds: tuple[float, float] | None = None
    trim: float | None = None
    tolerance: float = 1e-6
    max_iterations: int = 1000


@dataclass(frozen=True)
class CalibrationResult:
    """Calibrated weights and how they were reached; errors are relative to a level's total, over hard margins."""

    calibrated_weight_R: np.ndarray
    num_iterations: int
    max_error: float
    initial_max_error: float


class Calibrator:
    """Margins laid over respondents, ready to calibrate one set of design weights after another."""

    def __init__(self, margins: Sequence[Margin], num_respondents: int) -> None:
        """Groups the respondents into cells once.

        Args:
            margins: control totals with the level of each respondent.
            num_respondents: R.
        """
        self._margins = tuple(margins)
        self._cells = Cells.of(self._margins, num_respondents) if margins else None

    def calibrate(
        self, design_weight_R: np.ndarray, method: CalibrationMethod | None = None, *, is_replicate: bool = False
    ) -> CalibrationResult:
        """The calibrated weights of these design weights.

        Args:
            design_weight_R: positive design weight per respondent, any scale.
            method: how to calibrate; raking when left out.
            is_replicate: whether zero weights are allowed and leave their respondents out.

        Raises:
            InconsistentMargins: totals contradict one another, or weights cannot be used.
            EmptyMarginLevel: a level with a positive total has no respondent.
            InfeasibleMargins: no weights at all meet the margins together.
            InfeasibleBounds: bounds or trim exclude every solution.
            NegativeWeights: the linear method needs weights below zero.
            RakingNotConverged: the tolerance was not reached.
        """
        method = method or CalibrationMethod()
        design_weight_R = np.asarray(design_weight_R, dtype=np.float64)
        check_margins(design_weight_R, self._margins, is_replicate=is_replicate)
        assert self._cells is not None
        population = population_total(self._margins)
        scaled_R = design_weight_R * (population / design_weight_R.sum())
        design_C = np.bincount(self._cells.cell_R, weights=scaled_R, minlength=self._cells.num_cells)
        worst = worst_levels(design_C, self._margins, self._cells)
        before = max((error for index, _, error in worst if self._is_hard(index)), default=0.0)
        is_plain = method.method == "raking" and method.bounds is None and method.trim is None
        if is_plain and all(margin.penalty is None for margin in self._margins):
            try:
                weight_C, num_iterations, after = fit_proportionally(
                    design_C, self._margins, self._cells, method.tolerance, method.max_iterations
                )
            except RakingNotConverged:
                self._refuse_infeasible(design_C, method)
                raise
            ratio_C = np.divide(weight_C, design_C, out=np.ones_like(weight_C), where=design_C > 0)
            return CalibrationResult(scaled_R * ratio_C[self._cells.cell_R], num_iterations, after, before)
        return self._by_newton(scaled_R, method, population, before)

    def _by_newton(
        self, scaled_R: np.ndarray, method: CalibrationMethod, population: float, before: float
    ) -> CalibrationResult:
        cells = self._cells
        assert cells is not None
        num_used = int((scaled_R > 0).sum())
        largest = None if method.trim is None else method.trim * population / num_used
        if largest is None:
            unit_R, cell_U, own_U = cells.cell_R, np.arange(cells.num_cells), np.ones(cells.num_cells)
        else:
            pairs, unit_R = np.unique(np.stack([cells.cell_R.astype(float), scaled_R]), axis=1, return_inverse=True)
            unit_R, cell_U, own_U = unit_R.ravel(), pairs[0].astype(np.int64), np.maximum(pairs[1], 1e-300)
        design_U = np.bincount(unit_R, weights=scaled_R, minlength=len(cell_U))
        distance = make_distance(method.method, method.bounds, own_U, largest)
        membership_KU, total_K, softness_K, level_K = self._constraints(cell_U)
        solution = solve_dual(
            membership_KU,
            design_U,
            total_K,
            softness_K,
            distance,
            tolerance=method.tolerance,
            max_iterations=min(method.max_iterations, 200),
        )
        if solution.max_error > method.tolerance:
            if not method.bounds and method.trim is None:
                self._refuse_infeasible(design_U, method)
            self._explain_failure(solution.max_error, int(solution.error_K.argmax()), level_K, method)
        weight_R = scaled_R * solution.factor_U[unit_R]
        if weight_R.min() < 0 or (weight_R[scaled_R > 0] <= 0).any():
            num_bad = int((weight_R[scaled_R > 0] <= 0).sum())
            raise NegativeWeights(
                f"The {method.method} method gives {num_bad} of {num_used} respondents a weight of zero or less; a "
                "respondent cannot stand for fewer than no people. Use the raking method, or bounds with a lower bound "
                "above zero."
            )
        weight_C = np.bincount(cells.cell_R, weights=weight_R, minlength=cells.num_cells)
        hard = [entry for entry in worst_levels(weight_C, self._margins, cells) if self._is_hard(entry[0])]
        return CalibrationResult(
            weight_R, solution.num_iterations, max((error for _, _, error in hard), default=0.0), before
        )

    def _is_hard(self, margin_index: int) -> bool:
        return self._margins[margin_index].penalty is None

    def _constraints(self, cell_U: np.ndarray) -> tuple[csr_matrix, np.ndarray, np.ndarray, list[tuple[int, int]]]:
        """One row per margin level with a positive total: membership, total, softness, and which level it is."""
        assert self._cells is not None
        rows, columns, totals, softness, levels = [], [], [], [], []
        for index, (margin, level_C) in enumerate(zip(self._margins, self._cells.level_MC, strict=True)):
            level_U = level_C[cell_U]
            first = len(totals)
            num_members_L = level_sums(None, level_U, len(margin.levels))
            is_used_L = (margin.total_L > 0) & (num_members_L > 0)
            row_L = np.where(is_used_L, first + np.cumsum(is_used_L) - 1, -1)
            member = np.flatnonzero((level_U >= 0) & is_used_L[np.maximum(level_U, 0)])
            rows.append(row_L[level_U[member]])
            columns.append(member)
            totals += margin.total_L[is_used_L].tolist()
            softness += (
                margin.total_L[is_used_L] / margin.penalty if margin.penalty else 0 * margin.total_L[is_used_L]
            ).tolist()
            levels += [(index, int(level)) for level in np.flatnonzero(is_used_L)]
        row, column = np.concatenate(rows), np.concatenate(columns)
        shape = (len(totals), len(cell_U))
        membership = csr_matrix((np.ones(len(row)), (row, column)), shape=shape)
        return membership, np.array(totals), np.array(softness), levels

    def _refuse_infeasible(self, design_U: np.ndarray, method: CalibrationMethod) -> None:
        """Raises where no weights at all meet the hard margins; units are cells."""
        unit = np.flatnonzero(design_U > 0)
        membership_KU, total_K, softness_K, level_K = self._constraints(unit)
        hard_K = np.flatnonzero(softness_K == 0)
        miss_K = smallest_misses(csr_matrix(membership_KU[hard_K]), total_K[hard_K])
        if np.abs(miss_K).sum() <= method.tolerance:
            return
        worst = [(level_K[hard_K[place]], miss_K[place]) for place in np.argsort(-np.abs(miss_K))[:5] if miss_K[place]]
        named = [
            f"{self._margins[index].label}={self._margins[index].levels[level]} by {100 * miss:+.3g} %"
            for (index, level), miss in worst
        ]
        raise InfeasibleMargins(
            f"No weights of zero or more meet all margins together, whatever the method: the nearest miss levels by "
            f"{100 * np.abs(miss_K).sum():.3g} % added up, for instance {', '.join(named)}. Thin levels of one margin "
            "hold too few kinds of people for the others. Leave one of these margins out, merge its levels, or make it "
            "soft."
        )

    def _explain_failure(
        self, error: float, worst: int, level_K: list[tuple[int, int]], method: CalibrationMethod
    ) -> None:
        index, level = level_K[worst]
        margin = self._margins[index]
        count = int((np.asarray(margin.level_R) == level).sum())
        where = (
            f"{margin.label}={margin.levels[level]} is off by {100 * error:.4g} % (limit {100 * method.tolerance:g} %)"
        )
        if method.bounds or method.trim:
            limits = [f"bounds {list(method.bounds)}"] if method.bounds else []
            limits += [f"trim {method.trim:g}"] if method.trim else []
            raise InfeasibleBounds(
                f"No weights within {' and '.join(limits)} meet the margins: margin {where}. The level has {count} "
                "respondents; widen bounds or trim, merge levels, or make the margin soft."
            )
        raise RakingNotConverged(
            f"The {method.method} method stopped: margin {where}. The level has {count} respondents; merge levels, "
            "make the margin soft, or raise max_iterations."
        )


def calibrate_weights(
    design_weight_R: np.ndarray, margins: Sequence[Margin], method: CalibrationMethod | None = None
) -> CalibrationResult:
    """Adjusts design weights until every hard margin holds, at the smallest distance that the method measures.

    Args:
        design_weight_R: positive design weight per respondent, any scale.
        margins: control totals, of one or several geographies, hard or with a penalty.
        method: how to calibrate; raking when left out.

    Raises:
        CalibrationError: see `Calibrator.calibrate`.

    Example:
        >>> sex = Margin("sex", ("male", "female"), np.array([0, 0, 1]), np.array([50.0, 50.0]))
        >>> calibrate_weights(np.ones(3), [sex], CalibrationMethod("linear")).calibrated_weight_R.round(6).tolist()
        [25.0, 25.0, 50.0]
    """
    return Calibrator(margins, len(design_weight_R)).calibrate(design_weight_R, method)


def population_total(margins: Sequence[Margin]) -> float:
    """People that the margins describe: the nation's total, or the sum over geographies where it has none."""
    totals = {margin.geography: float(margin.total_L.sum()) for margin in reversed(margins)}
    covers_all = [m for m in margins if (np.asarray(m.level_R) >= 0).all()]
    return float(covers_all[0].total_L.sum()) if covers_all else sum(totals.values())


def soften(margins: Sequence[Margin], penalties: dict[str, float]) -> tuple[Margin, ...]:
    """The margins with penalties by name of the margin, in every geography; others stay hard."""
    return tuple(replace(margin, penalty=penalties.get(margin.name, margin.penalty)) for margin in margins)
