"""Schedules: the nightly sweep."""

import dagster as dg

from orchestration.jobs import every_partition_tags, sweep_job


@dg.schedule(
    job=sweep_job,
    cron_schedule="0 3 * * *",
    execution_timezone="UTC",
    description="Every night at 03:00 UTC: all scenarios × replicates again with the registered student.",
)
def nightly_sweep(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """One run over every partition; skipped while no scenario is known."""
    tags = every_partition_tags(context.instance)
    if tags is None:
        return dg.SkipReason("No scenario is known yet. Add one with `populace scenario add FILE`.")
    return dg.RunRequest(tags=tags)
