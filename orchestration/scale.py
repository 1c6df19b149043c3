"""The commands that plan and build populations larger than memory, and those that look at the society's targets."""

import time
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table

from assets.population.definitions import population_file_in_use
from assets.population.planning import plan_from_tables
from assets.population.shards import PopulationPlan
from assets.population.synthesis import make_population
from assets.shard_margins import union_margins
from assets.shards import DISK_BYTES_PER_AGENT, build_shards, expected_memory_gb
from assets.society.fitting import fit_ties
from assets.society.recorded import load_recorded, measure_recorded, write_recorded
from assets.society.targets import load_targets, missed
from assets.society.tie_config import load_tie_config, write_tie_config
from assets.sources.catalogue import open_catalogue
from orchestration.recipes import find_recipe
from orchestration.settings import Settings
from orchestration.table_store import TableStore

FIT_AGENTS = 10_000

REPORT_EVERY = 10
"""Shards after which a build says how far a pass is."""


class MarginsDoNotHold(ValueError):
    """The shards that were built do not add up to the plan; the message names the largest gap."""


class TiesDoNotHold(ValueError):
    """Some social tie of the shards that were built has no reverse."""


def make_plan(settings: Settings, num_agents: int, seed: int | None) -> tuple[PopulationPlan, pl.DataFrame]:
    """The plan of a population drawn from the calibrated respondents of the store, and the margins.

    Raises:
        TableMissing: the population's tables have not been written yet.
    """
    store = TableStore(settings.tables_dir)
    margins = store.read("population_margins").drop("run_id")
    respondents, calibrated = store.read("survey_respondents"), store.read("calibrated_respondents")
    seed = find_recipe(settings.recipe).seed if seed is None else seed
    file = population_file_in_use(settings)
    return plan_from_tables(respondents, calibrated, margins, num_agents, seed, file), margins


def print_plan(plan: PopulationPlan, memory_gb: float, console: Console) -> None:
    """One line per state, then what a build is expected to need."""
    table = Table("state", "agents", "shards", "households")
    for state in dict.fromkeys(shard.state for shard in plan.shards):
        shards = [shard for shard in plan.shards if shard.state == state]
        numbers = (
            sum(shard.num_agents for shard in shards),
            len(shards),
            sum(shard.num_households for shard in shards),
        )
        table.add_row(state, *(f"{number:,}" for number in numbers))
    console.print(table)
    needed = expected_memory_gb(plan)
    console.print(
        f"{plan.num_agents:,} agents in {len(plan.shards)} shards. Expected: {needed:.1f} GB of memory for the largest "
        f"shard (cap {memory_gb:g} GB: {'fits' if needed <= memory_gb else 'does not fit'}), "
        f"{plan.num_agents * DISK_BYTES_PER_AGENT / 1e9:.1f} GB of disk."
    )


def build(
    settings: Settings,
    plan: PopulationPlan,
    margins: pl.DataFrame,
    states: Sequence[str] | None,
    memory_gb: float,
    name: str,
    console: Console,
) -> None:
    """Builds the shards, prints what each took, and checks that together they keep the plan and the margins.

    Raises:
        MarginsDoNotHold: the agents on disk are not those of the plan.
        TiesDoNotHold: a social tie has no reverse.
    """
    if not name.replace("-", "").replace("_", "").isalnum():
        raise ValueError(f"--name is {name!r}; allowed: letters, digits, hyphens and underscores.")
    folder = settings.root / "populations" / name
    agents = ties = imbalance = 0
    start = time.perf_counter()

    def report(number_of_pass: int, done: int, of: int) -> None:
        if done % REPORT_EVERY == 0 or done == of:
            minutes = (time.perf_counter() - start) / 60
            console.print(f"pass {number_of_pass}: {done:,} of {of:,} shards after {minutes:.1f} min")

    for shard in build_shards(plan, folder, states=states, memory_gb=memory_gb, report=report):
        agents, ties = agents + shard.num_agents, ties + shard.num_ties
        imbalance += shard.imbalance
        console.print(
            f"{shard.name:6} {shard.num_agents:>11,} agents {shard.num_households:>10,} households "
            f"{shard.num_ties:>13,} ties {shard.seconds:8.1f} s, peak {shard.peak_memory_gb:.2f} GB"
        )
    if imbalance % 2**64:
        raise TiesDoNotHold(
            f"Some social tie in {folder / 'ties'} has no reverse, so the shards are not of one build. Remove the "
            "folder and build it again."
        )
    console.print("Every social tie of the union has its reverse.")
    found = union_margins(folder, plan, margins, states)
    found.write_csv(folder / "margins.csv")
    _check_union(found, console)
    minutes = (time.perf_counter() - start) / 60
    console.print(
        f"{agents:,} agents and {ties:,} ties after {minutes:.1f} min in {folder}; margins of the union in margins.csv"
    )


def _check_union(found: pl.DataFrame, console: Console) -> None:
    gap = found.select((pl.col("num_agents") - pl.col("planned")).abs().max()).item()
    if gap:
        worst = found.filter((pl.col("num_agents") - pl.col("planned")).abs() == gap).row(0, named=True)
        raise MarginsDoNotHold(
            f"The shards hold {worst['num_agents']:,} agents of {worst['margin']} = {worst['level']}, the plan "
            f"{worst['planned']:,}. Remove the folder and build it again."
        )
    console.print("The union of the shards holds exactly the agents of the plan in every margin level.")
    if found["target"].null_count() == 0:
        off = found.select((pl.col("num_agents") - pl.col("target")).abs().max()).item()
        relative = found.select(((pl.col("num_agents") / pl.col("target")) - 1).abs().max()).item()
        console.print(f"Against the published totals it is off by {off:.2f} persons at most, {relative:.1e} relative.")


def print_targets(settings: Settings, console: Console) -> None:
    """Every target with its source, and what the last run's graph has where there is one."""
    store = TableStore(settings.tables_dir)
    ours = {}
    if store.exists("graph_statistics"):
        ours = {
            tuple(row[:2]): row[2:]
            for row in store.read("graph_statistics").select("statistic", "tie_type", "value", "is_met").iter_rows()
        }
    for target in load_targets():
        value, is_met = ours.get((target.statistic, target.tie_type), (None, None))
        unit = " × chance" if target.relative_to_chance else ""
        last = "" if value is None else f"; last run {value:.3f}: {'met' if is_met else 'missed'}"
        console.print(f"{target.statistic} of {target.tie_type}: {target.value:g} ± {target.tolerance:g}{unit}{last}")
        console.print(f"    {target.source}")


def print_recorded(settings: Settings, *, is_measured: bool, is_written: bool, console: Console) -> None:
    """Statistics of the recorded networks: the numbers that are kept, or measured anew on a data mirror."""
    recorded = measure_recorded(open_catalogue(settings)) if is_measured or is_written else load_recorded()
    for entry in recorded.networks:
        console.print(f"{entry['network']}: {entry['title']} ({entry['num_people']:,} people; {entry['source']})")
        console.print("  " + ", ".join(f"{name} {value:g}" for name, value in entry["statistics"].items()))
    if is_written:
        write_recorded(recorded)


def fit(settings: Settings, rounds: int, path: Path | None, console: Console) -> None:
    """Fits the rules of tie formation to the targets on a population drawn anew, and says what they lead to."""
    seed = find_recipe(settings.recipe).seed
    plan, _ = make_plan(settings, FIT_AGENTS, seed)
    agents = make_population(plan).agents
    config, statistics = fit_ties(
        agents,
        load_tie_config(),
        seed,
        rounds=rounds,
        report=lambda number, found: console.print(f"round {number + 1}: {missed(found).height} targets missed"),
    )
    rows = statistics.filter(pl.col("reference_source").is_not_null())
    for row in rows.iter_rows(named=True):
        verdict = "met" if row["is_met"] else "missed"
        console.print(
            f"{row['statistic']:26} {row['tie_type']:13} {row['value'] or float('nan'):8.3f} "
            f"(target {row['reference_value'] or float('nan'):.3f}) {verdict}"
        )
    if path is not None:
        write_tie_config(config, path)
        console.print(f"rules: {path}")
