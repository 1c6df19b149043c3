"""The asset graph: equal to the lineage that freshness uses, complete, documented, in the rooms of the design."""

import dagster as dg
import pytest

from orchestration.definitions import defs
from orchestration.freshness import LINEAGE, STAGE_BY_ASSET
from validation.contracts import CONTRACTS

GRAPH = defs.resolve_asset_graph()
ASSETS = sorted(key.path[-1] for key in GRAPH.get_all_asset_keys())


def test_dagster_and_freshness_know_the_same_assets() -> None:
    assert sorted(stage.asset for stage in LINEAGE) == ASSETS


def test_every_table_under_contract_is_an_asset() -> None:
    assert set(CONTRACTS) <= set(ASSETS)


@pytest.mark.parametrize("asset", ASSETS)
def test_dagster_and_freshness_agree_on_what_is_upstream(asset: str) -> None:
    parents = {key.path[-1] for key in GRAPH.get(dg.AssetKey(asset)).parent_keys}

    assert parents == set(STAGE_BY_ASSET[asset].upstream)


@pytest.mark.parametrize("asset", ASSETS)
def test_every_asset_has_a_face(asset: str) -> None:
    node = GRAPH.get(dg.AssetKey(asset))

    assert node.description
    assert node.owners
    assert node.kinds
    assert node.group_name == (CONTRACTS[asset].group if asset in CONTRACTS else STAGE_BY_ASSET[asset].room)
    assert node.code_version


@pytest.mark.parametrize("table", sorted(CONTRACTS))
def test_every_table_has_a_blocking_contract_check_and_a_schema(table: str) -> None:
    key = dg.AssetKey(table)
    checks = {check.name: check for check in GRAPH.asset_check_keys if check.asset_key == key}
    schema = GRAPH.get(key).metadata["dagster/column_schema"]

    assert f"{table}_contract" in checks
    assert {column.name for column in schema.columns} >= {*CONTRACTS[table].columns, "run_id"}
    assert all(column.description for column in schema.columns)


@pytest.mark.parametrize("stage", LINEAGE, ids=lambda stage: stage.asset)
def test_partitioned_stages_are_partitioned_assets(stage) -> None:
    assert (GRAPH.get(dg.AssetKey(stage.asset)).partitions_def is not None) == stage.is_partitioned


def test_jobs_schedule_and_sensor_exist() -> None:
    assert {job.name for job in defs.resolve_all_job_defs()} >= {"lineage", "sweep"}
    assert [schedule.name for schedule in defs.schedules or []] == ["nightly_sweep"]
    assert [sensor.name for sensor in defs.sensors or []] == ["new_scenario_files", "new_champion"]
