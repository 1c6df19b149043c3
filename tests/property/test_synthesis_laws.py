"""Laws of what synthesis adds: counties, children, noise, exact rounding, and the joint structure read back."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.population.allotment import allot_exactly, largest_gap
from assets.population.children import draw_children
from assets.population.counties import VOTES, assign_counties, county_shares
from assets.population.joint_structure import cramers_v
from assets.population.noise import Originals, make_distinct
from assets.population.records import attribute_codes
from tests.property.test_population_laws import make_respondents


@given(st.integers(0, 2**32 - 1), st.integers(30, 400), st.integers(1, 12))
@settings(max_examples=25, deadline=None)
def test_counties_get_their_people_of_every_vote(seed, num_agents, num_counties):
    rng = np.random.default_rng(seed)
    household = np.sort(rng.integers(0, max(1, num_agents // 2), num_agents))
    household = np.unique(household, return_inverse=True)[1]
    vote = rng.integers(0, len(VOTES), num_agents)
    shares = pl.DataFrame(
        {"county_fips": np.arange(1, num_counties + 1, dtype=np.int32)}
        | {name: rng.dirichlet(np.full(num_counties, 3.0)) for name in VOTES}
    )
    county = assign_counties(vote, household, shares, rng)
    assert len(county) == household.max() + 1
    assert set(county) <= set(shares["county_fips"])
    people = np.bincount(county[household], minlength=num_counties + 1)[1:]
    expected = sum((vote == index).sum() * shares[name].to_numpy() for index, name in enumerate(VOTES))
    largest_household = np.bincount(household).max()
    assert np.abs(people - expected).max() <= 2 * largest_household


def test_a_state_whose_counties_repeat_one_result_has_no_counties():
    votes = pl.DataFrame(
        {
            "year": [2016] * 4,
            "fips": [2013, 2016, 1001, 1003],
            "state": ["AK", "AK", "AL", "AL"],
            "votes_gop": [5.0, 5.0, 3.0, 4.0],
            "total_votes": [9.0, 9.0, 4.0, 9.0],
        }
    )
    shares = county_shares(votes)
    assert list(shares) == ["AL"]
    assert shares["AL"]["other_candidate"].to_list() == pytest.approx([1 / 6, 5 / 6])


@given(st.integers(0, 2**32 - 1), st.integers(1, 500))
@settings(max_examples=25, deadline=None)
def test_children_are_minors_younger_than_their_parents_by_a_generation(seed, num_households):
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 95, num_households).astype(float)
    children = draw_children(age, rng.random(num_households) < 0.5, rng.random(num_households) < 0.5, rng)
    assert len(children.age_K) == children.num_children_H.sum()
    assert ((children.age_K >= 0) & (children.age_K < 18)).all()
    parent = np.repeat(age, children.num_children_H)
    assert (parent - children.age_K >= 14).all()
    assert children.num_children_H[age > 59].sum() == 0


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=8, deadline=None)
def test_noise_leaves_no_copy_and_no_margin_changed(seed):
    rng = np.random.default_rng(seed)
    donors = make_respondents(rng, 150).with_columns(pl.col("party").fill_null("independent"))
    donor_N = rng.integers(0, donors.height, 300)
    people = donors[donor_N].with_columns(pl.lit([], dtype=pl.List(pl.String)).alias("imputed_attributes"))
    originals = Originals.of(donors)
    assert originals.copies(attribute_codes(people), donor_N).all()
    made = make_distinct(people, donor_N, originals, ("sex", "age_group", "ideology"), rng)
    assert not originals.copies(attribute_codes(made), donor_N).any()
    for name in ("sex", "age_group", "ideology", "state", "party"):
        assert (made[name] == people[name]).all()
    changed = (made["age"] != people["age"]) | (made["income_group"] != people["income_group"])
    assert (changed | (made["religion_importance"] != people["religion_importance"])).all()
    assert (made["imputed_attributes"].list.len() > 0).all()


@given(st.integers(0, 2**32 - 1), st.integers(30, 300), st.integers(20, 3_000))
@settings(max_examples=20, deadline=None)
def test_exact_allotment_keeps_cells_and_two_margins_to_the_person(seed, num_cells, num_agents):
    rng = np.random.default_rng(seed)
    level_MC = np.stack([np.arange(num_cells) % 5, np.arange(num_cells) // 5])
    expected = rng.dirichlet(np.full(num_cells, 0.7)) * num_agents
    start = np.floor(expected).astype(np.int64)
    start[np.argsort(start - expected)[: num_agents - start.sum()]] += 1
    count = allot_exactly(expected, level_MC, start)
    assert count.sum() == num_agents
    assert (np.abs(count - expected) < 1 + 1e-6).all()
    assert largest_gap(count, expected, level_MC) < 1 + 1e-6


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(2, 6))
@settings(max_examples=30, deadline=None)
def test_cramers_v_knows_independence_and_identity(seed, num_rows, num_columns):
    rng = np.random.default_rng(seed)
    row, column = rng.dirichlet(np.ones(num_rows)), rng.dirichlet(np.ones(num_columns))
    assert cramers_v(np.outer(row, column)) == pytest.approx(0.0, abs=1e-6)
    assert cramers_v(np.diag(row + 0.01)) == pytest.approx(1.0)
    table = rng.random((num_rows, num_columns))
    assert cramers_v(table) == pytest.approx(cramers_v(7.0 * table.T))
