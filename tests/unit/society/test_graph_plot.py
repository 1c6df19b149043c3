"""The picture of the graph: what its panels are drawn from."""

import numpy as np
import polars as pl
import pytest

from assets.society.graph_plot import STRUCTURE, beside_records, graph_plot, tail
from assets.society.recorded import load_recorded
from assets.society.statistics import graph_statistics
from assets.society.ties import form_ties
from validation.report.charts import plot_png


def test_a_tail_counts_people_with_at_least_so_many_ties():
    found = tail("town", np.array([[0, 5], [1, 3], [2, 0], [4, 2]]))
    assert found.select("degree", "share_at_least").rows() == [(1, pytest.approx(0.5)), (4, pytest.approx(0.2))]


def test_structure_stands_beside_chance_target_and_every_record(society_agents):
    social_ties = form_ties(society_agents, 3)
    recorded = load_recorded()
    statistics = graph_statistics(society_agents, social_ties, recorded)
    found = beside_records(statistics, recorded)
    of_clustering = dict(found.filter(pl.col("statistic") == "clustering").select("network", "value").iter_rows())
    assert set(of_clustering) == {
        "agents",
        "random mixing",
        "target",
        "korean_women",
        "brazilian_farmers",
        "ego_facebook",
    }
    assert of_clustering["ego_facebook"] == recorded.value("ego_facebook", "clustering")
    assert set(found["statistic"]) == set(STRUCTURE)
    degree_N = np.bincount(social_ties["dst"].to_numpy(), minlength=society_agents.height)
    assert plot_png(graph_plot(statistics, degree_N, recorded)).startswith(b"\x89PNG")
