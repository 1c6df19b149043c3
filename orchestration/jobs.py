"""Jobs: the whole lineage, and the sweep that simulates scenarios with the student that is registered."""

import dagster as dg

from orchestration.partitions import SIMULATION_PARTITIONS

PROGRESS_LOGGER = "progress"
ONLY_PROGRESS = {"loggers": {PROGRESS_LOGGER: {}}}
"""Run configuration that replaces Dagster's verbose console by progress lines."""

LINEAGE_JOB = "lineage"
SWEEP_JOB = "sweep"
SWEEP_SELECTION = dg.AssetSelection.assets("scenarios") | dg.AssetSelection.groups("simulation")

lineage_job = dg.define_asset_job(
    LINEAGE_JOB,
    selection=dg.AssetSelection.all(),
    description="Surveys to validation report: every asset, every scenario × replicate of the chosen range.",
)

sweep_job = dg.define_asset_job(
    SWEEP_JOB,
    selection=SWEEP_SELECTION,
    description="Simulates scenarios × replicates with the registered student; nothing is elicited or trained.",
)


def range_tags(first: str, last: str) -> dict[str, str]:
    """Tags that make one run cover a rectangle of scenario × replicate partitions, from one corner to the other."""
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


def every_partition_tags(instance: dg.DagsterInstance) -> dict[str, str] | None:
    """Range tags over every known partition; None while no scenario is known."""
    keys = SIMULATION_PARTITIONS.get_partition_keys(dynamic_partitions_store=instance)
    return range_tags(str(keys[0]), str(keys[-1])) if keys else None
