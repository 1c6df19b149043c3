"""Fits a program's parameters by gradient, with intervals where the curvature at the optimum allows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.lpm.calibration import CalibrationError, Target, calibrate
from model.lpm.program import Program, run
from model.lpm.substeps import PopulationState

LEARNING_RATE = 0.08
AT_BOUND = "a parameter ends at a bound or is not told apart from others, so no interval of parameters is given"


@dataclass(frozen=True, eq=False)
class Fit:
    """Fitted values by parameter; `estimates`: value, lower and upper of scalars, ends None without curvature."""

    values: Mapping[str, Tensor]
    estimates: Mapping[str, tuple[float, float | None, float | None]]
    note: str = ""


def fit(
    program: Program, population: PopulationState, targets: Sequence[Target], free: Sequence[str], steps: int
) -> Fit:
    """Calibrates by gradient through the whole run; three times as long when the curvature says it is not there yet.

    Where an optimum at a bound leaves no curvature, the last values are used without intervals, and the note says so.

    Args:
        program: the mechanism; its values are where the search starts.
        population: named tensors at timestep 0.
        targets: observations of the part that may be fitted.
        free: parameters to fit.
        steps: optimiser steps of the first attempt.
    """
    try:
        fitted = calibrate(program, population, targets, steps=steps, lr=LEARNING_RATE, free=free)
    except CalibrationError:
        return _fit_without_curvature(program, population, targets, free, 3 * steps)
    estimates = {
        name: (float(each.value), float(each.lower), float(each.upper))
        for name, each in fitted.estimates.items()
        if each.value.ndim == 0
    }
    return Fit(fitted.values(), estimates)


def _fit_without_curvature(
    program: Program, population: PopulationState, targets: Sequence[Target], free: Sequence[str], steps: int
) -> Fit:
    parameters = {name: program.parameters[name] for name in free}
    raw = {name: parameter.unconstrained().requires_grad_() for name, parameter in parameters.items()}
    optimiser = torch.optim.Adam(list(raw.values()), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=steps, eta_min=LEARNING_RATE / 10)
    by_timestep: dict[int, list[Target]] = {}
    for target in targets:
        by_timestep.setdefault(target.timestep, []).append(target)
    for _ in range(steps):
        values = {name: parameters[name].constrain(value) for name, value in raw.items()}
        losses = [parameters[name].negative_log_prior(value) for name, value in values.items()]

        def observe(timestep: int, state: PopulationState, losses: list[Tensor] = losses) -> None:
            for target in by_timestep.get(timestep, ()):
                gap = (target.outcome(state).double() - target.value.double()) / (target.standard_error or 1.0)
                losses.append(0.5 * (gap**2).sum())

        run(program, population, max(by_timestep), record=observe, values=values)
        optimiser.zero_grad()
        torch.stack(losses).sum().backward()
        optimiser.step()
        schedule.step()
    fitted = {name: parameters[name].constrain(value.detach()) for name, value in raw.items()}
    estimates = {name: (float(value), None, None) for name, value in fitted.items() if value.ndim == 0}
    return Fit(fitted, estimates, AT_BOUND)
