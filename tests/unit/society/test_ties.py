"""Social ties: contract, households, sizes, preferences, closure and strengths."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from assets.society.areas import household_pairs
from assets.society.statistics import graph_statistics
from assets.society.tie_config import TieConfig, TieRule, load_tie_config
from assets.society.ties import form_society, form_ties
from validation.attributes import TIE_TYPES
from validation.contracts import CONTRACTS

FRIEND = load_tie_config().rules["friend"]
PLAIN = TieRule(
    mean_degree=6.0,
    log_odds={},
    log_odds_per_decade=0.0,
    circle_size=100,
    circle_share=0.0,
    nation_share=0.0,
    closure_share=0.0,
    strength_range=(0.2, 0.6),
)


@pytest.fixture(scope="module")
def social_ties(society_agents):
    return form_ties(society_agents, seed=5)


def statistic(agents, ties, name, tie_type="friend", column="value"):
    frame = graph_statistics(agents, ties)
    return frame.row(by_predicate=(pl.col("statistic") == name) & (pl.col("tie_type") == tie_type), named=True)[column]


def friends_by(rule, agents, **options):
    return form_ties(agents, 3, TieConfig(rules={"friend": rule}, **options))


def test_society_keeps_its_contracts_and_order(society_agents):
    graph, media_sources = form_society(society_agents, seed=5)
    ties = graph.rows()
    CONTRACTS["ties"].validate(ties)
    CONTRACTS["media_sources"].validate(media_sources)
    assert set(ties["tie_type"]) == set(TIE_TYPES)
    assert_frame_equal(ties, ties.sort("dst", "src", "tie_type"))


def test_members_of_a_household_are_all_tied(society_agents, social_ties):
    found = social_ties.filter(pl.col("tie_type") == "household")
    sizes = society_agents.group_by("household_id").len()["len"].to_numpy().astype(int)
    assert found.height == (sizes * (sizes - 1)).sum()
    household = society_agents["household_id"].to_numpy()
    assert (household[found["src"].to_numpy()] == household[found["dst"].to_numpy()]).all()


def test_household_pairs_of_a_known_case():
    pairs = household_pairs(np.array([7, 3, 7, 9, 7]))
    assert sorted(map(tuple, pairs.tolist())) == [(0, 2), (0, 4), (2, 4)]


@pytest.mark.parametrize("tie_type", load_tie_config().rules)
def test_numbers_of_ties_are_as_configured(society_agents, social_ties, tie_type):
    wanted = load_tie_config().rules[tie_type].mean_degree
    found = social_ties.filter(pl.col("tie_type") == tie_type).height / society_agents.height
    assert found == pytest.approx(wanted, abs=2 / society_agents.height)


def test_a_pair_has_one_social_tie(social_ties):
    assert social_ties.select("src", "dst").is_duplicated().sum() == 0


def test_degrees_follow_sociability(society_agents):
    plain = {"sociability_floor": 0.0, "neighbourhood_spread": 0.0}
    alike = friends_by(PLAIN, society_agents, sociability_shape=1e6, **plain)
    unequal = friends_by(PLAIN, society_agents, sociability_shape=1.0, **plain)
    spread = [
        np.var(np.bincount(t.filter(pl.col("tie_type") == "friend")["dst"], minlength=society_agents.height))
        for t in (alike, unequal)
    ]
    # An agent looks for as many ties as its sociability says, and is looked at with Poisson variance.
    assert spread[0] == pytest.approx(3.0, rel=0.1)
    assert spread[1] == pytest.approx(3.0 + 36.0, rel=0.15)


def test_without_preferences_mixing_is_random(society_agents):
    ties = friends_by(PLAIN, society_agents)
    for attribute in ("race_ethnicity", "party", "sex"):
        name = f"homophily_{attribute}"
        chance = statistic(society_agents, ties, name, column="chance_value")
        assert statistic(society_agents, ties, name) == pytest.approx(chance, abs=0.02)


def test_log_odds_are_what_they_say(society_agents):
    log_odds = 1.0
    ties = friends_by(replace(PLAIN, log_odds={"sex": log_odds}), society_agents, num_candidates=60)
    same = statistic(society_agents, ties, "homophily_sex")
    assert np.log(same / (1 - same)) == pytest.approx(log_odds, abs=0.08)


def test_preference_for_the_alike_raises_homophily(society_agents, social_ties):
    for attribute in ("race_ethnicity", "party", "education", "age_group"):
        name = f"homophily_{attribute}"
        chance = statistic(society_agents, social_ties, name, column="chance_value")
        assert statistic(society_agents, social_ties, name) > chance + 0.05


def test_circles_keep_ties_near(society_agents):
    near = friends_by(replace(PLAIN, circle_share=1.0, circle_size=40), society_agents)
    far = friends_by(replace(PLAIN, nation_share=1.0), society_agents)
    assert statistic(society_agents, near, "homophily_region") > 0.8
    assert statistic(society_agents, far, "homophily_region") < 0.5


def test_closure_makes_triangles(society_agents):
    open_ties = friends_by(replace(FRIEND, closure_share=0.0), society_agents)
    closed_ties = friends_by(replace(FRIEND, closure_share=0.7), society_agents)
    difference = statistic(society_agents, closed_ties, "clustering") - statistic(
        society_agents, open_ties, "clustering"
    )
    assert difference > 0.1


def test_the_old_have_fewer_colleagues(society_agents, social_ties):
    colleagues = social_ties.filter(pl.col("tie_type") == "professional")
    degree = np.bincount(colleagues["dst"].to_numpy(), minlength=society_agents.height)
    is_old = (society_agents["age_group"] == "70+").to_numpy()
    assert degree[is_old].mean() < 0.55 * degree[~is_old].mean()


def test_strengths_lie_in_their_ranges_and_grow_with_likeness(society_agents, social_ties):
    friends = social_ties.filter(pl.col("tie_type") == "friend")
    low, high = FRIEND.strength_range
    assert friends["strength"].is_between(low, high).all()
    party = society_agents["party"].to_numpy()
    is_same = party[friends["src"].to_numpy()] == party[friends["dst"].to_numpy()]
    strength = friends["strength"].to_numpy()
    assert strength[is_same].mean() > strength[~is_same].mean()


def test_row_order_of_agents_does_not_matter(society_agents, social_ties):
    assert_frame_equal(form_ties(society_agents.sample(fraction=1.0, shuffle=True, seed=1), seed=5), social_ties)


def test_another_seed_gives_other_ties(society_agents, social_ties):
    other = form_ties(society_agents, seed=6)
    shared = social_ties.join(other, on=["src", "dst", "tie_type"], how="semi")
    assert shared.filter(pl.col("tie_type") == "weak").height < 0.1 * other.filter(pl.col("tie_type") == "weak").height


def test_part_of_a_population_is_refused(society_agents):
    with pytest.raises(ValueError, match="whole population"):
        form_ties(society_agents.slice(10), seed=5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"closure_share": 1.5}, "closure_share is 1.5"),
        ({"log_odds": {"colour": 1.0}}, "Unknown attributes colour"),
        ({"strength_range": (0.0, 0.5)}, "strength_range"),
        ({"circle_size": 1}, "circle_size 1"),
    ],
)
def test_bad_rules_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(PLAIN, **change)


def test_bad_configurations_are_refused():
    with pytest.raises(ValueError, match="Rules for household"):
        TieConfig(rules={"household": PLAIN})
    with pytest.raises(ValueError, match="no tie type"):
        TieConfig(rules={})
    with pytest.raises(ValueError, match="sociability_shape"):
        TieConfig(rules={"friend": PLAIN}, sociability_shape=0.0)


@pytest.mark.slow
def test_cost_is_linear_in_agents(make_society_agents):
    import time

    seconds = {}
    for num_agents in (10_000, 80_000):
        agents = make_society_agents(num_agents)
        start = time.perf_counter()
        form_ties(agents, seed=1)
        seconds[num_agents] = time.perf_counter() - start
    assert seconds[80_000] < 8 * 3 * seconds[10_000]
