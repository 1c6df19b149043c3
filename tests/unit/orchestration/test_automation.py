"""The sensor for new scenario files and the nightly sweep, on a real instance."""

import shutil
from pathlib import Path

import dagster as dg
import pytest

from orchestration.jobs import every_partition_tags
from orchestration.partitions import SCENARIO_PARTITIONS, to_partition, to_partition_key
from orchestration.schedules import nightly_sweep
from orchestration.sensors import new_scenario_files
from orchestration.settings import PROJECT_ROOT
from orchestration.table_store import Partition

SCENARIO_DIMENSION = SCENARIO_PARTITIONS.name or ""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    target = tmp_path / "scenarios"
    shutil.copytree(PROJECT_ROOT / "scenarios", target)
    monkeypatch.setenv("POPULACE_SCENARIOS_DIR", str(target))
    return target


def tick(instance: dg.DagsterInstance) -> dg.SensorResult | dg.SkipReason:
    return new_scenario_files(dg.build_sensor_context(instance=instance))  # pyright: ignore[reportReturnType]


def test_partition_keys_go_there_and_back() -> None:
    partition = Partition("abortion-ruling", 0)

    assert to_partition(str(to_partition_key(partition))) == partition


@pytest.mark.usefixtures("folder")
def test_every_valid_new_file_becomes_a_partition_with_one_run() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(SCENARIO_DIMENSION, ["abortion-ruling", "abortion-status-quo"])

        result = tick(instance)

        assert isinstance(result, dg.SensorResult)
        keys = {request.run_key for request in result.run_requests or []}
        assert keys == {
            "new-advantage-debate",
            "new-advantage-status-quo",
            "new-hiring-audit",
            "new-hiring-status-quo",
        }


def test_a_broken_file_is_left_out_and_holds_up_no_other(folder: Path) -> None:
    (folder / "hiring-audit.yaml").write_text("id: hiring-audit\ncolour: red\n", encoding="utf-8")
    with dg.DagsterInstance.ephemeral() as instance:
        result = tick(instance)

    assert isinstance(result, dg.SensorResult)
    keys = {request.run_key for request in result.run_requests or []}
    assert "new-advantage-debate" in keys
    assert "new-hiring-audit" not in keys


def test_a_folder_without_news_is_skipped(folder: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(SCENARIO_DIMENSION, [path.stem for path in folder.glob("*.yaml")])

        assert isinstance(tick(instance), dg.SkipReason)


def test_the_nightly_sweep_covers_every_partition(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        empty = nightly_sweep(dg.build_schedule_context(instance=instance))
        instance.add_dynamic_partitions(SCENARIO_DIMENSION, ["a", "b"])
        full = nightly_sweep(dg.build_schedule_context(instance=instance))
        tags = every_partition_tags(instance)

    assert isinstance(empty, dg.SkipReason)
    assert isinstance(full, dg.RunRequest)
    assert tags is not None
    assert tags.items() <= full.tags.items()
    assert to_partition(tags["dagster/asset_partition_range_start"]) == Partition("a", 0)
    assert to_partition(tags["dagster/asset_partition_range_end"]).scenario_id == "b"
