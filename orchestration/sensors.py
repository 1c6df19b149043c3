"""Sensors: a new, valid scenario file becomes a partition and is simulated."""

import dagster as dg

from assets.traces.scenario_files import read_valid_scenarios
from orchestration.jobs import range_tags, sweep_job
from orchestration.partitions import REPLICATE_PARTITIONS, SCENARIO_PARTITIONS, to_partition_key
from orchestration.settings import Settings
from orchestration.table_store import Partition


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
