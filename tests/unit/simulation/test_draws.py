"""Draws are uniform, addressable and follow the probabilities."""

import numpy as np
import pytest
from scipy import stats

from assets.simulation.draws import replicate_seed, sample_options, uniform_draws

ADDRESS = {"seed": 20161108, "replicate": 0, "question_id": "support", "timestep": 3}


def test_draws_are_uniform_over_agents_and_uncorrelated_over_time():
    agents_N = np.arange(20_000)
    now_N = uniform_draws(agents_N, **ADDRESS)
    next_N = uniform_draws(agents_N, **ADDRESS | {"timestep": 4})
    assert stats.kstest(now_N, "uniform").pvalue > 0.001
    assert abs(np.corrcoef(now_N, next_N)[0, 1]) < 0.03
    assert abs(np.corrcoef(now_N[1:], now_N[:-1])[0, 1]) < 0.03


def test_a_draw_does_not_depend_on_its_company():
    all_N = uniform_draws(np.arange(100), **ADDRESS)
    some_N = uniform_draws(np.array([7, 93]), **ADDRESS)
    assert some_N.tolist() == all_N[[7, 93]].tolist()


@pytest.mark.parametrize("other", [{"seed": 1}, {"replicate": 1}, {"question_id": "trust"}, {"timestep": 2}])
def test_every_part_of_the_address_matters(other):
    agents_N = np.arange(1_000)
    assert not np.any(uniform_draws(agents_N, **ADDRESS) == uniform_draws(agents_N, **ADDRESS | other))


def test_options_are_drawn_as_often_as_likely():
    probability_NO = np.tile([0.5, 0.0, 0.3, 0.2], (50_000, 1))
    drawn_N = sample_options(probability_NO, uniform_draws(np.arange(50_000), **ADDRESS))
    np.testing.assert_allclose(np.bincount(drawn_N, minlength=4) / 50_000, probability_NO[0], atol=0.01)
    assert not (drawn_N == 1).any()


def test_impossible_first_option_is_not_drawn_at_zero():
    assert sample_options(np.array([[0.0, 1.0], [1.0, 0.0]]), np.zeros(2)).tolist() == [1, 0]


def test_replicate_seeds_differ_and_fit_a_signed_word():
    seeds = {replicate_seed(seed, replicate) for seed in range(30) for replicate in range(30)}
    assert len(seeds) == 900
    assert all(0 <= seed < 2**62 for seed in seeds)
