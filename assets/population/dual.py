"""Newton's method on the dual of calibration: any distance, hard and soft margins, several geographies.

With hard margins the multipliers solve A·w(λ) = t, where w = d·F(Aᵀλ). A soft margin with penalty p may be missed: its
levels cost p·(found − t)² / (2t), which adds (t/p)·λ to the equations and tends to the hard margin as p grows
(penalised calibration). The dual objective Σ d·G(Aᵀλ) − t·λ + ½ Σ (t/p)·λ² is convex, so a damped Newton step
decreases it until the equations hold.

Source: Deville & Särndal (1992), section 3; for soft margins Beaumont & Bocci (2008), Another look at ridge
calibration.

Legend: K constraints (margin levels), U units.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.sparse import csr_matrix

from assets.population.distances import Distance

JITTER = 1e-11
"""Added to the scaled diagonal: margins of one population always repeat one another, so the system has a null space."""

SMALLEST_STEP = 1e-10
LARGEST_CHANGE = 20.0
"""A step changes no respondent's u by more than this; beyond it the quadratic model of the objective says nothing."""

LARGEST_MULTIPLIER = 1e8
"""Multipliers beyond this mean that they run away, because no weights within the bounds meet the margins."""


@dataclass(frozen=True)
class DualSolution:
    """Factor per unit, Newton steps taken, and the largest relative error of an equation."""

    factor_U: np.ndarray
    num_iterations: int
    max_error: float
    error_K: np.ndarray


def solve_dual(
    membership_KU: csr_matrix,
    design_weight_U: np.ndarray,
    total_K: np.ndarray,
    softness_K: np.ndarray,
    distance: Distance,
    *,
    tolerance: float,
    max_iterations: int,
) -> DualSolution:
    """Finds the factors; a solution that is not good enough is returned as it is, with its error.

    Args:
        membership_KU: 1 where a unit belongs to a level.
        design_weight_U: design weight of all respondents of a unit together.
        total_K: control totals; levels with the total zero must be left out.
        softness_K: total over penalty for soft levels, 0 for hard ones.
        distance: gives the factors.
        tolerance: largest relative error of an equation at which to stop.
        max_iterations: Newton steps before giving up.
    """
    transposed_UK = membership_KU.T.tocsr()

    def objective(multiplier_K: np.ndarray) -> float:
        with np.errstate(over="ignore", invalid="ignore"):
            value = design_weight_U @ distance.integral(transposed_UK @ multiplier_K) - total_K @ multiplier_K
        return float(value + 0.5 * softness_K @ multiplier_K**2)

    multiplier_K = np.zeros(len(total_K))
    num_iterations, value = 0, objective(multiplier_K)
    while True:
        u_U = transposed_UK @ multiplier_K
        factor_U = distance.factor(u_U)
        gradient_K = membership_KU @ (design_weight_U * factor_U) + softness_K * multiplier_K - total_K
        error_K = np.abs(gradient_K) / total_K
        if error_K.max() <= tolerance or num_iterations == max_iterations:
            return DualSolution(factor_U, num_iterations, float(error_K.max()), error_K)
        step_K = _newton_step(membership_KU, design_weight_U * distance.slope(u_U), softness_K, gradient_K)
        longest = float(np.abs(transposed_UK @ step_K).max())
        if not np.isfinite(longest) or float(np.abs(multiplier_K).max()) > LARGEST_MULTIPLIER:
            return DualSolution(factor_U, num_iterations, float(error_K.max()), error_K)
        step_K = step_K * min(1.0, LARGEST_CHANGE / max(longest, 1e-300))
        decrease, size = gradient_K @ step_K, 1.0
        while size > SMALLEST_STEP:
            trial_K = multiplier_K - size * step_K
            trial = objective(trial_K)
            if np.isfinite(trial) and trial <= value - 1e-4 * size * decrease + 1e-12 * abs(value):
                break
            size /= 2
        else:
            return DualSolution(factor_U, num_iterations, float(error_K.max()), error_K)
        multiplier_K, value = trial_K, trial
        num_iterations += 1


def _newton_step(
    membership_KU: csr_matrix, curvature_U: np.ndarray, softness_K: np.ndarray, gradient_K: np.ndarray
) -> np.ndarray:
    """Solves the Newton system after scaling its diagonal to one, with as little jitter as makes it definite."""
    weighted_KU = membership_KU.copy()
    weighted_KU.data = membership_KU.data * curvature_U[membership_KU.indices]
    hessian_KK = (weighted_KU @ membership_KU.T).toarray()
    hessian_KK[np.diag_indices_from(hessian_KK)] += softness_K
    diagonal_K = np.diag(hessian_KK)
    scale_K = 1 / np.sqrt(np.maximum(diagonal_K, 1e-12 * max(diagonal_K.max(), 1e-300)))
    scaled_KK = hessian_KK * scale_K[:, None] * scale_K[None, :]
    jitter = JITTER
    while True:
        try:
            factor = cho_factor(scaled_KK + jitter * np.eye(len(scale_K)), lower=True, check_finite=False)
            return scale_K * cho_solve(factor, scale_K * gradient_K, check_finite=False)
        except LinAlgError:
            jitter *= 100
