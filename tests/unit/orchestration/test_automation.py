"""The sensors for new scenario files and new champions, and the nightly sweep, on a real instance."""

import shutil
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from orchestration.jobs import every_partition_tags
from orchestration.partitions import SCENARIO_PARTITIONS, to_partition, to_partition_key
from orchestration.resources import REGISTERED_MODEL
from orchestration.schedules import nightly_sweep
from orchestration.sensors import new_champion, new_scenario_files
from orchestration.settings import PROJECT_ROOT, Settings, prepare_home
from orchestration.table_store import Partition, TableStore
from validation.channels import channel_names
from validation.contracts import CONTRACTS

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


@pytest.fixture
def registry_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with two registered versions, the second one champion, in a real registry."""
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("POPULACE_HOME", str(tmp_path / "home"))
    settings = Settings()
    prepare_home(settings)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.mlflow_tracking_uri)
    client = MlflowClient(settings.mlflow_tracking_uri)
    client.create_registered_model(REGISTERED_MODEL)
    for _ in range(2):
        client.create_model_version(REGISTERED_MODEL, settings.mlflow_artifacts_dir.as_uri())
    client.set_registered_model_alias(REGISTERED_MODEL, "champion", "2")
    return settings.root


def simulated_with(home: Path, version: int) -> None:
    row = {
        "scenario_id": "a",
        "replicate": 0,
        "engine": "lsm",
        "model_version": version,
        "agent_id": 0,
        "timestep": 0,
        "question_id": "q",
        "channels": [0.0] * len(channel_names()),
        "latent_summary": [0.0] * 3,
        "conviction": 0.5,
        "option_probabilities": [1.0],
        "decision": "yes",
        "expression": [0.0],
    }
    contract = CONTRACTS["trajectories"]
    schema = {name: column.dtype.type for name, column in contract.columns.items()}
    frame = contract.validate(pl.DataFrame([row], schema=schema))
    TableStore(home / "tables").write("trajectories", frame, run_id="r", partition=Partition("a", 0), metadata={})


def test_a_new_champion_is_simulated_once(registry_home: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance)
        before_any_rollout = new_champion(context)
        instance.add_dynamic_partitions(SCENARIO_DIMENSION, ["a"])
        simulated_with(registry_home, 1)
        outdated = new_champion(dg.build_sensor_context(instance=instance))
        simulated_with(registry_home, 2)
        current = new_champion(dg.build_sensor_context(instance=instance))

    assert isinstance(before_any_rollout, dg.SkipReason)
    assert isinstance(outdated, dg.RunRequest)
    assert outdated.run_key == "champion-2"
    assert to_partition(outdated.tags["dagster/asset_partition_range_start"]) == Partition("a", 0)
    assert isinstance(current, dg.SkipReason)
