"""Derivatives by reach and timing as central differences: what a small whole step in either direction is worth.

A gradient by these two fields is a slope at no exposure, or of a soft schedule, and no size; a difference of rollouts
on the same draws tells the size.

Legend: N agents, O options.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from assets.simulation.changed_events import ChangeableEvents
from assets.simulation.gradients import final_shares
from model.lsm.lsm import LSM

DIFFERENCED_FIELDS = ("exposure.reach", "at")
"""Fields of an event whose gradient does not tell the size."""

STEP_OF_FIELD = {"exposure.reach": 0.1, "at": 1.0}
"""Distance from the file's value to either side: a tenth of those whom the event could reach; one timestep."""


@dataclass(frozen=True)
class FiniteDifference:
    """A field of an event, the values around the file's that were rolled out, and the quotient per question [O].

    The quotient is None where the field can take one value alone: both values are then the file's.
    """

    event: str
    field: str
    value: float
    below: float
    above: float
    quotients: list[np.ndarray] | None


def values_around(field: str, value: float, num_timesteps: int) -> tuple[float, float]:
    """The values a step below and a step above, or the file's own where the step would lead out of the field's range.

    Reach stays within 0 … 1 and is clipped. An event starts at timestep 1 or later and is not put off beyond the last
    timestep that is simulated; one that starts after it can only come earlier.

    Args:
        field: one of `DIFFERENCED_FIELDS`.
        value: the field's value in the scenario's file.
        num_timesteps: timesteps that are simulated after the initial state.
    """
    lowest, highest = (0.0, 1.0) if field == "exposure.reach" else (1.0, max(float(num_timesteps), value))
    step = STEP_OF_FIELD[field]
    return max(round(value - step, 9), lowest), min(round(value + step, 9), highest)


def finite_differences(
    model: LSM, rollout: ChangeableEvents, file_shares: list[np.ndarray]
) -> Iterator[FiniteDifference]:
    """Difference quotients of final shares by the reach and the timing of every event, on the same draws.

    (share at the value above − share at the value below) / (value above − value below): a central difference, one-sided
    where one of the values is the file's. Triggers may fire at other timesteps than they do as the file has it.

    Cost: four rollouts without gradient per event, fewer where a value is the file's.

    Args:
        model: the student.
        rollout: the scenario's rollout and its events.
        file_shares: final shares per question as the file has it, each float64 [O].

    Source: LeVeque (2007), Finite difference methods for ordinary and partial differential equations, equation 1.3;
    common random numbers: Glasserman (2003), Monte Carlo methods in financial engineering, section 7.1.
    """
    device = next(model.parameters()).device

    def shares_at(index: int, field: str, value: float) -> list[np.ndarray]:
        if value == rollout.value_in_file(index, field):
            return file_shares
        return final_shares(model, rollout.changed(index, field, value).to(device))

    for index, name in enumerate(rollout.events["name"]):
        for field in DIFFERENCED_FIELDS:
            value = rollout.value_in_file(index, field)
            below, above = values_around(field, value, rollout.inputs.num_timesteps)
            quotients = None
            if above > below:
                ends = zip(shares_at(index, field, below), shares_at(index, field, above), strict=True)
                quotients = [(above_O - below_O) / (above - below) for below_O, above_O in ends]
            yield FiniteDifference(name, field, value, below, above, quotients)
