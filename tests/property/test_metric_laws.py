"""Laws of the metrics, on generated distributions."""

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from validation.intervals import design_effect, weighted_share_interval, wilson_interval
from validation.metrics import (
    cluster_agreement,
    ece,
    jsd,
    log_loss,
    simbench_score,
    subgroup_gap,
    tvd,
    w1_ordinal,
)

TOLERANCE = 1e-9


@st.composite
def distributions(draw, count=2):
    """`count` arrays of one shape [..., O], with zeros, whose rows sum to one."""
    shape = (*draw(st.lists(st.integers(1, 3), max_size=2)), draw(st.integers(2, 6)))
    found = []
    for _ in range(count):
        counts = draw(hnp.arrays(np.int64, shape, elements=st.integers(0, 20))).astype(np.float64)
        counts[..., 0] += counts.sum(axis=-1) == 0
        found.append(counts / counts.sum(axis=-1, keepdims=True))
    return found


@given(distributions())
def test_distances_lie_between_zero_and_one_and_are_symmetric(pair):
    p, q = pair
    for distance in (tvd, jsd, w1_ordinal):
        value = distance(p, q)
        assert value.shape == p.shape[:-1]
        assert (value >= 0.0).all()
        assert (value <= 1.0 + TOLERANCE).all()
        np.testing.assert_allclose(value, distance(q, p), atol=TOLERANCE)


@given(distributions())
def test_distances_are_zero_exactly_where_distributions_are_equal(pair):
    p, q = pair
    is_equal = (np.abs(p - q) < 1e-12).all(axis=-1)
    for distance in (tvd, jsd, w1_ordinal):
        np.testing.assert_allclose(distance(p, p), 0.0, atol=1e-12)
        assert ((distance(p, q) < 1e-10) == is_equal).all()


@given(distributions(count=3))
def test_triangle_inequality(triple):
    p, q, r = triple
    for distance in (tvd, w1_ordinal, lambda a, b: np.sqrt(jsd(a, b))):
        assert (distance(p, r) <= distance(p, q) + distance(q, r) + 1e-6).all()


@given(distributions(), st.randoms(use_true_random=False))
def test_order_of_options_matters_to_ordinal_distances_only(pair, random):
    p, q = pair
    order = list(range(p.shape[-1]))
    random.shuffle(order)
    for distance in (tvd, jsd):
        np.testing.assert_allclose(distance(p[..., order], q[..., order]), distance(p, q), atol=TOLERANCE)
    np.testing.assert_allclose(w1_ordinal(p[..., ::-1], q[..., ::-1]), w1_ordinal(p, q), atol=TOLERANCE)


@given(distributions())
def test_known_bounds_between_distances(pair):
    p, q = pair
    assert (w1_ordinal(p, q) <= tvd(p, q) + TOLERANCE).all()
    assert (jsd(p, q) <= tvd(p, q) + TOLERANCE).all()
    assert (tvd(p, q) ** 2 / (2 * np.log(2)) <= jsd(p, q) + TOLERANCE).all()


@given(distributions())
def test_merging_options_never_raises_the_distance(pair):
    p, q = pair
    assume(p.shape[-1] > 2)

    def merge(x):
        return np.concatenate([x[..., :1] + x[..., 1:2], x[..., 2:]], axis=-1)

    assert (tvd(merge(p), merge(q)) <= tvd(p, q) + TOLERANCE).all()
    assert (jsd(merge(p), merge(q)) <= jsd(p, q) + TOLERANCE).all()


@given(distributions())
def test_one_call_scores_every_item_as_single_calls_do(pair):
    p, q = pair
    for metric in (tvd, jsd, w1_ordinal, simbench_score):
        together = np.asarray(metric(p, q))
        one_by_one = [metric(a, b) for a, b in zip(p.reshape(-1, p.shape[-1]), q.reshape(-1, p.shape[-1]), strict=True)]
        np.testing.assert_allclose(together.ravel(), one_by_one, atol=TOLERANCE)


@given(distributions())
def test_simbench_score_is_a_hundred_at_most(pair):
    score = simbench_score(*pair)
    assert (score[np.isfinite(score)] <= 100.0 + TOLERANCE).all()


@given(distributions())
def test_subgroup_gap_is_not_negative_and_blind_to_the_order_of_groups(pair):
    p, q = pair
    assume(p.ndim > 1)
    gap = subgroup_gap(p, q)
    assert (gap >= -TOLERANCE).all()
    np.testing.assert_allclose(gap, subgroup_gap(p[..., ::-1, :], q[..., ::-1, :]), atol=TOLERANCE)


@given(distributions(count=1), st.integers(0, 2**32 - 1))
def test_scores_of_predictions_are_blind_to_the_order_of_observations(one, seed):
    predicted = one[0].reshape(-1, one[0].shape[-1])
    rng = np.random.default_rng(seed)
    observed = rng.integers(0, predicted.shape[-1], len(predicted))
    order = rng.permutation(len(predicted))
    assert abs(ece(predicted, observed) - ece(predicted[order], observed[order])) < TOLERANCE
    assert abs(log_loss(predicted, observed) - log_loss(predicted[order], observed[order])) < TOLERANCE
    assert 0.0 <= ece(predicted, observed) <= 1.0
    assert log_loss(predicted, observed) >= 0.0


@given(distributions())
def test_no_prediction_beats_the_truth_in_log_loss(pair):
    truth, other = (x.reshape(-1, x.shape[-1]) for x in pair)
    assert log_loss(truth, truth) <= log_loss(other, truth) + 1e-4


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.permutations(range(5)))
def test_names_of_clusters_do_not_matter(labels, names):
    renamed = [names[label] for label in labels]
    assert np.allclose(cluster_agreement(renamed, labels), 1.0)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_its_share_and_mirrors(counts):
    successes, trials = counts
    found, mirrored = wilson_interval(successes, trials), wilson_interval(trials - successes, trials)
    assert 0.0 <= found.lower <= found.value <= found.upper <= 1.0
    assert abs(found.lower - (1.0 - mirrored.upper)) < TOLERANCE
    wider = wilson_interval(successes / 2, trials / 2)
    assert wider.upper - wider.lower >= found.upper - found.lower - TOLERANCE


@given(hnp.arrays(np.float64, st.integers(2, 30), elements=st.floats(0.1, 10.0)), st.floats(0.1, 100.0))
def test_unequal_weights_widen_intervals_and_their_scale_does_not_matter(weight, scale):
    holds = np.arange(len(weight)) % 2 == 0
    effect = design_effect(weight)
    assert 1.0 - TOLERANCE <= effect <= len(weight)
    assert abs(effect - design_effect(weight * scale)) < 1e-6
    found, scaled = weighted_share_interval(holds, weight), weighted_share_interval(holds, weight * scale)
    assert np.allclose(found, scaled)
