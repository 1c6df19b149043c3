"""Metrics against closed forms and against scipy and scikit-learn where they have the same quantity."""

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from scipy.spatial.distance import jensenshannon

from validation import metrics
from validation.metric_inputs import MetricError

RNG = np.random.default_rng(3)
P = RNG.dirichlet(np.ones(5), size=(4, 3))
Q = RNG.dirichlet(np.ones(5), size=(4, 3))


def test_tvd_of_a_known_case():
    assert metrics.tvd([0.5, 0.3, 0.2], [0.2, 0.3, 0.5]) == pytest.approx(0.3)
    assert metrics.tvd(P, Q).shape == (4, 3)


def test_simbench_score_of_known_cases():
    human = [0.7, 0.1, 0.1, 0.1]
    assert metrics.simbench_score(human, human) == pytest.approx(100.0)
    assert metrics.simbench_score(human, [0.25] * 4) == pytest.approx(0.0)
    assert metrics.simbench_score(human, [0.1, 0.7, 0.1, 0.1]) == pytest.approx(100 * (1 - 0.6 / 0.45))
    assert np.isnan(metrics.simbench_score([0.25] * 4, human))


def test_jsd_is_the_square_of_scipys_distance():
    np.testing.assert_allclose(metrics.jsd(P, Q), jensenshannon(P, Q, base=2, axis=-1) ** 2, atol=1e-12)
    assert metrics.jsd([1.0, 0.0], [0.0, 1.0]) == pytest.approx(1.0)


def test_w1_is_scipys_distance_over_the_length_of_the_scale():
    scores = np.arange(5)
    wanted = [
        scipy.stats.wasserstein_distance(scores, scores, p, q) / 4
        for p, q in zip(P.reshape(-1, 5), Q.reshape(-1, 5), strict=True)
    ]
    np.testing.assert_allclose(metrics.w1_ordinal(P, Q).ravel(), wanted, atol=1e-12)


def test_variances_and_their_ratio():
    scores = [-1.0, 0.0, 1.0]
    assert metrics.scored_variance([0.25, 0.5, 0.25], scores) == pytest.approx(0.5)
    simulated, reference = RNG.normal(0, 1, (500, 2)), RNG.normal(0, [1, 2], (400, 2))
    weight = RNG.gamma(2.0, size=400)
    wanted = [np.var(simulated[:, i]) / np.cov(reference[:, i], aweights=weight, ddof=0) for i in range(2)]
    np.testing.assert_allclose(metrics.dispersion_ratio(simulated, reference, reference_weight_R=weight), wanted)
    assert np.isnan(metrics.dispersion_ratio([1.0, 2.0], [3.0, 3.0]))


def test_sign_flips():
    assert metrics.sign_flip_share([1.0, -1.0, 0.0, 2.0], [1.0, 1.0, 1.0, -0.01], minimum=0.1) == pytest.approx(1 / 3)
    assert np.isnan(metrics.sign_flip_share([1.0], [0.0]))


def test_tail_survival_of_a_known_case():
    reference = [[0.95, 0.03, 0.02], [0.5, 0.49, 0.01]]
    simulated = [[0.96, 0.04, 0.0], [0.5, 0.48, 0.02]]
    assert metrics.tail_survival(simulated, reference) == pytest.approx(2 / 3)
    assert np.isnan(metrics.tail_survival([0.5, 0.5], [0.5, 0.5]))


def test_tail_excess_counts_what_lies_outside():
    reference = np.arange(1, 1001, dtype=float)
    assert metrics.tail_excess(reference, reference) == pytest.approx(1.0, abs=0.01)
    assert metrics.tail_excess(np.full(10, 500.0), reference) == 0.0
    assert metrics.tail_excess([0.0, 2000.0], reference) == pytest.approx(10.0)
    doubled = np.concatenate([reference, reference[reference > 900]])
    weight = np.where(reference > 900, 2.0, 1.0)
    simulated = RNG.uniform(0, 1000, 5_000)
    weighted = metrics.tail_excess(simulated, reference, weight)
    assert weighted == pytest.approx(metrics.tail_excess(simulated, doubled), abs=0.03)


def test_subgroup_gap_of_a_known_case():
    p = [[1.0, 0.0], [0.5, 0.5], [0.5, 0.5]]
    q = [[0.4, 0.6], [0.5, 0.5], [0.5, 0.5]]
    assert metrics.subgroup_gap(p, q) == pytest.approx(0.6 - 0.2)
    assert metrics.subgroup_gap(P, Q).shape == (4,)


def test_treatment_effects():
    estimated, reference = np.array([0.1, -0.2, 0.3, 0.0]), np.array([0.2, -0.1, -0.1, 0.0])
    agreement = metrics.treatment_effect_agreement(estimated, reference)
    assert agreement.correlation == pytest.approx(scipy.stats.pearsonr(estimated, reference).statistic)
    assert agreement.sign_agreement == pytest.approx(2 / 3)
    assert all(np.isnan(metrics.treatment_effect_agreement([0.1], [0.0])))


def test_clusters_agree_whatever_their_names():
    agreement = metrics.cluster_agreement([0, 0, 1, 1, 2], ["b", "b", "a", "a", "c"])
    assert agreement == pytest.approx((1.0, 1.0))
    labels, other = RNG.integers(0, 3, 100), RNG.integers(0, 3, 100)
    assert metrics.cluster_agreement(labels, other).adjusted_rand_index == pytest.approx(
        sklearn.metrics.adjusted_rand_score(labels, other)
    )


def test_ece_of_known_cases():
    probabilities = np.array([[0.8, 0.2]] * 10)
    assert metrics.ece(probabilities, [0] * 8 + [1] * 2) == pytest.approx(0.0)
    assert metrics.ece(probabilities, [0] * 5 + [1] * 5) == pytest.approx(0.3)
    assert metrics.ece([[1.0, 0.0]], [0]) == pytest.approx(0.0)


def test_log_loss_is_sklearns():
    probabilities = P.reshape(-1, 5)
    observed = RNG.integers(0, 5, len(probabilities))
    wanted = sklearn.metrics.log_loss(observed, probabilities, labels=range(5))
    assert metrics.log_loss(probabilities, observed) == pytest.approx(wanted)
    assert metrics.log_loss(probabilities, np.eye(5)[observed]) == pytest.approx(wanted)
    assert metrics.log_loss([[1.0, 0.0]], [1]) == pytest.approx(-np.log(1e-6))


def test_interval_coverage():
    assert metrics.interval_coverage([0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0.5, 2]) == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("p", "q", "message"),
    [
        ([0.5, 0.6], [0.5, 0.5], "sums from 1.1 to 1.1"),
        ([1.5, -0.5], [0.5, 0.5], "smallest entry -0.5"),
        ([0.5, 0.5], [0.2, 0.3, 0.5], "2 and 3 options"),
        ([[0.5, 0.5]] * 2, [[0.5, 0.5]] * 3, "do not go together"),
        ([], [], "not empty"),
        ([np.nan, 1.0], [0.5, 0.5], "no array of probabilities"),
    ],
)
def test_bad_distributions_are_refused(p, q, message):
    with pytest.raises(MetricError, match=message):
        metrics.tvd(p, q)


def test_other_bad_input_is_refused():
    with pytest.raises(MetricError, match="pairwise"):
        metrics.treatment_effect_agreement([1.0, 2.0], [1.0])
    with pytest.raises(MetricError, match="integers from 0 to 1"):
        metrics.ece([[0.5, 0.5]], [2])
    with pytest.raises(MetricError, match="one option index per observation"):
        metrics.log_loss([[0.5, 0.5]], [0, 1])
    with pytest.raises(MetricError, match="one per row"):
        metrics.dispersion_ratio([1.0, 2.0], [1.0, 2.0], reference_weight_R=[1.0])
    with pytest.raises(MetricError, match="two options or more"):
        metrics.w1_ordinal([1.0], [1.0])
    with pytest.raises(MetricError, match="one per agent"):
        metrics.cluster_agreement([0], [0, 1])
