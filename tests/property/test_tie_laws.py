"""Laws of social ties, for societies of any size and seed."""

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from assets.society.statistics import graph_statistics
from assets.society.ties import form_society, form_ties
from validation.attributes import AGE_GROUP_BOUNDS, ATTRIBUTES, REGION_OF_STATE
from validation.contracts import CONTRACTS


def make_people(rng, num_agents):
    columns = {a.name: rng.choice(a.levels, num_agents) for a in ATTRIBUTES}
    columns["region"] = [REGION_OF_STATE[state] for state in columns["state"]]
    household = np.cumsum(rng.random(num_agents) < 0.5)
    return pl.DataFrame(
        {
            "agent_id": np.arange(num_agents),
            "household_id": household - household[0],
            "respondent_id": ["made"] * num_agents,
            "geography": [f"US-{state}" for state in columns["state"]],
            "age": [AGE_GROUP_BOUNDS[group][0] for group in columns["age_group"]],
            **columns,
            "imputed_attributes": [[] for _ in range(num_agents)],
        },
        schema={name: column.dtype.type for name, column in CONTRACTS["agents"].columns.items()},
    )


@st.composite
def societies(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return make_people(rng, draw(st.integers(1, 120))), draw(st.integers(0, 2**63 - 1))


@given(societies())
@settings(max_examples=25, deadline=None)
def test_social_ties_are_sound(society):
    agents, seed = society
    ties = CONTRACTS["ties"].validate(form_ties(agents, seed))
    pairs = ties.select("src", "dst")
    assert (ties["src"] != ties["dst"]).all()
    assert not pairs.is_duplicated().any()
    assert ties.is_empty() or int(max(ties["src"].max(), ties["dst"].max())) < agents.height
    back = ties.select(pl.col("dst").alias("src"), pl.col("src").alias("dst"), "tie_type", "strength")
    assert_frame_equal(ties, back, check_row_order=False)


@given(societies())
@settings(max_examples=15, deadline=None)
def test_same_seed_same_bits_whatever_the_row_order(society):
    agents, seed = society
    graph, media_sources = form_society(agents, seed)
    again, media_again = form_society(agents.reverse(), seed)
    assert_frame_equal(graph.rows(), again.rows(), check_exact=True)
    assert_frame_equal(media_sources, media_again, check_exact=True)


@given(societies())
@settings(max_examples=15, deadline=None)
def test_households_are_complete(society):
    agents, seed = society
    sizes = agents.group_by("household_id").len()["len"].cast(pl.Int64)
    found = form_ties(agents, seed).filter(pl.col("tie_type") == "household")
    assert found.height == (sizes * (sizes - 1)).sum()


@given(societies())
@settings(max_examples=15, deadline=None)
def test_statistics_keep_their_ranges(society):
    agents, seed = society
    ties = form_society(agents, seed)[0].rows()
    statistics = CONTRACTS["graph_statistics"].validate(graph_statistics(agents, ties))
    known = statistics.filter(pl.col("value").is_not_null())
    shares = known.filter(
        pl.col("statistic").str.starts_with("homophily_")
        | pl.col("statistic").is_in(["clustering", "transitivity", "reciprocity", "share_in_largest_component"])
    )
    correlations = known.filter(pl.col("statistic").is_in(["age_correlation", "degree_assortativity"]))
    assert shares["value"].is_between(0.0, 1.0).all()
    assert correlations["value"].is_between(-1.0 - 1e-9, 1.0 + 1e-9).all()
    assert (known.filter(pl.col("statistic") == "reciprocity")["value"] == 1.0).all()
