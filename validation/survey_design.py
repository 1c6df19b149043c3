"""Sampling error under a survey's design: weights, strata and clusters (primary sampling units).

Strata make a survey more precise than a simple random sample of its size, clusters and unequal weights less. Where a
file names neither strata nor clusters, Kish's design effect of the weights (`validation.intervals`) is all that can be
known.

Legend: N respondents, V variables (for shares: one indicator per option), B replicates.
"""

import numpy as np
from numpy.typing import ArrayLike

from validation.metric_inputs import normalised_weights


class DesignError(ValueError):
    """Design columns that no variance can be computed from; the message says what was found and what is allowed."""


def linearised_variance(
    value_NV: ArrayLike, weight_N: ArrayLike, stratum_N: ArrayLike, psu_N: ArrayLike, is_in_N: ArrayLike | None = None
) -> np.ndarray:
    """Variance of weighted means, shape [V], by Taylor linearisation with clusters drawn with replacement.

    With z_i = w_i (y_i − ȳ) / Σ w, the variance is Σ_h n_h / (n_h − 1) Σ_c (z_hc − z̄_h)² over the n_h clusters c of
    each stratum h. A stratum with one cluster is centred at zero, the mean of all, which overstates its part.

    Args:
        value_NV: variables per respondent, [N] or [N, V].
        weight_N: weight per respondent, any scale.
        stratum_N: stratum of each respondent.
        psu_N: cluster of each respondent, named within its stratum.
        is_in_N: who belongs to the subgroup that the mean is of; clusters without members still count. All by default.

    Raises:
        DesignError: lengths differ, or nobody is in the subgroup.
        MetricError: weights are negative or sum to zero.

    Source: Särndal, Swensson & Wretman (1992), Model assisted survey sampling, section 5.7 and 10.3 (domains); single
    clusters as the option "adjust" of Lumley (2010), Complex surveys.
    """
    value = np.asarray(value_NV, dtype=np.float64)
    value = value[:, None] if value.ndim == 1 else value
    strata, psus = np.asarray(stratum_N), np.asarray(psu_N)
    is_in = np.ones(len(value), dtype=bool) if is_in_N is None else np.asarray(is_in_N, dtype=bool)
    if not len(value) == len(strata) == len(psus) == len(is_in):
        raise DesignError(
            f"Found {len(value)} values, {len(strata)} strata, {len(psus)} clusters and {len(is_in)} memberships; "
            "pass one of each per respondent."
        )
    if not is_in.any():
        raise DesignError("Nobody is in the subgroup, so its mean has no variance. Leave empty subgroups out.")
    share_N = normalised_weights(np.where(is_in, np.asarray(weight_N, dtype=np.float64), 0.0), len(value))
    gap_NV = share_N[:, None] * (value - share_N @ value)
    stratum_of_C, cluster_N = _clusters(strata, psus)
    total_CV = np.zeros((len(stratum_of_C), value.shape[1]))
    np.add.at(total_CV, cluster_N, gap_NV)
    size_H = np.bincount(stratum_of_C)
    mean_HV = np.zeros((len(size_H), value.shape[1]))
    np.add.at(mean_HV, stratum_of_C, total_CV)
    mean_HV = np.where(size_H[:, None] > 1, mean_HV / size_H[:, None], 0.0)
    factor_H = np.where(size_H > 1, size_H / np.maximum(size_H - 1, 1), 1.0)
    return (factor_H[stratum_of_C, None] * (total_CV - mean_HV[stratum_of_C]) ** 2).sum(axis=0)


def effective_size(share_O: ArrayLike, variance_O: ArrayLike, num_respondents: int) -> float:
    """Size of the simple random sample whose shares would vary as much, Σ p (1 − p) / Σ Var(p).

    Shares that nobody contests (one option holds all) vary in no sample; their effective size is the number of
    respondents.

    Source: the first-order correction of Rao & Scott (1981), which averages design effects over options.
    """
    share, variance = np.asarray(share_O, dtype=np.float64), np.asarray(variance_O, dtype=np.float64)
    if variance.sum() <= 0.0:
        return float(num_respondents)
    return float((share * (1.0 - share)).sum() / variance.sum())


def bootstrap_weights(
    weight_N: ArrayLike, stratum_N: ArrayLike, psu_N: ArrayLike, *, num_replicates: int, seed: int
) -> np.ndarray:
    """Replicate weights [B, N]: n_h − 1 clusters of each stratum drawn again, weights scaled to stay unbiased.

    A statistic under each replicate's weights varies as it would over samples of the design. Strata with one cluster
    keep their weights in every replicate, so they add nothing.

    Raises:
        DesignError: lengths differ.

    Source: Rao, Wu & Yue (1992), Some recent work on resampling methods for complex surveys, section 2.
    """
    weight, strata, psus = np.asarray(weight_N, dtype=np.float64), np.asarray(stratum_N), np.asarray(psu_N)
    if not len(weight) == len(strata) == len(psus):
        raise DesignError(f"Found {len(weight)} weights, {len(strata)} strata and {len(psus)} clusters.")
    stratum_of_C, cluster_N = _clusters(strata, psus)
    generator = np.random.default_rng(seed)
    factor_BC = np.ones((num_replicates, len(stratum_of_C)))
    for stratum in range(int(stratum_of_C.max()) + 1):
        members = np.flatnonzero(stratum_of_C == stratum)
        if len(members) > 1:
            drawn = generator.multinomial(
                len(members) - 1, np.full(len(members), 1.0 / len(members)), size=num_replicates
            )
            factor_BC[:, members] = drawn * len(members) / (len(members) - 1)
    return weight * factor_BC[:, cluster_N]


def _clusters(strata_N: np.ndarray, psus_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The stratum [C] of every cluster, and the cluster [N] of every respondent, both counted from 0."""
    _, stratum_N = np.unique(strata_N, return_inverse=True)
    _, psu_N = np.unique(psus_N, return_inverse=True)
    pairs = stratum_N.astype(np.int64) * (int(psu_N.max()) + 1) + psu_N
    _, first_C, cluster_N = np.unique(pairs, return_index=True, return_inverse=True)
    return stratum_N[first_C], cluster_N
