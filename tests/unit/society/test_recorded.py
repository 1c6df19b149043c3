"""Numbers measured on recorded networks, and the targets taken from them."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from assets.society.graph_measures import Graph
from assets.society.mixing import age_mixing_distance, recorded_shares
from assets.society.recorded import (
    RecordedError,
    load_recorded,
    measure_contacts,
    measure_graph,
    measure_recorded,
    nominations,
    write_recorded,
)
from assets.society.targets import TargetError, beside_targets, load_targets
from assets.sources.catalogue import DataCatalogue


def test_targets_are_the_recorded_numbers():
    recorded = load_recorded()
    taken = [target for target in load_targets() if target.recorded is not None]
    assert len(taken) >= 10
    for target in taken:
        assert target.recorded is not None
        found = recorded.value(target.recorded.network, target.recorded.statistic)
        assert target.value == pytest.approx(found, rel=0.005), target


@pytest.mark.data
def test_kept_numbers_are_those_of_the_records(data_mirror, tmp_path):
    measured = measure_recorded(DataCatalogue(user_dir=None, mirror=data_mirror, cache_dir=tmp_path))
    write_recorded(measured, tmp_path / "numbers.yaml")
    assert load_recorded(tmp_path / "numbers.yaml") == load_recorded()


def test_a_missing_number_is_named():
    with pytest.raises(RecordedError, match="no beauty of korean_women"):
        load_recorded().value("korean_women", "beauty")


def test_a_file_without_parts_is_refused(tmp_path):
    path = tmp_path / "numbers.yaml"
    path.write_text("networks: []")
    with pytest.raises(RecordedError, match="lacks 'age_mixing'"):
        load_recorded(path)


def test_measured_graph_of_a_known_case():
    found = measure_graph(np.array([0, 1, 0, 2]), np.array([1, 2, 2, 3]), 5)
    assert found["num_people"] == 5
    assert found["degrees"] == [[0, 1], [1, 1], [2, 2], [3, 1]]
    assert found["statistics"]["clustering"] == pytest.approx((1 + 1 + 1 / 3) / 5, abs=1e-4)
    # 0-1, 0-2, 1-2, 2-3 at distance one, 0-3 and 1-3 at distance two.
    assert found["statistics"]["path_length"] == pytest.approx((4 + 4) / 6, abs=1e-4)


def test_contacts_of_a_known_case():
    people = pl.DataFrame({"part_id": [1, 2, 3], "part_age_exact": [30, 50, 10], "part_gender": ["F", "M", "F"]})
    contacts = pl.DataFrame(
        {
            "part_id": [1, 1, 2, 3],
            "cnt_age_exact": [35, 12, None, 30],
            "cnt_age_est_min": [None, None, 40, None],
            "cnt_age_est_max": [None, None, 50, None],
            "cnt_gender": ["F", "F", "F", "M"],
            "cnt_home": [1, 1, 0, 1],
            "cnt_work": [1, 0, 1, 0],
            "cnt_leisure": [0, 0, 1, 0],
        }
    )
    measured, mixing = measure_contacts(people, contacts)
    statistics = measured["statistics"]
    assert measured["num_people"] == 2
    assert statistics["mean_degree"] == 1.0
    assert (statistics["mean_degree_home"], statistics["mean_degree_work"]) == (0.5, 0.5)
    assert statistics["mean_degree_leisure"] == 0.0
    assert statistics["homophily_sex_home"] == 1.0
    assert statistics["homophily_sex_work"] == 0.0
    assert mixing[1][1] == 1
    assert mixing[3][2] == 1
    assert np.sum(mixing) == 2


def test_nominations_stay_within_the_village():
    people = pl.DataFrame({"village": [1, 1, 2], "id": [1, 2, 1], "net11": [2, 0, 2], "net12": [None, 1, 1]})
    src, dst = nominations(people, "id")
    assert sorted(zip(src.tolist(), dst.tolist(), strict=True)) == [(0, 1), (1, 0)]


def test_recorded_mixing_keeps_odds_ratios_and_takes_our_margin():
    margin = np.array([0.3, 0.2, 0.2, 0.1, 0.1, 0.1])
    shares = recorded_shares(load_recorded(), margin)
    assert shares.sum(axis=0) == pytest.approx(margin, abs=1e-6)
    assert shares == pytest.approx(shares.T)
    uniform = recorded_shares(load_recorded(), np.full(6, 1 / 6))
    odds = shares[0, 0] * shares[5, 5] / (shares[0, 5] * shares[5, 0])
    assert odds == pytest.approx(uniform[0, 0] * uniform[5, 5] / (uniform[0, 5] * uniform[5, 0]), rel=0.05)


def test_mixing_as_recorded_has_no_distance_and_random_mixing_has():
    margin = np.full(6, 1 / 6)
    counts = np.rint(recorded_shares(load_recorded(), margin) * 1e6).astype(int)
    dst, src = (np.repeat(index.ravel(), counts.ravel()) for index in np.indices((6, 6)))
    distance, chance = age_mixing_distance(src, dst, load_recorded())
    assert distance == pytest.approx(0.0, abs=0.001)
    assert chance is not None
    assert chance > 0.1


def test_distances_are_those_of_scipy():
    from scipy.sparse import coo_array, csgraph

    from assets.society.graph_measures import path_length

    ends = np.random.default_rng(0).integers(0, 60, (2, 90))
    graph = Graph.of(ends[0], ends[1], 60)
    dense = coo_array((np.ones(90), ends), shape=(60, 60)).tocsr()
    distance = csgraph.shortest_path(dense, directed=False, unweighted=True)
    reached = np.isfinite(distance) & (distance > 0)
    assert path_length(graph) == pytest.approx(distance[reached].mean())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("targets: [{statistic: clustering}]", "Field required"),
        ("targets: 3", "valid tuple"),
        (
            "targets:\n"
            "- &a {statistic: clustering, tie_type: friend, value: 1, tolerance: 1, is_fitted: true, source: me}\n"
            "- *a",
            "clustering of friend more than once",
        ),
        (
            "targets: [{statistic: x, tie_type: y, value: 1, tolerance: 0, is_fitted: true, source: me}]",
            "greater than 0",
        ),
    ],
)
def test_bad_targets_are_refused(tmp_path: Path, text: str, message: str):
    path = tmp_path / "targets.yaml"
    path.write_text(text)
    with pytest.raises(TargetError, match=message):
        load_targets(path)


def test_a_target_that_is_not_measured_is_named():
    frame = pl.DataFrame({"statistic": ["mean_degree"], "tie_type": ["weak"], "value": [1.0], "chance_value": [None]})
    with pytest.raises(TargetError, match="which is not measured"):
        beside_targets(frame)
