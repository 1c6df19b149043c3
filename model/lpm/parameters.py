"""Parameters of mechanisms: a value with bounds, unit, prior and source, and its form without bounds for optimisers.

    ParameterError   a value lies outside its bounds, or the bounds or the prior make no sense

Legend: P entries of a parameter (1, or one per timestep).
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor


class ParameterError(ValueError):
    """A parameter cannot be used."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of a substep.

    Attributes:
        value: a number, or one per timestep: entries are kept apart, so that each of them can be identified.
        bounds: lowest and highest value, both finite; calibration stays strictly inside.
        unit: unit of the value, "1" for pure numbers.
        prior: mean and standard deviation of a normal prior on the value; None for a flat one within the bounds.
        source: publication or data set the value was taken from.

    Raises:
        ParameterError: the value is not within the bounds, or bounds or prior are not in order.
    """

    value: float | tuple[float, ...]
    bounds: tuple[float, float]
    unit: str = "1"
    prior: tuple[float, float] | None = None
    source: str = "assumed"

    def __post_init__(self) -> None:
        lower, upper = self.bounds
        if not (math.isfinite(lower) and math.isfinite(upper) and lower < upper):
            raise ParameterError(f"Bounds are {self.bounds}; allowed: two finite numbers, the first below the second.")
        for entry in self.entries:
            if not lower <= entry <= upper:
                raise ParameterError(f"Value {entry} lies outside the bounds {lower} … {upper}. Move one of them.")
        if self.prior is not None and not self.prior[1] > 0:
            raise ParameterError(f"The prior's standard deviation is {self.prior[1]}; allowed: above 0.")

    @property
    def entries(self) -> tuple[float, ...]:
        """The value as a tuple."""
        return self.value if isinstance(self.value, tuple) else (self.value,)

    def tensor(self, dtype: torch.dtype = torch.float64) -> Tensor:
        """The value as a tensor: a scalar, or [P]."""
        return torch.tensor(self.value, dtype=dtype)

    def unconstrained(self) -> Tensor:
        """The value without bounds, float64: logit of its place between the bounds; values on a bound move inside."""
        lower, upper = self.bounds
        place = ((self.tensor() - lower) / (upper - lower)).clamp(1e-4, 1 - 1e-4)
        return torch.logit(place)

    def constrain(self, unconstrained: Tensor) -> Tensor:
        """The value that belongs to an unconstrained one; differentiable, strictly within the bounds."""
        lower, upper = self.bounds
        return lower + (upper - lower) * torch.sigmoid(unconstrained)

    def with_value(self, value: Tensor) -> "Parameter":
        """The same parameter at another value."""
        entries = value.detach().double()
        return replace(self, value=float(entries) if entries.ndim == 0 else tuple(entries.tolist()))

    def negative_log_prior(self, value: Tensor) -> Tensor:
        """Σ (value − mean)² / (2 sd²); zero for a flat prior."""
        if self.prior is None:
            return value.new_zeros(())
        mean, spread = self.prior
        return ((value - mean) ** 2).sum() / (2 * spread**2)
