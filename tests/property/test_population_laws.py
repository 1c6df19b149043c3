"""Laws of synthesis and households, on generated respondents."""

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from assets.population.allotment import allot_to_cells, allot_to_donors
from assets.population.calibration import calibrate_respondents
from assets.population.households import ADULTS_SHARE, assign_households, household_numbers
from assets.population.laid_margins import Margin
from assets.population.margins import margins_from_frame
from assets.population.population_file import PopulationFile
from assets.population.shards import plan_population, synthesise_shard
from assets.population.synthesis import synthesise_agents
from validation.attributes import AGE_GROUP_BOUNDS, ATTRIBUTES, REGION_OF_STATE
from validation.contracts import CONTRACTS


def make_respondents(rng, num_respondents):
    """Respondents with random attributes and weights; one in five leaves party open."""
    columns = {a.name: rng.choice(a.levels, num_respondents) for a in ATTRIBUTES if a.name != "region"}
    ages = [rng.integers(low, min(high, 95) + 1) for low, high in (AGE_GROUP_BOUNDS[g] for g in columns["age_group"])]
    frame = pl.DataFrame(columns).with_columns(
        pl.col("state").replace_strict(REGION_OF_STATE).alias("region"),
        pl.Series("age", ages, dtype=pl.Int32),
        pl.Series("design_weight", rng.gamma(2.0, size=num_respondents) + 0.1),
        pl.lit("made").alias("survey"),
        pl.format("made-2016-{}", pl.int_range(pl.len())).alias("respondent_id"),
    )
    is_open = pl.Series(rng.random(num_respondents) < 0.2)
    return frame.with_columns(pl.when(is_open).then(None).otherwise(pl.col("party")).alias("party"))


def make_margins(rng):
    rows = [
        {"geography": "US", "margin": name, "level": level, "count": float(count), "source": "made", "year": 2016}
        for name, levels in (("sex", ("male", "female")), ("education", ("no_college_degree", "college_degree")))
        for level, count in zip(levels, 1000 * rng.dirichlet([20.0] * len(levels)), strict=True)
    ]
    return margins_from_frame(pl.DataFrame(rows), "made")


@st.composite
def populations(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    respondents, margins = make_respondents(rng, draw(st.integers(120, 300))), make_margins(rng)
    calibrated = calibrate_respondents(respondents, margins, PopulationFile(seed_survey="made")).frame
    return respondents, calibrated, margins, draw(st.integers(1, 400)), draw(st.integers(0, 2**63 - 1))


@given(populations())
@settings(max_examples=6, deadline=None)
def test_same_seed_same_agents(population):
    first = synthesise_agents(*population)
    assert_frame_equal(first, synthesise_agents(*population))
    CONTRACTS["agents"].validate(first)


@given(populations())
@settings(max_examples=15, deadline=None)
def test_households_partition_the_agents(population):
    agents = synthesise_agents(*population)
    household = agents["household_id"].to_numpy()
    assert agents["agent_id"].to_list() == list(range(population[3]))
    assert household[0] == 0
    assert set(np.diff(household)) <= {0, 1}
    per_household = agents.group_by("household_id").agg(pl.len(), pl.col("state").n_unique())
    assert per_household["len"].max() <= 4
    assert per_household["state"].max() == 1


@given(populations())
@settings(max_examples=15, deadline=None)
def test_margins_of_agents_are_within_one_agent(population):
    agents, margins = synthesise_agents(*population), population[2]
    for name, level, share in margins.select("margin", "level", "share").iter_rows():
        found = (agents[name] == level).sum()
        assert abs(found - share * agents.height) <= 1.0 + 1e-9


@given(st.integers(0, 2**32 - 1), st.integers(1, 200), st.integers(1, 2_000))
@settings(max_examples=60, deadline=None)
def test_every_cell_gets_the_floor_or_the_ceiling(seed, num_cells, num_agents):
    rng = np.random.default_rng(seed)
    share = rng.dirichlet(np.full(num_cells, 0.5))
    levels = np.stack([rng.integers(0, 3, num_cells), rng.integers(0, 5, num_cells)])
    count = allot_to_cells(share * num_agents, levels, num_agents, rng)
    assert count.sum() == num_agents
    assert (count >= np.floor(share * num_agents - 1e-6)).all()
    assert (count <= np.ceil(share * num_agents + 1e-6)).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 300))
@settings(max_examples=40, deadline=None)
def test_grouping_into_households_loses_and_invents_nobody(seed, num_people):
    rng = np.random.default_rng(seed)
    people = make_respondents(rng, num_people).with_columns(pl.col("party").fill_null("independent"))
    people = people.with_columns(pl.lit(rng.choice(["NY", "TX"])).alias("state"))
    grouped = assign_households(people, rng)
    assert sorted(grouped["respondent_id"]) == sorted(people["respondent_id"])
    assert grouped["household_id"].n_unique() == grouped["household_id"].max() + 1


@given(populations(), st.integers(0, 2**32 - 1))
@settings(max_examples=6, deadline=None)
def test_shards_made_in_any_order_are_the_population(population, order_seed):
    plan = plan_population(*population)
    order = np.random.default_rng(order_seed).permutation(len(plan.shards))
    made = {int(index): synthesise_shard(plan, plan.shards[index]) for index in order}
    for shard, index in zip(plan.shards, sorted(made), strict=True):
        agents = made[index]
        assert (agents.height, agents["household_id"].n_unique()) == (shard.num_agents, shard.num_households)
        assert agents["agent_id"][0] == shard.first_agent_id
        assert agents["household_id"][0] == shard.first_household_id
    assert_frame_equal(pl.concat([made[index] for index in sorted(made)]), synthesise_agents(*population))
    assert plan.num_agents == population[3]


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 1_000))
@settings(max_examples=40, deadline=None)
def test_each_donor_gives_the_floor_or_the_ceiling_of_its_share_of_the_cell(seed, num_donors, num_agents):
    rng = np.random.default_rng(seed)
    weight = rng.gamma(1.5, size=num_donors) + 0.01
    one_cell = [Margin("all", ("everybody",), np.zeros(num_donors, dtype=np.int64), np.array([1.0]))]
    count = allot_to_donors(weight, one_cell, np.zeros(num_donors, dtype=np.int64), num_agents, rng)
    expected = weight / weight.sum() * num_agents
    assert count.sum() == num_agents
    assert (np.abs(count - expected) < 1 + 1e-6).all()


@given(st.integers(1, 5_000))
@settings(max_examples=100, deadline=None)
def test_household_numbers_house_every_adult_near_the_published_shares(num_adults):
    numbers = household_numbers(num_adults)
    assert sum(size * count for size, count in numbers.items()) == num_adults
    assert min(numbers.values()) >= 0
    for size, share in ADULTS_SHARE.items():
        assert abs(numbers[size] - share * sum(numbers.values())) <= 3
