"""Replicate weights: the variance of an estimate when the weights were calibrated.

Every replicate changes the design weights and is calibrated again, so that the variance knows what calibration gained.
The bootstrap multiplies each design weight by an independent exponential draw of mean and variance one; no respondent
vanishes, so no margin level becomes empty. The jackknife leaves out one random group of respondents at a time.

Source: Beaumont & Patak (2012), On the generalized bootstrap for sample surveys; Kott (2001), The delete-a-group
jackknife.

Legend: R respondents, B replicates.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from assets.population.population_file import ReplicateEntry
from assets.population.weighting import CalibrationMethod, Calibrator


@dataclass(frozen=True)
class Replicate:
    """Design weights of one replicate, and the same calibrated."""

    design_weight_R: np.ndarray
    calibrated_weight_R: np.ndarray


def replicate_weights(
    design_weight_R: np.ndarray,
    calibrator: Calibrator,
    method: CalibrationMethod,
    entry: ReplicateEntry,
    rng: np.random.Generator,
) -> Iterator[Replicate]:
    """Yields the replicates one after another, so that memory holds one.

    Args:
        design_weight_R: design weight per respondent.
        calibrator: the margins laid over the respondents.
        method: how the weights were calibrated.
        entry: kind and number of replicates.
        rng: draws multipliers or groups.

    Raises:
        CalibrationError: a replicate cannot be calibrated, for example because a jackknife group holds a whole level.
    """
    num_respondents = len(design_weight_R)
    group_R = rng.permutation(np.arange(num_respondents) % entry.number)
    for index in range(entry.number):
        if entry.method == "bootstrap":
            factor_R = rng.exponential(size=num_respondents)
        else:
            factor_R = np.where(group_R == index, 0.0, entry.number / (entry.number - 1))
        design_R = design_weight_R * factor_R
        yield Replicate(design_R, calibrator.calibrate(design_R, method, is_replicate=True).calibrated_weight_R)


def replicate_variance(estimate_B: np.ndarray, estimate: np.ndarray | float, entry: ReplicateEntry) -> np.ndarray:
    """Variance of an estimate from its replicates.

    Args:
        estimate_B: estimates of the replicates, replicates along the first axis.
        estimate: the estimate with the full weights.
        entry: kind and number of replicates.
    """
    squared = np.square(estimate_B - estimate).sum(axis=0)
    return squared / entry.number if entry.method == "bootstrap" else squared * (entry.number - 1) / entry.number
