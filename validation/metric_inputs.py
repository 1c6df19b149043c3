"""Checks and prepares what the metrics are given: arrays of the right shape, rows that are probabilities.

MetricError   arrays that no metric can be computed from: wrong shapes, or rows that are no probabilities
"""

import numpy as np
from numpy.typing import ArrayLike

SUM_TOLERANCE = 1e-3
"""Rows whose sum is this close to one are rescaled (tables hold single precision); others are refused."""


class MetricError(ValueError):
    """The arrays cannot be scored; the message says which, what was found and what is allowed."""


def distribution(values: ArrayLike, name: str) -> np.ndarray:
    """Probabilities [..., O] that sum to one exactly; refuses what is no distribution, naming it `name`."""
    shares = np.asarray(values, dtype=np.float64)
    if shares.ndim == 0 or shares.size == 0:
        raise MetricError(f"{name} has shape {shares.shape}; pass probabilities of shape [..., options], not empty.")
    totals = shares.sum(axis=-1, keepdims=True)
    if not np.isfinite(shares).all() or shares.min() < 0.0 or np.abs(totals - 1.0).max() > SUM_TOLERANCE:
        raise MetricError(
            f"{name} is no array of probabilities: smallest entry {np.min(shares):.4g}, "
            f"sums from {totals.min():.4g} to {totals.max():.4g}. "
            f"Entries must be zero or more and sum to one within {SUM_TOLERANCE} along the last axis; "
            "normalise counts first and leave items without answers out."
        )
    return shares / totals


def two_distributions(p: ArrayLike, q: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays of probabilities over the same options, broadcast to one shape."""
    first, second = distribution(p, "the first argument"), distribution(q, "the second argument")
    if first.shape[-1] != second.shape[-1]:
        raise MetricError(
            f"The distributions have {first.shape[-1]} and {second.shape[-1]} options. "
            "Pass both over the same options, in the same order, with zeros for options that nobody chose."
        )
    try:
        broadcast = np.broadcast_arrays(first, second)
    except ValueError as error:
        raise MetricError(f"Shapes {first.shape} and {second.shape} do not go together. Align the items.") from error
    return broadcast[0], broadcast[1]


def vector_of(values: ArrayLike, name: str) -> np.ndarray:
    """Finite numbers in one dimension, at least one of them."""
    vector = np.asarray(values, dtype=np.float64).ravel()
    if not len(vector) or not np.isfinite(vector).all():
        raise MetricError(
            f"{name} holds {len(vector)} values, all of which must be finite, and at least one is needed."
        )
    return vector


def two_vectors(first: ArrayLike, second: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Two vectors of equal length."""
    one, two = vector_of(first, "the first argument"), vector_of(second, "the second argument")
    if len(one) != len(two):
        raise MetricError(f"The arguments hold {len(one)} and {len(two)} values; pass them pairwise.")
    return one, two


def normalised_weights(weights: ArrayLike | None, size: int) -> np.ndarray:
    """Weights that sum to one, equal where none are given."""
    weight = np.ones(size) if weights is None else vector_of(weights, "the weights")
    if len(weight) != size or weight.min() < 0.0 or weight.sum() <= 0.0:
        raise MetricError(
            f"Found {len(weight)} weights for {size} rows; pass one per row, none negative, some positive."
        )
    return weight / weight.sum()


def observed_options(observed: ArrayLike, probabilities: np.ndarray) -> np.ndarray:
    """Indices of options, one per row of `probabilities`."""
    options = np.asarray(observed)
    if probabilities.ndim != 2 or options.shape != (len(probabilities),):
        raise MetricError(
            f"Predictions have shape {probabilities.shape} and observed options {options.shape}; "
            "pass [observations, options] and one option index per observation."
        )
    if not np.issubdtype(options.dtype, np.integer) or options.min() < 0 or options.max() >= probabilities.shape[-1]:
        raise MetricError(f"Observed options must be integers from 0 to {probabilities.shape[-1] - 1}.")
    return options
