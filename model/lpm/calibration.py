"""Calibration by gradient through a whole run, with uncertainty from the curvature at the optimum.

    CalibrationError   a parameter receives no gradient, a gradient is not finite, or the targets do not tell
                       parameters apart

Legend: P free entries of all parameters, M numbers in the targets.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.lpm.parameters import Parameter
from model.lpm.program import Program, run
from model.lpm.sensitivity import Outcome
from model.lpm.substeps import PopulationState

NORMAL_QUANTILE = 1.959963984540054
"""97.5 % quantile of the standard normal distribution, for two-sided 95 % intervals."""
CURVATURE_STEP = 1e-4
"""Distance, in unconstrained units, over which gradients are differenced."""

MIN_EIGENVALUE = 1e-6
"""Below it, some combination of parameters is flat to the precision of the differenced gradients."""


class CalibrationError(ValueError):
    """A calibration cannot be done as asked."""


@dataclass(frozen=True, eq=False)
class Target:
    """What was observed at a timestep: `outcome` of the state there should equal `value`, up to `standard_error`."""

    timestep: int
    outcome: Outcome
    value: Tensor
    standard_error: float | None = None


@dataclass(frozen=True, eq=False)
class Estimate:
    """A calibrated parameter; `lower` and `upper` end its 95 % interval, shaped like `value`."""

    value: Tensor
    standard_error: Tensor
    lower: Tensor
    upper: Tensor


@dataclass(frozen=True, eq=False)
class Calibration:
    """Estimates by substep.name, their correlations [P, P] in that order, and the loss at every optimiser step."""

    estimates: dict[str, Estimate]
    correlation_PP: Tensor
    losses: tuple[float, ...]

    def values(self) -> dict[str, Tensor]:
        """Estimated values, to hand to `run`."""
        return {name: estimate.value for name, estimate in self.estimates.items()}


def calibrate(
    program: Program,
    population: PopulationState,
    targets: Sequence[Target],
    *,
    steps: int = 200,
    lr: float = 0.05,
    seed: int = 0,
    free: Sequence[str] | None = None,
) -> Calibration:
    """Fits parameters to targets by Adam on the unconstrained scale, through the whole run.

    Minimises Σ (outcome − value)² / (2 standard_error²) plus the priors. Without standard errors, the error variance is
    estimated from the residuals. Uncertainty is the Laplace approximation on the unconstrained scale, mapped back
    through the bounds.

    Args:
        program: the mechanism; its parameters' values are where the search starts.
        population: named tensors at timestep 0; float64 gives the sharpest curvature.
        targets: observations; either all with a standard error or none.
        steps: optimiser steps.
        lr: step size of the optimiser, which falls to a tenth along a cosine.
        seed: seed of the weights with which targets are probed for gradient.
        free: parameters to fit, by substep.name; None for all.

    Raises:
        CalibrationError: see the class.

    Source: MacKay (2003), Information Theory, Inference and Learning Algorithms, section 27.1 (Laplace's method).
    """
    parameters = _free_parameters(program, free)
    _check_targets(targets)
    raw = {name: parameter.unconstrained().requires_grad_() for name, parameter in parameters.items()}

    def loss_of(raw_values: Mapping[str, Tensor]) -> Tensor:
        values = {name: parameters[name].constrain(value) for name, value in raw_values.items()}
        residuals = _residuals(program, population, targets, values)
        prior = sum(parameters[name].negative_log_prior(value) for name, value in values.items())
        return 0.5 * (residuals**2).sum() + prior

    _probe_gradients(program, population, targets, parameters, raw, seed)
    optimiser = torch.optim.Adam(list(raw.values()), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=max(1, steps), eta_min=lr / 10)
    losses: list[float] = []
    for step in range(steps):
        optimiser.zero_grad()
        loss = loss_of(raw)
        loss.backward()
        for name, value in raw.items():
            if value.grad is None or not bool(torch.isfinite(value.grad).all()):
                raise CalibrationError(
                    f"Step {step}: the gradient of {name} is {value.grad}, at value "
                    f"{parameters[name].constrain(value.detach()).tolist()}. Start elsewhere, narrow its bounds or "
                    "lower lr."
                )
        losses.append(float(loss.detach()))
        optimiser.step()
        schedule.step()
    fitted = {name: value.detach() for name, value in raw.items()}
    covariance_PP = _laplace(loss_of, fitted)
    if targets[0].standard_error is None:
        values = {name: parameters[name].constrain(value) for name, value in fitted.items()}
        residuals = _residuals(program, population, targets, values).detach()
        covariance_PP = covariance_PP * _residual_variance(residuals, len(covariance_PP))
    return Calibration(
        estimates=_estimates(parameters, fitted, covariance_PP),
        correlation_PP=covariance_PP / torch.outer(covariance_PP.diag(), covariance_PP.diag()).sqrt(),
        losses=tuple(losses),
    )


def _free_parameters(program: Program, free: Sequence[str] | None) -> dict[str, Parameter]:
    chosen = list(program.parameters) if free is None else list(free)
    unknown = [name for name in chosen if name not in program.parameters]
    if unknown or not chosen:
        raise CalibrationError(
            f"Parameters to fit: {', '.join(chosen) or 'none'}; unknown: {', '.join(unknown) or 'none'}. "
            f"Parameters: {', '.join(program.parameters) or 'none'}."
        )
    return {name: program.parameters[name] for name in chosen}


def _check_targets(targets: Sequence[Target]) -> None:
    if not targets:
        raise CalibrationError("No targets were given; there is nothing to fit.")
    has_error = [target.standard_error is not None for target in targets]
    if any(has_error) and not all(has_error):
        raise CalibrationError(f"{sum(has_error)} of {len(targets)} targets have a standard error; give all or none.")
    for target in targets:
        if target.standard_error is not None and not target.standard_error > 0:
            raise CalibrationError(f"A target's standard error is {target.standard_error}; allowed: above 0.")


def _residuals(
    program: Program, population: PopulationState, targets: Sequence[Target], values: Mapping[str, Tensor]
) -> Tensor:
    """Standardised residuals [M], in the order of the targets."""
    found: dict[int, Tensor] = {}

    def observe(timestep: int, state: PopulationState) -> None:
        for index, target in enumerate(targets):
            if target.timestep == timestep:
                gap = target.outcome(state).double() - target.value.double()
                found[index] = (gap / (target.standard_error or 1.0)).reshape(-1)

    run(program, population, max(target.timestep for target in targets), record=observe, values=values)
    return torch.cat([found[index] for index in range(len(targets))])


def _probe_gradients(
    program: Program,
    population: PopulationState,
    targets: Sequence[Target],
    parameters: Mapping[str, Parameter],
    raw: Mapping[str, Tensor],
    seed: int,
) -> None:
    """Refuses parameters that no target depends on: randomly weighted residuals must have a gradient for each entry."""
    values = {name: parameters[name].constrain(value) for name, value in raw.items()}
    residuals = _residuals(program, population, targets, values)
    if not residuals.requires_grad:
        raise CalibrationError(f"No target depends on any of {', '.join(raw)}; the run cuts the gradient.")
    weights = torch.randn(len(residuals), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    gradients = torch.autograd.grad((weights * residuals).sum(), list(raw.values()), allow_unused=True)
    for name, gradient in zip(raw, gradients, strict=True):
        is_dead = gradient is None or bool((gradient == 0).any())
        if is_dead and parameters[name].prior is None:
            found = "none" if gradient is None else gradient.tolist()
            raise CalibrationError(
                f"Parameter {name} receives no gradient from the targets (found {found}). Leave it out of `free`, "
                "give it a prior, or add targets that depend on it."
            )


def _laplace(loss_of: Callable[[Mapping[str, Tensor]], Tensor], fitted: Mapping[str, Tensor]) -> Tensor:
    """Inverse of the loss's curvature [P, P], by central differences of its gradient."""
    shapes = {name: value.shape for name, value in fitted.items()}
    sizes = [value.numel() for value in fitted.values()]
    centre_P = torch.cat([value.reshape(-1) for value in fitted.values()])

    def gradient(point_P: Tensor) -> Tensor:
        parts = point_P.split(sizes)
        leaves = {
            name: part.reshape(shape).clone().requires_grad_()
            for (name, shape), part in zip(shapes.items(), parts, strict=True)
        }
        found = torch.autograd.grad(loss_of(leaves), list(leaves.values()))
        return torch.cat([part.reshape(-1) for part in found])

    step_PP = CURVATURE_STEP * torch.eye(len(centre_P), dtype=centre_P.dtype)
    rows = [(gradient(centre_P + step) - gradient(centre_P - step)) / (2 * CURVATURE_STEP) for step in step_PP]
    curvature_PP = torch.stack(rows)
    curvature_PP = 0.5 * (curvature_PP + curvature_PP.T)
    scale_P = curvature_PP.diag().clamp(min=0).sqrt()
    is_curved = bool((scale_P > 0).all())
    lowest = float(torch.linalg.eigvalsh(curvature_PP / torch.outer(scale_P, scale_P))[0]) if is_curved else 0.0
    if not lowest > MIN_EIGENVALUE:
        raise CalibrationError(
            f"At the last step the loss's curvature, scaled to ones on its diagonal, has the eigenvalue {lowest:.3g}; "
            f"allowed: above {MIN_EIGENVALUE:g}. Either the search has not converged (raise steps), or the targets do "
            "not tell the parameters apart (add targets or priors, or leave some out of `free`): "
            f"{', '.join(fitted)}."
        )
    return torch.linalg.inv(curvature_PP)


def _residual_variance(residuals_M: Tensor, num_free: int) -> float:
    if len(residuals_M) <= num_free:
        raise CalibrationError(
            f"{len(residuals_M)} observed numbers cannot give {num_free} free entries and their error; add targets, or "
            "state standard errors."
        )
    return float((residuals_M**2).sum() / (len(residuals_M) - num_free))


def _estimates(
    parameters: Mapping[str, Parameter], fitted: Mapping[str, Tensor], covariance_PP: Tensor
) -> dict[str, Estimate]:
    spreads = covariance_PP.diag().sqrt().split([value.numel() for value in fitted.values()])
    estimates = {}
    for (name, raw), flat in zip(fitted.items(), spreads, strict=True):
        parameter, spread = parameters[name], flat.reshape(raw.shape)
        lower, upper = parameter.bounds
        place = torch.sigmoid(raw)
        estimates[name] = Estimate(
            value=parameter.constrain(raw),
            standard_error=(upper - lower) * place * (1 - place) * spread,
            lower=parameter.constrain(raw - NORMAL_QUANTILE * spread),
            upper=parameter.constrain(raw + NORMAL_QUANTILE * spread),
        )
    return estimates
