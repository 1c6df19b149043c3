"""The metrics of evidence, on plain arrays: distances of shares, dispersion, tails, effects, clusters, calibration.

Functions of distributions take arrays [..., O] and work along the last axis, so that one call scores many items. A
metric that is undefined for its data (for example tails of a reference without rare options) is nan, never a stand-in
number. Intervals for these figures are in `validation.intervals`.

Legend: O options, G groups, N observations, R reference observations.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from validation.metric_inputs import (
    MetricError,
    distribution,
    normalised_weights,
    observed_options,
    two_distributions,
    two_vectors,
    vector_of,
)


class EffectAgreement(NamedTuple):
    """How estimated treatment effects agree with reference effects."""

    correlation: float
    sign_agreement: float


class ClusterAgreement(NamedTuple):
    """How two clusterings of the same agents agree: adjusted Rand index, normalised mutual information."""

    adjusted_rand_index: float
    normalised_mutual_information: float


def tvd(p: ArrayLike, q: ArrayLike) -> np.ndarray:
    """Total variation distance ½ Σ |p − q|, 0…1, shape [...].

    Args:
        p: probabilities, shape [..., O].
        q: probabilities, of a shape that broadcasts with `p`.

    Raises:
        MetricError: negative entries, rows that do not sum to one, or different numbers of options.
    """
    p, q = two_distributions(p, q)
    return _half_l1(p, q)


def simbench_score(human: ArrayLike, simulated: ArrayLike) -> np.ndarray:
    """100 · (1 − TVD(human, simulated) / TVD(human, uniform)), shape [...]: 100 is perfect, 0 no better than uniform.

    nan where the human distribution is itself uniform. The score has no lower bound.

    Raises:
        MetricError: as `tvd`.

    Source: the score of SimBench, Hu et al. (2025).
    """
    human, simulated = two_distributions(human, simulated)
    distance = _half_l1(human, simulated)
    distance_of_uniform = _half_l1(human, np.full_like(human, 1.0 / human.shape[-1]))
    is_scorable = distance_of_uniform > 1e-12
    return np.where(is_scorable, 100.0 * (1.0 - distance / np.where(is_scorable, distance_of_uniform, 1.0)), np.nan)


def jsd(p: ArrayLike, q: ArrayLike) -> np.ndarray:
    """Jensen–Shannon divergence in bits, ½ KL(p‖m) + ½ KL(q‖m) with m = (p + q)/2; 0…1, shape [...].

    Raises:
        MetricError: as `tvd`.

    Source: Lin (1991), Divergence measures based on the Shannon entropy.
    """
    p, q = two_distributions(p, q)
    middle = (p + q) / 2.0
    return np.clip((_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2.0, 0.0, 1.0)


def w1_ordinal(p: ArrayLike, q: ArrayLike) -> np.ndarray:
    """Earth mover's distance on an ordinal scale, Σ |CDF gap| / (O − 1), 0…1, shape [...].

    Neighbouring options are one step apart; 1 means all mass moves from one end to the other.

    Raises:
        MetricError: as `tvd`, or a scale of fewer than two options.
    """
    p, q = two_distributions(p, q)
    if p.shape[-1] < 2:
        raise MetricError("w1_ordinal needs a scale of two options or more; found one. Leave such items out.")
    return np.abs(np.cumsum(p - q, axis=-1)[..., :-1]).sum(axis=-1) / (p.shape[-1] - 1)


def scored_variance(shares: ArrayLike, scores_O: ArrayLike) -> np.ndarray:
    """Variance of the option scores under the shares, Σ p s² − (Σ p s)², shape [...]."""
    shares, scores = distribution(shares, "shares"), np.asarray(scores_O, dtype=np.float64)
    centred = scores - (shares * scores).sum(axis=-1, keepdims=True)
    return (shares * centred**2).sum(axis=-1)


def dispersion_ratio(
    simulated: ArrayLike,
    reference: ArrayLike,
    simulated_weight_N: ArrayLike | None = None,
    reference_weight_R: ArrayLike | None = None,
) -> np.ndarray:
    """Var_sim / Var_ref per item, shape [...]; below one, the simulated people are too much alike.

    Args:
        simulated: answers as scores, shape [N, ...].
        reference: answers as scores, shape [R, ...].
        simulated_weight_N: weight per simulated agent, any scale.
        reference_weight_R: weight per respondent, any scale.

    nan where the reference does not vary.
    """
    reference_variance = _weighted_variance(reference, reference_weight_R)
    varies = reference_variance > 0.0
    ratio = _weighted_variance(simulated, simulated_weight_N) / np.where(varies, reference_variance, 1.0)
    return np.where(varies, ratio, np.nan)


def sign_flip_share(simulated: ArrayLike, reference: ArrayLike, minimum: float = 0.0) -> float:
    """Share of reference regression coefficients larger than `minimum` in size whose simulated sign is the opposite.

    A simulated coefficient of zero is no flip. nan when no reference coefficient is large enough.

    Raises:
        MetricError: the numbers of coefficients differ.
    """
    simulated, reference = two_vectors(simulated, reference)
    counts = np.abs(reference) > minimum
    return _mean((simulated * reference < 0.0)[counts])


def tail_survival(simulated: ArrayLike, reference: ArrayLike, low: float = 0.01, high: float = 0.05) -> float:
    """Share of options held by `low`…`high` of the reference whose simulated share is within a factor of two.

    Args:
        simulated: probabilities, shape [..., O].
        reference: probabilities, shape [..., O]; options of all items are pooled.

    nan when the reference has no such option.

    Raises:
        MetricError: as `tvd`.
    """
    simulated, reference = two_distributions(simulated, reference)
    is_rare = (reference >= low) & (reference <= high)
    survives = (simulated >= reference / 2.0) & (simulated <= reference * 2.0)
    return _mean(survives[is_rare])


def tail_excess(simulated: ArrayLike, reference: ArrayLike, reference_weight_R: ArrayLike | None = None) -> float:
    """P_sim outside the reference's q05…q95, divided by 0.10; 1 for equal continuous distributions, 0 without tails.

    Args:
        simulated: values of a continuous or finely graded quantity, shape [N].
        reference: values of the reference, shape [R].
        reference_weight_R: weight per respondent, any scale.

    On coarse scales the reference itself need not score 1: score it against itself for the noise floor.
    """
    simulated = vector_of(simulated, "simulated")
    q05, q95 = _weighted_quantiles(vector_of(reference, "reference"), reference_weight_R, (0.05, 0.95))
    return _mean((simulated < q05) | (simulated > q95)) / 0.10


def subgroup_gap(p_GO: ArrayLike, q_GO: ArrayLike) -> np.ndarray:
    """max over groups of TVD_g − mean TVD: how much worse the worst group fares, shape [...] for input [..., G, O].

    Raises:
        MetricError: as `tvd`.
    """
    distance_G = np.atleast_1d(tvd(p_GO, q_GO))
    return distance_G.max(axis=-1) - distance_G.mean(axis=-1)


def treatment_effect_agreement(estimated: ArrayLike, reference: ArrayLike) -> EffectAgreement:
    """Pearson correlation of estimated and reference effects, and the share of non-zero references with equal sign.

    The correlation is nan with fewer than two effects or where either side does not vary; the sign agreement is nan
    when every reference effect is zero.

    Raises:
        MetricError: the numbers of effects differ.
    """
    estimated, reference = two_vectors(estimated, reference)
    is_effect = reference != 0.0
    varies = len(reference) > 1 and estimated.std() > 0.0 and reference.std() > 0.0
    correlation = float(np.corrcoef(estimated, reference)[0, 1]) if varies else float("nan")
    return EffectAgreement(correlation, _mean((np.sign(estimated) == np.sign(reference))[is_effect]))


def cluster_agreement(labels_N: ArrayLike, reference_labels_N: ArrayLike) -> ClusterAgreement:
    """Agreement of two clusterings of the same N agents, whatever the names of the clusters.

    Raises:
        MetricError: the numbers of agents differ.

    Source: Hubert & Arabie (1985) for the adjusted Rand index; normalised mutual information with the arithmetic mean
    of the entropies, Vinh, Epps & Bailey (2010). Both as scikit-learn computes them.
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    labels, reference = np.asarray(labels_N).ravel(), np.asarray(reference_labels_N).ravel()
    if len(labels) != len(reference) or not len(labels):
        raise MetricError(f"cluster_agreement got {len(labels)} and {len(reference)} labels; pass one per agent twice.")
    return ClusterAgreement(
        float(adjusted_rand_score(reference, labels)), float(normalized_mutual_info_score(reference, labels))
    )


def ece(probabilities_NO: ArrayLike, observed_N: ArrayLike, num_bins: int = 10) -> float:
    """Expected calibration error of the likeliest option, Σ_b (n_b / N) |accuracy_b − confidence_b|, 0…1.

    Args:
        probabilities_NO: predicted probabilities.
        observed_N: index of the option that was observed.
        num_bins: equal-width bins of the confidence.

    Raises:
        MetricError: as `tvd`, or observed options that do not exist.

    Source: Guo et al. (2017), On calibration of modern neural networks, equation 3.
    """
    probabilities = distribution(probabilities_NO, "probabilities")
    observed = observed_options(observed_N, probabilities)
    confidence_N = probabilities.max(axis=-1)
    is_correct_N = (probabilities.argmax(axis=-1) == observed).astype(np.float64)
    bin_N = np.minimum((confidence_N * num_bins).astype(np.int64), num_bins - 1)
    gap_B = np.bincount(bin_N, weights=is_correct_N - confidence_N, minlength=num_bins)
    return float(np.abs(gap_B).sum() / len(observed))


def log_loss(probabilities_NO: ArrayLike, observed: ArrayLike, floor: float = 1e-6) -> float:
    """Mean cross-entropy of the observed answers under the predictions, in nats.

    Args:
        probabilities_NO: predicted probabilities.
        observed: index of the option observed, shape [N], or its distribution over options, shape [N, O].
        floor: probabilities are raised to this, so that one impossible answer costs −log(floor), not infinity.

    Raises:
        MetricError: as `tvd`, or observed options that do not exist.
    """
    probabilities = distribution(probabilities_NO, "probabilities")
    log_probability = np.log(np.maximum(probabilities, floor))
    if np.ndim(observed) == 2:
        _, shares = two_distributions(probabilities, observed)
        return float(-(shares * log_probability).sum(axis=-1).mean())
    options = observed_options(observed, probabilities)
    return float(-log_probability[np.arange(len(options)), options].mean())


def interval_coverage(lower: ArrayLike, upper: ArrayLike, truth: ArrayLike) -> float:
    """Share of intervals that hold the truth, ends included; to be compared with their nominal level.

    Raises:
        MetricError: the numbers of intervals and truths differ.
    """
    lower, upper = two_vectors(lower, upper)
    _, truth = two_vectors(lower, truth)
    return _mean((lower <= truth) & (truth <= upper))


def _half_l1(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return np.minimum(np.abs(p - q).sum(axis=-1) / 2.0, 1.0)


def _relative_entropy(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """KL(p‖q) in bits where q > 0 wherever p > 0; options without mass in p add nothing."""
    ratio = np.divide(p, q, out=np.ones_like(p), where=p > 0.0)
    return (p * np.log2(ratio)).sum(axis=-1)


def _weighted_variance(values: ArrayLike, weights: ArrayLike | None) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 0 or not len(array):
        raise MetricError(f"Answers have shape {array.shape}; pass [rows, ...] with at least one row.")
    weight = normalised_weights(weights, len(array)).reshape(-1, *([1] * (array.ndim - 1)))
    mean = (weight * array).sum(axis=0)
    return (weight * (array - mean) ** 2).sum(axis=0)


def _weighted_quantiles(values: np.ndarray, weights: ArrayLike | None, levels: tuple[float, ...]) -> np.ndarray:
    """Quantiles by linear interpolation; unweighted, those of numpy (Hyndman & Fan 1996, type 7)."""
    if weights is None:
        return np.quantile(values, levels)
    order = np.argsort(values, kind="stable")
    weight = normalised_weights(weights, len(values))[order]
    position = np.cumsum(weight) - weight / 2.0
    return np.interp(levels, position, values[order])


def _mean(truth_values: np.ndarray) -> float:
    return float(truth_values.mean()) if truth_values.size else float("nan")
