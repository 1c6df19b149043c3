"""Runs the lineage in this process: finds what is stale, materialises it through Dagster, shows progress.

RunFailed   a run ended with a failed step or a failed blocking check; earlier results are untouched
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg
from rich.console import Console

from assets.traces.scenario_files import read_scenarios
from orchestration.definitions import defs
from orchestration.freshness import LINEAGE, STAGE_BY_ASSET, expected_fingerprints
from orchestration.jobs import LINEAGE_JOB, ONLY_PROGRESS, SWEEP_JOB, range_tags
from orchestration.partitions import SCENARIO_PARTITIONS, to_partition_key
from orchestration.progress import StepProgress
from orchestration.resources import Platform
from orchestration.selection import with_upstream
from orchestration.settings import Settings
from orchestration.table_store import Partition

MADE_TOGETHER = (
    frozenset({"calibrated_respondents", "calibration_diagnostics"}),
    frozenset({"agents", "households"}),
    frozenset({"imputation_quality", "joint_structure", "disclosure"}),
    frozenset({"ties", "media_sources"}),
    frozenset({"student_model", "held_out_predictions", "simulated_shares"}),
    frozenset({"trajectories", "episodes"}),
    frozenset({"dynamic_forecasts", "dynamic_calibration"}),
    frozenset({"occupation_exposure", "skill_exposure", "exposure_index"}),
)
"""Assets that one computation makes; where one of them is stale, both are made again."""


class RunFailed(RuntimeError):
    """A run of the lineage failed; the message names the step and where to read on."""


@dataclass(frozen=True)
class Stale:
    """What has to be made again: assets, and for partitioned ones which partitions."""

    assets: frozenset[str]
    partitions: tuple[Partition, ...]

    def __bool__(self) -> bool:
        return bool(self.assets)


def find_stale(platform: Platform) -> Stale:
    """Compares recorded with expected fingerprints; everything downstream of a stale asset is stale too."""
    expected = expected_fingerprints(platform.recipe, platform.outside)
    recorded = platform.recorded()
    stale = {key for key, value in expected.items() if recorded(*key) != value}
    names = {asset for asset, _ in stale}
    for group in MADE_TOGETHER:
        if names & group:
            names |= group
    partitions = sorted({item for _, item in stale if item}, key=lambda item: item.key)
    return Stale(frozenset(names), tuple(partitions))


def only_wanted(stale: Stale, wanted: frozenset[str]) -> Stale:
    """What is stale of the wanted assets, with those that one computation makes together with them."""
    together = wanted.union(*(group for group in MADE_TOGETHER if group & wanted))
    assets = stale.assets & together
    is_partitioned = any(STAGE_BY_ASSET[name].is_partitioned for name in assets)
    return Stale(assets, stale.partitions if is_partitioned else ())


def synchronise_scenarios(settings: Settings, instance: dg.DagsterInstance) -> list[str]:
    """Validates every scenario file and makes the dynamic partitions equal to them, in alphabetical order.

    Raises:
        ScenarioError: a file is wrong; no partition was changed.
    """
    found = sorted(scenario.id for scenario in read_scenarios(settings.scenarios_dir))
    name = SCENARIO_PARTITIONS.name or ""
    known = list(instance.get_dynamic_partitions(name))
    if known != found:
        for scenario in known:
            instance.delete_dynamic_partition(name, scenario)
        instance.add_dynamic_partitions(name, found)
    return found


def run_lineage(
    settings: Settings, *, console: Console, force: bool = False, select: Collection[str] | None = None
) -> list[str]:
    """Brings assets up to date and returns the ids of the runs that did it; none when all was fresh.

    Args:
        settings: where things lie and which recipe to use.
        console: where progress goes.
        force: make everything again.
        select: assets and groups to bring up to date, with whatever they are made from; all when left out.

    Raises:
        ScenarioError: a scenario file is wrong.
        ValueError: an asset or group is not known.
        RunFailed: a step failed.
    """
    wanted = frozenset(STAGE_BY_ASSET) if select is None else with_upstream(select)
    platform = Platform()
    with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        synchronise_scenarios(settings, instance)
        everything = tuple(platform.outside.partitions(platform.recipe))
        stale = find_stale(platform)
        if force:
            stale = Stale(frozenset(stage.asset for stage in LINEAGE), everything)
        stale = only_wanted(stale, wanted)
        if not stale:
            return []
        partitioned = frozenset(name for name in stale.assets if STAGE_BY_ASSET[name].is_partitioned)
        if not partitioned or set(stale.partitions) == set(everything):
            return [_launch(LINEAGE_JOB, instance, console, stale.assets, everything if partitioned else ())]
        before = frozenset(
            name for name in stale.assets - partitioned if STAGE_BY_ASSET[name].room not in ("simulation", "evidence")
        )
        runs = [_launch(LINEAGE_JOB, instance, console, before, ())] if before else []
        runs += _launch_by_scenario(LINEAGE_JOB, instance, console, partitioned, stale.partitions)
        after = stale.assets - partitioned - before
        return [*runs, *([_launch(LINEAGE_JOB, instance, console, after, ())] if after else [])]


def run_sweep(settings: Settings, scenarios: Collection[str], *, console: Console) -> list[str]:
    """Simulates the given scenarios (all, when none is given) in every replicate with the registered student.

    Raises:
        ScenarioError: a scenario file is wrong.
        ValueError: a scenario is not known.
        RunFailed: a step failed.
    """
    platform = Platform()
    with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        known = synchronise_scenarios(settings, instance)
        unknown = sorted(set(scenarios) - set(known))
        if unknown:
            raise ValueError(
                f"Unknown scenario {', '.join(unknown)}. Known: {', '.join(known)}. "
                "Add a file with `populace scenario add FILE`."
            )
        if not platform.records.read("student_model"):
            raise ValueError("No student is registered yet, so nothing can be simulated. Run `populace run` first.")
        wanted = set(scenarios) or set(known)
        wanted |= {platform.outside.baselines.get(name) or name for name in wanted}
        chosen = [item for item in platform.outside.partitions(platform.recipe) if item.scenario_id in wanted]
        assets = frozenset(stage.asset for stage in LINEAGE if stage.is_partitioned) | {"scenarios"}
        if wanted == set(known):
            return [_launch(SWEEP_JOB, instance, console, assets, chosen)]
        first = _launch(SWEEP_JOB, instance, console, frozenset({"scenarios"}), ())
        return [first, *_launch_by_scenario(SWEEP_JOB, instance, console, assets - {"scenarios"}, chosen)]


def rebuild_report(settings: Settings, *, console: Console) -> str:
    """Builds the validation report again from the current tables and returns the run's id.

    Raises:
        RunFailed: the report could not be built; the old one stays.
    """
    with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        return _launch(LINEAGE_JOB, instance, console, frozenset({"validation_report"}), ())


def run_ablations(settings: Settings, *, console: Console) -> str:
    """Trains a student without each of its parts, compares them with the registered one and returns the run's id.

    Raises:
        ValueError: no student is registered.
        RunFailed: a step failed.
    """
    if not Platform().records.read("student_model"):
        raise ValueError("No student is registered yet, so it has no parts to leave out. Run `populace run` first.")
    config = {**ONLY_PROGRESS, "ops": {"left_out": {"config": {"is_every_part": True}}}}
    with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        return _launch(LINEAGE_JOB, instance, console, frozenset({"ablations"}), (), config)


def _launch_by_scenario(
    job: str,
    instance: dg.DagsterInstance,
    console: Console,
    assets: frozenset[str],
    partitions: Iterable[Partition],
) -> list[str]:
    """One run per scenario over its replicates, baselines before the scenarios that are compared with them."""
    by_scenario: dict[str, list[Partition]] = {}
    for item in partitions:
        by_scenario.setdefault(item.scenario_id, []).append(item)
    baselines = Platform().outside.baselines
    ordered = sorted(by_scenario, key=lambda name: (baselines.get(name) is not None, name))
    return [_launch(job, instance, console, assets, by_scenario[name]) for name in ordered]


def _launch(
    job: str,
    instance: dg.DagsterInstance,
    console: Console,
    assets: frozenset[str],
    partitions: Collection[Partition],
    run_config: Mapping[str, Any] = ONLY_PROGRESS,
) -> str:
    """Materialises assets, over a rectangle of partitions where given, in one run in this process."""
    definition = defs.resolve_job_def(job)
    tags = {}
    if partitions:
        keys = [str(to_partition_key(item)) for item in partitions]
        corners = sorted(partitions, key=lambda item: (item.replicate, item.scenario_id))
        assert len(keys) == len(set(keys)), "a partition is asked for twice"
        tags = range_tags(str(to_partition_key(corners[0])), str(to_partition_key(corners[-1])))
    selection = [dg.AssetKey(name) for name in sorted(assets)]
    num_steps = len(definition.get_subset(asset_selection=set(selection)).nodes)
    with StepProgress(console, num_steps):
        result = definition.execute_in_process(
            instance=instance,
            run_config=dict(run_config),
            tags=tags,
            asset_selection=selection,
            raise_on_error=False,
        )
    if not result.success:
        raise RunFailed(_explain_failure(result))
    return result.run_id


def _explain_failure(result: dg.ExecuteInProcessResult) -> str:
    """The first failed step, with the message of the error that caused it."""
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            while error is not None and error.cause is not None:
                error = error.cause
            message = error.message.strip() if error else "no message"
            return (
                f"Step {event.step_key} failed.\n{message}\n"
                f"Earlier results are untouched. Run {result.run_id} holds the details: `make up` shows it."
            )
    return f"Run {result.run_id} failed before any step started. `make up` shows its log."
