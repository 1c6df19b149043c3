"""Statistics of graphs whose values are known in closed form."""

import numpy as np
import polars as pl
import pytest

from assets.society.statistics import graph_statistics, tie_faults
from assets.society.ties import form_society
from validation.contracts import CONTRACTS


def make_ties(pairs, tie_type="friend", both_ways=True):
    edges = [*pairs, *((b, a) for a, b in pairs)] if both_ways else list(pairs)
    return pl.DataFrame(
        {"src": [a for a, _ in edges], "dst": [b for _, b in edges]}, schema={"src": pl.Int32, "dst": pl.Int32}
    ).with_columns(pl.lit(tie_type).alias("tie_type"), pl.lit(0.5, dtype=pl.Float32).alias("strength"))


def values(agents, ties, tie_type="friend"):
    frame = CONTRACTS["graph_statistics"].validate(graph_statistics(agents, ties))
    return {row["statistic"]: row for row in frame.filter(pl.col("tie_type") == tie_type).iter_rows(named=True)}


@pytest.fixture
def five(make_society_agents):
    agents = make_society_agents(5)
    return agents.with_columns(
        pl.Series("sex", ["male", "male", "female", "female", "female"]),
        pl.Series("age", [20, 30, 40, 50, 60], dtype=pl.Int32),
    )


def test_triangle_with_a_tail(five):
    found = values(five, make_ties([(0, 1), (1, 2), (0, 2), (2, 3)]))
    assert found["num_ties"]["value"] == 8
    assert found["mean_degree"]["value"] == pytest.approx(8 / 5)
    assert found["degree_max"]["value"] == 3
    assert found["reciprocity"]["value"] == 1.0
    assert found["clustering"]["value"] == pytest.approx((1 + 1 + 1 / 3 + 0 + 0) / 5)
    assert found["transitivity"]["value"] == pytest.approx(6 / (2 + 2 + 6))
    assert found["share_in_largest_component"]["value"] == pytest.approx(4 / 5)


def test_homophily_and_its_chance(five):
    found = values(five, make_ties([(0, 1), (1, 2), (0, 2), (2, 3)]))["homophily_sex"]
    assert found["value"] == pytest.approx(4 / 8)
    assert found["chance_value"] == pytest.approx((4 / 8) ** 2 + (4 / 8) ** 2)


def test_age_correlation(five):
    found = values(five, make_ties([(0, 1), (3, 4)]))["age_correlation"]["value"]
    assert found == pytest.approx(np.corrcoef([20, 30, 50, 60], [30, 20, 60, 50])[0, 1])


def test_star_is_disassortative(five):
    found = values(five, make_ties([(0, 1), (0, 2), (0, 3), (0, 4)]))
    assert found["degree_assortativity"]["value"] == pytest.approx(-1.0)
    assert found["clustering"]["value"] == 0.0


def test_one_way_ties_lower_reciprocity(five):
    ties = pl.concat([make_ties([(0, 1)]), make_ties([(2, 3), (3, 4)], both_ways=False)])
    assert values(five, ties)["reciprocity"]["value"] == pytest.approx(2 / 4)


def test_statistics_of_no_ties_are_null(five):
    found = values(five, make_ties([]))
    assert found["mean_degree"]["value"] == 0.0
    for name in ("reciprocity", "clustering", "degree_assortativity", "homophily_party", "age_correlation"):
        assert found[name]["value"] is None


def test_all_social_leaves_media_out_and_counts_pairs_once(five):
    ties = pl.concat([make_ties([(0, 1)]), make_ties([(0, 1)], "weak"), make_ties([(90, 2)], "media", both_ways=False)])
    assert values(five, ties, "all_social")["num_ties"]["value"] == 2
    assert values(five, ties, "media")["num_ties"]["value"] == 1


def test_sampled_clustering_is_near_the_exact_one(society_agents, monkeypatch):
    ties = form_society(society_agents, seed=5)[0].rows()
    exact = values(society_agents, ties)["clustering"]["value"]
    monkeypatch.setattr("assets.society.graph_measures.CLUSTERING_SAMPLE", 1_500)
    sampled = values(society_agents, ties)["clustering"]["value"]
    assert sampled != exact
    assert sampled == pytest.approx(exact, abs=0.03)


def test_path_length_and_its_chance(five):
    found = values(five, make_ties([(0, 1), (1, 2), (2, 3)]))["path_length"]
    assert found["value"] == pytest.approx(20 / 12)


def test_ties_of_another_society_are_refused(five):
    with pytest.raises(ValueError, match="names agent 7, but there are 5 agents"):
        graph_statistics(five, make_ties([(0, 7)]))


def test_faults_of_ties_are_counted():
    src, dst = np.array([0, 1, 2, 2, 9, 5]), np.array([1, 0, 2, 0, 0, 7])
    code = np.array([1, 1, 1, 1, 4, 1])
    assert tie_faults(src, dst, code, 6) == {"dangling": 1, "self": 1, "one_sided": 2}
