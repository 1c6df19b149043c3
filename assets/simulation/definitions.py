"""Assets of the simulation room, partitioned by scenario × replicate; one run may cover many partitions.

Every partition is computed, checked and committed by itself, so that a failure loses only the partition it happens in.
"""

from collections.abc import Callable, Iterator
from itertools import chain

import dagster as dg
import polars as pl

from assets.simulation.counterfactuals import compare_scenarios
from assets.simulation.interventions import intervention_surface as measure_interventions
from assets.simulation.long_rollouts import Keeping, KeptSimulation
from assets.simulation.opinion import simulate_opinion_baseline
from assets.simulation.outcomes import summarise_outcomes
from assets.simulation.profiles import reasoning_profiles as cluster_profiles
from assets.simulation.questions import warn_of_new_questions
from assets.simulation.rows import empty_rows
from assets.simulation.trajectories import simulate_scenario
from assets.students import load_student
from model.kernels.social_attention import describe_backend
from orchestration.freshness import STAGE_BY_ASSET, code_digest
from orchestration.partitions import (
    EVERY_SCENARIO_SAME_REPLICATE,
    SIMULATION_PARTITIONS,
    PartitionedRows,
    PartitionRows,
    to_partition,
)
from orchestration.resources import ModelRegistry, Platform
from orchestration.table_assets import table_options, table_output
from orchestration.table_store import Partition

POOL = "simulation"
ROLLOUT_STAGE = STAGE_BY_ASSET["trajectories"]
SURFACE_AGENTS = 1_000
"""Agents on which interventions are simulated and differentiated; beyond it the surface is a sample of society."""


NEEDED = (
    "scenario_id",
    "replicate",
    "engine",
    "timestep",
    "question_id",
    "agent_id",
    "option_probabilities",
    "decision",
)
"""Columns of `trajectories` that outcomes are made from: states and expressions are most of the bytes."""


def _partitions(context: dg.AssetExecutionContext) -> list[Partition]:
    """The partitions that this run covers, in a fixed order."""
    return sorted((to_partition(key) for key in context.partition_keys), key=lambda item: item.key)


def _one_by_one(context: dg.AssetExecutionContext, compute: Callable[[Partition], pl.DataFrame]) -> PartitionedRows:
    """Computes partition after partition as they are written."""
    return PartitionedRows(PartitionRows(partition, [compute(partition)]) for partition in _partitions(context))


def _steps(trajectories: pl.LazyFrame, partition: Partition) -> Iterator[pl.DataFrame]:
    """What outcomes are made from, of one partition, one engine and timestep at a time."""
    rows = trajectories.filter(partition.expression).select(NEEDED)
    steps = rows.select("engine", "timestep").unique().sort("engine", "timestep").collect()
    for engine, timestep in steps.iter_rows():
        step = rows.filter((pl.col("engine") == engine) & (pl.col("timestep") == timestep))
        yield step.sort("question_id", "agent_id").collect()


def _final(trajectories: pl.LazyFrame, partition: Partition) -> pl.DataFrame:
    """The student's rows of one partition at its last timestep."""
    rows = trajectories.filter(partition.expression & (pl.col("engine") == "lsm"))
    last = rows.select(pl.col("timestep").max()).collect().item()
    if last is None:
        raise ValueError(
            f"Partition {partition.key} of trajectories has no rows. Simulate it first: "
            f"populace sweep {partition.scenario_id}"
        )
    return rows.filter(pl.col("timestep") == last).drop("run_id").sort("question_id", "agent_id").collect()


def _rows_of(scenarios: pl.DataFrame, partition: Partition) -> pl.DataFrame:
    return scenarios.filter(pl.col("scenario_id") == partition.scenario_id)


@dg.multi_asset(
    name="rollouts",
    outs={
        "trajectories": table_output(
            "trajectories",
            "Every agent at every timestep, as the student and the mechanistic opinion program simulate it.",
            kinds=("torch",),
        ),
        "episodes": table_output("episodes", "What each agent remembers at the end of its rollout.", kinds=("torch",)),
    },
    partitions_def=SIMULATION_PARTITIONS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=["student_model"],
    pool=POOL,
)
def rollouts(
    context: dg.AssetExecutionContext,
    platform: Platform,
    registry: ModelRegistry,
    agents: pl.DataFrame,
    ties: pl.DataFrame,
    media_sources: pl.DataFrame,
    scenarios: pl.DataFrame,
) -> Iterator[dg.Output[PartitionedRows]]:
    """Simulates each scenario in each replicate; rows stream to the store timestep by timestep."""
    student = load_student(registry.resolve_uri(platform.settings), texts=scenarios)
    recipe = platform.recipe
    remembered: list[PartitionRows] = []
    spread: dict[str, int | float] = {}
    kept: list[KeptSimulation] = []
    keeping = Keeping(
        platform.settings.rollouts_dir,
        platform.settings.rollout_processes,
        code=code_digest(ROLLOUT_STAGE.room, ROLLOUT_STAGE.other_code),
    )

    def simulate() -> Iterator[PartitionRows]:
        for partition in _partitions(context):
            society = {
                "agents": agents,
                "ties": ties,
                "media_sources": media_sources,
                "scenario_rows": _rows_of(scenarios, partition),
                "replicate": partition.replicate,
                "seed": recipe.seed,
                "max_timesteps": recipe.max_timesteps,
            }
            simulation = simulate_scenario(student.model, model_version=student.version, keeping=keeping, **society)
            mechanism = simulate_opinion_baseline(student.model, **society)
            yield PartitionRows(partition, chain(simulation.trajectory_chunks(), mechanism))
            remembered.append(PartitionRows(partition, [simulation.episodes()]))
            spread.update(simulation.facts)
            if isinstance(simulation, KeptSimulation):
                kept.append(simulation)

    facts = {
        "model_version": student.version,
        "is_champion": student.is_champion,
        "attention_backend": describe_backend(),
    }
    if not student.is_champion:
        context.log.warning(f"No champion: simulating with candidate version {student.version}.")
    record = platform.records.read("student_model")
    if record.get("version") == student.version and "questions" in record:
        simulated = [partition.scenario_id for partition in _partitions(context)]
        for warning in warn_of_new_questions(scenarios, simulated, record["questions"], student.version):
            context.log.warning(warning)
    yield dg.Output(PartitionedRows(simulate()), output_name="trajectories", metadata=facts)
    yield dg.Output(PartitionedRows(remembered), output_name="episodes", metadata=facts | spread)
    for simulation in kept:  # only now are the rows of both tables stored
        simulation.discard()


@dg.asset(
    **table_options("outcomes"),
    description="Shares of every option by timestep and segment, with intervals: what a scenario comes to.",
)
def outcomes(
    context: dg.AssetExecutionContext, trajectories: pl.LazyFrame, agents: pl.DataFrame, scenarios: pl.DataFrame
) -> PartitionedRows:
    """Summarises the trajectories, one timestep in memory at a time."""
    return _one_by_one(
        context,
        lambda partition: summarise_outcomes(_steps(trajectories, partition), agents, _rows_of(scenarios, partition)),
    )


@dg.asset(
    **table_options("counterfactuals"),
    ins={"trajectories": dg.AssetIn(partition_mapping=EVERY_SCENARIO_SAME_REPLICATE)},
    description="Each scenario against its baseline: differences per agent and per segment.",
)
def counterfactuals(
    context: dg.AssetExecutionContext, trajectories: pl.LazyFrame, agents: pl.DataFrame, scenarios: pl.DataFrame
) -> PartitionedRows:
    """Compares final states; a baseline has nothing to be compared with and leaves no rows."""

    def compare(partition: Partition) -> pl.DataFrame:
        rows = _rows_of(scenarios, partition)
        baseline_id = rows["baseline"].drop_nulls().first()
        if baseline_id is None:
            return empty_rows("counterfactuals")
        baseline = Partition(str(baseline_id), partition.replicate)
        return compare_scenarios(_final(trajectories, partition), _final(trajectories, baseline), agents, rows)

    return _one_by_one(context, compare)


@dg.asset(
    **table_options("reasoning_profiles", kinds=("scikitlearn",)),
    description="Clusters of agents that reason alike at the end of a scenario.",
)
def reasoning_profiles(
    context: dg.AssetExecutionContext,
    platform: Platform,
    trajectories: pl.LazyFrame,
    agents: pl.DataFrame,
    scenarios: pl.DataFrame,
) -> PartitionedRows:
    """Clusters the final channels."""
    return _one_by_one(
        context,
        lambda partition: cluster_profiles(
            _final(trajectories, partition), agents, _rows_of(scenarios, partition), seed=platform.recipe.seed
        ),
    )


@dg.asset(
    **table_options("intervention_surface", kinds=("torch",), pool=POOL),
    deps=["student_model"],
    description="Final shares along the interventions of a scenario, and their derivatives by events and ties.",
)
def intervention_surface(
    context: dg.AssetExecutionContext,
    platform: Platform,
    registry: ModelRegistry,
    agents: pl.DataFrame,
    ties: pl.DataFrame,
    media_sources: pl.DataFrame,
    scenarios: pl.DataFrame,
) -> PartitionedRows:
    """Simulates the grid of interventions, differentiates the rollout and takes finite differences of it."""
    student = load_student(registry.resolve_uri(platform.settings), texts=scenarios)
    recipe = platform.recipe
    return _one_by_one(
        context,
        lambda partition: measure_interventions(
            student.model,
            agents=agents,
            ties=ties,
            media_sources=media_sources,
            scenario_rows=_rows_of(scenarios, partition),
            replicate=partition.replicate,
            seed=recipe.seed,
            max_timesteps=recipe.max_timesteps,
            max_agents=SURFACE_AGENTS,
        ),
    )
