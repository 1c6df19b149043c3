"""Agents made from the real seed survey: margins, imputation, households."""

import numpy as np
import polars as pl
import pytest

from assets.population.errors import SynthesisError
from assets.population.hot_deck import HotDeck
from assets.population.households import ADULTS_SHARE
from assets.population.laying import compare_with_margins
from assets.population.shards import plan_population
from assets.population.synthesis import synthesise_agents
from validation.attributes import ATTRIBUTES
from validation.contracts import CONTRACTS

NUM_AGENTS = 10_000


def synthesise(embedded, num_agents, seed):
    return synthesise_agents(embedded.respondents.frame, embedded.calibration.frame, embedded.margins, num_agents, seed)


@pytest.fixture(scope="module")
def agents(embedded):
    return synthesise(embedded, NUM_AGENTS, 20161108)


@pytest.fixture(scope="module")
def donors(embedded):
    return embedded.calibration.frame.drop("design_weight").join(embedded.respondents.frame, on="respondent_id")


def test_agents_keep_their_contract(agents):
    CONTRACTS["agents"].validate(agents)
    assert agents.height == NUM_AGENTS


def test_every_margin_level_is_met_within_one_agent(agents, embedded):
    compared = compare_with_margins(agents, embedded.margins)
    assert compared["difference"].abs().max() * NUM_AGENTS <= 1.0


@pytest.mark.parametrize("num_agents", [1, 7, 600])
def test_small_populations_work(embedded, num_agents):
    agents = CONTRACTS["agents"].validate(synthesise(embedded, num_agents, 1))
    assert agents.height == num_agents


def test_agents_keep_what_their_donors_answered(agents, donors):
    names = ["age", *(attribute.name for attribute in ATTRIBUTES)]
    pairs = agents.join(donors.select("respondent_id", *names), on="respondent_id", suffix="_donor")
    for name in names:
        answered = pairs.filter(pl.col(f"{name}_donor").is_not_null())
        assert (answered[name] == answered[f"{name}_donor"]).all()
        was_imputed = pairs["imputed_attributes"].list.contains(name)
        assert (was_imputed == pairs[f"{name}_donor"].is_null()).all()


def test_imputation_keeps_the_answers_that_respondents_gave(agents, donors):
    """Shares of a filled attribute stay close to the weighted shares among those who answered."""
    answered = donors.filter(pl.col("ideology").is_not_null())
    expected = answered.group_by("ideology").agg(pl.col("calibrated_weight").sum())
    for level, weight in expected.rows():
        share = weight / expected["calibrated_weight"].sum()
        assert (agents["ideology"] == level).mean() == pytest.approx(share, abs=0.025)


def test_imputed_ideology_still_goes_with_party(agents):
    imputed = agents.filter(pl.col("imputed_attributes").list.contains("ideology"))
    is_conservative = pl.col("ideology").is_in(["conservative", "very_conservative"]).mean().alias("share")
    shares = dict(imputed.group_by("party").agg(is_conservative).rows())
    assert shares["republican"] > shares["democrat"] + 0.2


def test_age_and_state_are_filled_without_contradiction(donors):
    people = donors.head(400).with_columns(
        pl.lit(None, dtype=pl.Int32).alias("age"), pl.lit(None, dtype=pl.String).alias("state")
    )
    filled = HotDeck(donors).fill(people, np.random.default_rng(5))
    known = donors.select("age_group", "age").unique()
    assert filled.join(known, on=["age_group", "age"], how="anti").is_empty()
    regions = donors.select("region", "state").unique()
    assert filled.join(regions, on=["region", "state"], how="anti").is_empty()


def test_households_are_those_of_adults(agents):
    sizes = agents.group_by("household_id").len()["len"]
    assert sizes.mean() == pytest.approx(1.895, abs=0.04)
    for size, share in ADULTS_SHARE.items():
        assert (sizes == size).mean() == pytest.approx(share, abs=0.02)


def test_couples_are_alike(agents):
    pairs = agents.join(agents, on="household_id", suffix="_other")
    near = (pl.col("agent_id") < pl.col("agent_id_other")) & ((pl.col("age") - pl.col("age_other")).abs() < 15)
    couples = pairs.filter(near & (pl.col("sex") != pl.col("sex_other")))
    assert np.corrcoef(couples["age"], couples["age_other"])[0, 1] > 0.9
    for name, floor in {"race_ethnicity": 0.8, "party": 0.6, "education": 0.65}.items():
        shuffled = couples[name].shuffle(seed=1)
        alike = (couples[name] == couples[f"{name}_other"]).mean()
        assert alike > floor
        assert alike > (shuffled == couples[f"{name}_other"]).mean() + 0.1


def test_no_agents_is_refused(embedded):
    with pytest.raises(SynthesisError, match="num_agents is 0"):
        synthesise(embedded, 0, 1)


def test_weights_of_unknown_respondents_are_refused(embedded):
    stranger = embedded.calibration.frame.head(2).with_columns(pl.lit("nobody").alias("respondent_id"))
    with pytest.raises(SynthesisError, match="Only 0 of 2 calibrated respondents"):
        synthesise_agents(embedded.respondents.frame, stranger, embedded.margins, 10, 1)


def test_attribute_that_nobody_answered_is_refused(embedded):
    without = embedded.respondents.frame.with_columns(pl.lit(None, dtype=pl.String).alias("religion_importance"))
    with pytest.raises(SynthesisError, match=r"religion_importance is open for all 64600 donors .*no second survey"):
        synthesise_agents(without, embedded.calibration.frame, embedded.margins, 50, 1)


def test_a_very_large_population_meets_its_margins_to_the_person(embedded):
    donors, frame = embedded.calibration.seed, embedded.calibration.frame
    plan = plan_population(embedded.respondents.frame, frame, embedded.margins, 151_000_000, 3)
    names = ("sex", "age_group", "race_ethnicity", "education", "region", "past_vote")
    counts = plan.counts_by(names)
    rows = counts.select(names)
    number = counts["num_agents"].to_numpy()
    compared = compare_with_margins(rows, embedded.margins, number)
    assert (compared["found"] - compared["target"]).abs().max() < 1.0
    # the weights alone are off by more: a millionth of a hundred million agents is a hundred
    weighted = compare_with_margins(donors, embedded.margins, frame["calibrated_weight"].to_numpy())
    assert weighted["relative_error"].abs().max() * 75_000_000 > 1.0
