"""Distances between calibrated and design weights, as the factor that each gives a respondent.

Calibration minimises a distance to the design weights under the margins. The optimum multiplies a design weight by
F(u), where u is the sum of one multiplier per margin level that the respondent belongs to; each distance has its F.

| method | F(u) | keeps weights |
|---|---|---|
| linear | 1 + u | anywhere, also below zero |
| raking | exp(u) | positive |
| logit | L + (U − L) · σ(A·u + b) | strictly between L and U times the design weight |

with A = (U − L) / ((1 − L)(U − 1)) and b = log((1 − L) / (U − 1)), so that F(0) = F′(0) = 1. Bounds on linear and
raking cut F at L and U (truncation); a cap on the weight itself cuts it per respondent (trimming).

Source: Deville & Särndal (1992), Calibration estimators in survey sampling, table 1 and section 2.

Legend: U units (respondents, or groups of them that share a factor).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import expit, logit

from assets.population.errors import InfeasibleBounds

Method = Literal["linear", "raking", "logit"]
LARGEST_EXPONENT = 700.0


@dataclass(frozen=True)
class Distance:
    """A method with its bounds; `lower_U` and `upper_U` cut the factor of each unit.

    Attributes:
        method: linear, raking or logit.
        bounds: L and U of the logit method; for the others they are part of the cuts.
        lower_U: smallest factor per unit, or one for all.
        upper_U: largest factor per unit, or one for all.
    """

    method: Method
    bounds: tuple[float, float] | None
    lower_U: np.ndarray
    upper_U: np.ndarray

    def factor(self, u_U: np.ndarray) -> np.ndarray:
        """F(u) of each unit."""
        return np.clip(self._smooth(u_U), self.lower_U, self.upper_U)

    def slope(self, u_U: np.ndarray) -> np.ndarray:
        """F′(u) of each unit; zero where a cut holds."""
        factor_U = self._smooth(u_U)
        slope_U = np.ones_like(u_U) if self.method == "linear" else factor_U
        if self.method == "logit":
            low, high, scale, _ = self._logit()
            slope_U = scale * (factor_U - low) * (high - factor_U) / (high - low)
        return np.where((factor_U > self.lower_U) & (factor_U < self.upper_U), slope_U, 0.0)

    def integral(self, u_U: np.ndarray) -> np.ndarray:
        """∫ F from 0 to u, up to a constant per unit: what the dual objective sums."""
        inner_U = np.clip(u_U, self._inverse(self.lower_U), self._inverse(self.upper_U))
        if self.method == "linear":
            area_U = inner_U + inner_U**2 / 2
        elif self.method == "raking":
            area_U = np.exp(np.minimum(inner_U, LARGEST_EXPONENT))
        else:
            low, high, scale, shift = self._logit()
            area_U = low * inner_U + (high - low) / scale * np.logaddexp(0.0, scale * inner_U + shift)
        return area_U + self.factor(u_U) * (u_U - inner_U)

    def _smooth(self, u_U: np.ndarray) -> np.ndarray:
        if self.method == "linear":
            return 1.0 + u_U
        if self.method == "raking":
            return np.exp(np.minimum(u_U, LARGEST_EXPONENT))
        low, high, scale, shift = self._logit()
        return low + (high - low) * expit(scale * u_U + shift)

    def _inverse(self, factor_U: np.ndarray) -> np.ndarray:
        """The u at which the uncut F reaches a factor; infinite where it never does."""
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.method == "linear":
                return factor_U - 1.0
            if self.method == "raking":
                return np.log(np.maximum(factor_U, 0.0))
            low, high, scale, shift = self._logit()
            return (logit(np.clip((factor_U - low) / (high - low), 0.0, 1.0)) - shift) / scale

    def _logit(self) -> tuple[float, float, float, float]:
        assert self.bounds is not None
        low, high = self.bounds
        return low, high, (high - low) / ((1 - low) * (high - 1)), float(np.log((1 - low) / (high - 1)))


def make_distance(
    method: Method, bounds: tuple[float, float] | None, design_weight_U: np.ndarray, largest_weight: float | None
) -> Distance:
    """The distance of a method with its bounds and cap.

    Args:
        method: linear, raking or logit.
        bounds: smallest and largest ratio of calibrated to design weight; the logit method needs them.
        design_weight_U: design weight of one respondent of each unit.
        largest_weight: cap on every calibrated weight, in the scale of the design weights; none when left out.

    Raises:
        InfeasibleBounds: bounds do not enclose 1, or the logit method has none.
    """
    if method == "logit" and bounds is None:
        raise InfeasibleBounds(
            "The logit method needs bounds, found none. Give the smallest and the largest ratio of calibrated to "
            "design weight, for example bounds: [0.3, 3]."
        )
    low, high = bounds or (-np.inf if method == "linear" else 0.0, np.inf)
    if bounds and not 0 <= low < 1 < high:
        raise InfeasibleBounds(
            f"Bounds on the ratio of calibrated to design weight are {low:g} and {high:g}; allowed is 0 ≤ lower < 1 < "
            "upper. Widen them."
        )
    upper_U = np.full(len(design_weight_U), high)
    if largest_weight is not None:
        upper_U = np.minimum(upper_U, largest_weight / design_weight_U)
    return Distance(method, bounds, np.minimum(np.full(len(design_weight_U), low), upper_U), upper_U)
