"""Sensors: a new, valid scenario file becomes a partition and is simulated; a new champion simulates everything."""

import dagster as dg
import polars as pl

from assets.students import champion_version
from assets.traces.scenario_files import read_valid_scenarios
from orchestration.jobs import every_partition_tags, range_tags, sweep_job
from orchestration.partitions import REPLICATE_PARTITIONS, SCENARIO_PARTITIONS, to_partition_key
from orchestration.resources import ModelRegistry
from orchestration.settings import Settings
from orchestration.table_store import Partition, TableStore


@dg.sensor(
    job=sweep_job,
    minimum_interval_seconds=30,
    description="Adds each valid new file of the scenario folder as a partition and simulates it in every replicate.",
)
def new_scenario_files(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Asks for one run per new valid scenario; an invalid file is reported in the tick's log and left out."""
    folder = Settings().scenarios_dir
    scenarios, errors = read_valid_scenarios(folder)
    for error in errors:
        context.log.warning(str(error))
    found = [scenario.id for scenario in scenarios]
    known = set(context.instance.get_dynamic_partitions(SCENARIO_PARTITIONS.name or ""))
    new = [scenario for scenario in found if scenario not in known]
    if not new:
        return dg.SkipReason(f"No new valid scenario file in {folder}: {len(known)} known, {len(errors)} with errors.")
    last = len(REPLICATE_PARTITIONS.get_partition_keys()) - 1
    return dg.SensorResult(
        dynamic_partitions_requests=[SCENARIO_PARTITIONS.build_add_request(new)],
        run_requests=[
            dg.RunRequest(
                run_key=f"new-{scenario}",
                tags=range_tags(
                    str(to_partition_key(Partition(scenario, 0))), str(to_partition_key(Partition(scenario, last)))
                ),
            )
            for scenario in new
        ],
    )


@dg.sensor(
    job=sweep_job,
    minimum_interval_seconds=60,
    description="Simulates every scenario × replicate again once another student is champion than the one in use.",
)
def new_champion(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Asks for one sweep per champion whose rollouts are not in `trajectories` yet; a mere candidate moves nothing."""
    settings = Settings()
    store = TableStore(settings.tables_dir)
    if not store.exists("trajectories"):
        return dg.SkipReason("Nothing was simulated yet: `populace run` trains a student and simulates with it.")
    champion = champion_version(ModelRegistry().resolve_uri(settings))
    if champion is None:
        return dg.SkipReason("No student has passed its gates yet, so none is champion.")
    is_student = pl.col("engine") == "lsm"
    used = store.scan("trajectories").filter(is_student).select(pl.col("model_version").unique()).collect()
    tags = every_partition_tags(context.instance)
    if tags is None or used.to_series().to_list() == [champion]:
        return dg.SkipReason(f"Champion {champion} is the student that was simulated.")
    return dg.RunRequest(run_key=f"champion-{champion}", tags=tags)
