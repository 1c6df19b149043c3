"""The published figures, recomputed from the records they come from, and our statistics on a recorded network."""

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from assets.society.references import REFERENCES
from assets.society.statistics import graph_statistics
from validation.contracts import CONTRACTS

MIRROR = os.environ.get("POPULACE_DATA_MIRROR")
needs_mirror = pytest.mark.skipif(not MIRROR, reason="POPULACE_DATA_MIRROR is not set")


def reference(statistic):
    return next(r.value for r in REFERENCES if r.statistic == statistic and r.tie_type == "all_social")


def test_references_name_statistics_that_are_measured(make_society_agents):
    ties = pl.DataFrame(schema={name: column.dtype.type for name, column in CONTRACTS["ties"].columns.items()})
    measured = graph_statistics(make_society_agents(3), ties)
    found = measured.filter(pl.col("reference_value").is_not_null())
    assert found.height == len(REFERENCES)
    assert found["reference_source"].is_not_null().all()


@needs_mirror
@pytest.mark.data
def test_polymod_figures():
    folder = Path(str(MIRROR)) / "networks"
    people = pl.read_parquet(folder / "polymod_participants.parquet").select("part_id", own_age="part_age_exact")
    contacts = pl.read_parquet(folder / "polymod_contacts.parquet")
    numbers = people.join(contacts.group_by("part_id").len(), on="part_id", how="left")["len"].fill_null(0).to_numpy()
    ages = contacts.join(people, on="part_id").select(
        "own_age",
        age=pl.coalesce("cnt_age_exact", (pl.col("cnt_age_est_min") + pl.col("cnt_age_est_max")) // 2),
    )
    ages = ages.drop_nulls()
    assert numbers.mean() == pytest.approx(reference("mean_degree"), abs=0.05)
    assert np.quantile(numbers, 0.5) == reference("degree_p50")
    assert np.quantile(numbers, 0.95) == reference("degree_p95")
    assert np.corrcoef(ages["own_age"], ages["age"])[0, 1] == pytest.approx(reference("age_correlation"), abs=0.001)


@needs_mirror
@pytest.mark.data
def test_facebook_figures_come_out_of_our_statistics(make_society_agents):
    edges = pl.read_parquet(Path(str(MIRROR)) / "networks" / "snap_ego_facebook.parquet")
    one_way = edges.select(src=pl.col(edges.columns[0]).cast(pl.Int32), dst=pl.col(edges.columns[1]).cast(pl.Int32))
    ties = pl.concat([one_way, one_way.select(src="dst", dst="src")]).with_columns(
        pl.lit("friend").alias("tie_type"), pl.lit(1.0, dtype=pl.Float32).alias("strength")
    )
    num_agents = int(ties["src"].max()) + 1
    found = graph_statistics(make_society_agents(num_agents), ties).filter(pl.col("tie_type") == "all_social")
    value = dict(found.select("statistic", "value").iter_rows())
    assert value["clustering"] == pytest.approx(reference("clustering"), abs=0.001)
    assert value["degree_assortativity"] == pytest.approx(reference("degree_assortativity"), abs=0.001)
    assert value["share_in_largest_component"] == 1.0
