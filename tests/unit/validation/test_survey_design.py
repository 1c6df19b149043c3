"""Design-based errors against closed forms, against simulated surveys, and against each other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from validation.intervals import design_effect
from validation.survey_design import DesignError, bootstrap_weights, effective_size, linearised_variance

RNG = np.random.default_rng(5)


def test_a_simple_random_sample_has_the_textbook_variance():
    value, ones = RNG.normal(size=200), np.ones(200)
    found = linearised_variance(value, ones, ones, np.arange(200))
    assert found == pytest.approx([value.var(ddof=1) / 200])


def test_unequal_weights_alone_give_about_kishs_effect():
    weight, holds = np.exp(RNG.normal(0, 0.7, 4_000)), RNG.random(4_000) < 0.4
    share = np.average(holds, weights=weight)
    variance = linearised_variance(holds, weight, np.zeros(4_000), np.arange(4_000))[0]
    assert share * (1 - share) / variance == pytest.approx(4_000 / design_effect(weight), rel=0.1)


def test_copies_within_clusters_count_once():
    value = RNG.normal(size=50)
    once = linearised_variance(value, np.ones(50), np.ones(50), np.arange(50))
    copied = linearised_variance(np.repeat(value, 7), np.ones(350), np.ones(350), np.repeat(np.arange(50), 7))
    assert copied == pytest.approx(once)


def test_strata_take_out_what_lies_between_them():
    stratum = np.repeat([0, 1], 100)
    assert linearised_variance(stratum, np.ones(200), stratum, np.arange(200)) == pytest.approx([0.0])
    assert linearised_variance(stratum, np.ones(200), np.zeros(200), np.arange(200))[0] > 0.001


def test_a_subgroup_keeps_the_clusters_that_have_none_of_it():
    value, weight = RNG.random(120), RNG.uniform(1, 2, 120)
    psu, stratum, is_in = np.arange(120) // 6, np.arange(120) // 60, np.arange(120) % 12 < 6
    share = np.where(is_in, weight, 0) / weight[is_in].sum()
    total = np.bincount(psu, share * (value - share @ value))
    wanted = sum(10 / 9 * ((part - part.mean()) ** 2).sum() for part in (total[:10], total[10:]))
    assert linearised_variance(value, weight, stratum, psu, is_in) == pytest.approx([wanted])


def test_a_single_cluster_is_not_ignored():
    value, stratum, psu = np.array([0.0, 1.0, 0.0, 1.0]), np.array([0, 0, 0, 1]), np.array([0, 1, 2, 0])
    gap = (value - 0.5) / 4
    wanted = 1.5 * ((gap[:3] - gap[:3].mean()) ** 2).sum() + gap[3] ** 2
    assert linearised_variance(value, np.ones(4), stratum, psu) == pytest.approx([wanted])


def test_replicates_vary_as_linearisation_says():
    num = 900
    stratum, psu = np.arange(num) // 90, np.arange(num) // 9
    value, weight = RNG.normal(size=num) + RNG.normal(size=100)[psu], RNG.uniform(0.5, 2, num)
    replicate_BN = bootstrap_weights(weight, stratum, psu, num_replicates=2_000, seed=1)
    mean_B = replicate_BN @ value / replicate_BN.sum(axis=1)
    assert mean_B.var() == pytest.approx(linearised_variance(value, weight, stratum, psu)[0], rel=0.15)
    assert replicate_BN.mean(axis=0) == pytest.approx(weight, rel=0.2)


def test_intervals_of_clustered_samples_cover_where_kishs_do_not():
    """40 clusters of 15 like-minded people: the design's interval covers, one that knows weights only does not."""
    covered = {"design": 0, "kish": 0}
    for _ in range(300):
        level_C = RNG.beta(2, 2, 40)
        holds = RNG.random((40, 15)) < level_C[:, None]
        share, value = holds.mean(), holds.ravel().astype(float)
        spread = {
            "design": np.sqrt(linearised_variance(value, np.ones(600), np.zeros(600), np.repeat(np.arange(40), 15))[0]),
            "kish": np.sqrt(share * (1 - share) / 600),
        }
        for name, each in spread.items():
            covered[name] += abs(share - 0.5) <= 2.02 * each
    assert covered["design"] / 300 > 0.91
    assert covered["kish"] / 300 < 0.85


@settings(max_examples=40)
@given(st.integers(2, 40), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_scale_of_weights_and_names_of_clusters_do_not_matter(num, num_strata, seed):
    rng = np.random.default_rng(seed)
    value, weight = rng.random((num, 3)), rng.uniform(0.1, 5, num)
    stratum, psu = rng.integers(0, num_strata, num), rng.integers(0, 5, num)
    once = linearised_variance(value, weight, stratum, psu)
    again = linearised_variance(value, 13 * weight, np.array([f"s{h}" for h in stratum]), 100 - psu)
    assert (once >= 0).all()
    np.testing.assert_allclose(once, again, atol=1e-15)


def test_the_effective_size_of_a_simple_random_sample_is_one_less_than_its_size():
    answer = RNG.integers(0, 3, 80)
    one_hot = np.eye(3)[answer]
    variance = linearised_variance(one_hot, np.ones(80), np.ones(80), np.arange(80))
    assert effective_size(one_hot.mean(axis=0), variance, 80) == pytest.approx(79)
    assert effective_size([1.0, 0.0], [0.0, 0.0], 80) == 80


def test_wrong_designs_are_refused():
    with pytest.raises(DesignError, match="one of each per respondent"):
        linearised_variance(np.ones(3), np.ones(3), np.ones(2), np.ones(3))
    with pytest.raises(DesignError, match="Nobody is in the subgroup"):
        linearised_variance(np.ones(3), np.ones(3), np.ones(3), np.ones(3), np.zeros(3))
    with pytest.raises(DesignError, match="3 weights, 2 strata"):
        bootstrap_weights(np.ones(3), np.ones(2), np.ones(3), num_replicates=2, seed=0)
