"""What commands say about stored simulations: the difference between two scenarios, one agent's story."""

import polars as pl
from rich.console import Console
from rich.table import Table

from assets.simulation.counterfactuals import compare_scenarios
from assets.simulation.narration import narrate
from orchestration.settings import Settings
from orchestration.table_store import Partition, TableStore
from validation.channels import channel_names

MOST_SEGMENTS = 12
MOST_CHANNELS = 5


class NotSimulated(ValueError):
    """A scenario or replicate has no stored rows."""


def print_difference(settings: Settings, scenario: str, other: str, replicate: int) -> None:
    """Prints what changes from one scenario to the other at the last timestep that both reach.

    Both share their random numbers, so that differences are effects of the scenarios under the model. Intervals cover
    agents of one replicate.

    Raises:
        NotSimulated: one of them has no rows.
        ValueError: they share no question, agent or timestep.
    """
    store = TableStore(settings.tables_dir)
    ours, theirs = (_partition(store, "trajectories", name, replicate) for name in (scenario, other))
    rows = store.read("scenarios").filter(pl.col("scenario_id") == scenario)
    compared = compare_scenarios(ours.collect(), theirs.collect(), store.read("agents"), rows)
    segments = compared.filter(pl.col("unit") == "segment")
    everybody = segments.filter(pl.col("segment") == "all")
    console = Console(highlight=False, soft_wrap=True)
    console.print(_table(everybody, f"{scenario} minus {other}, everybody"))
    for question in compared["question_id"].unique(maintain_order=True):
        agents = compared.filter((pl.col("unit") == "agent") & (pl.col("question_id") == question))
        flipped = agents.unique("agent_id")["has_flipped"].mean()
        console.print(
            f"{question}: the likeliest answer of {flipped:.1%} of {agents['agent_id'].n_unique():,} agents differs."
        )
    moved = sorted(
        zip(channel_names(), everybody["channel_differences"][0], strict=True), key=lambda pair: -abs(pair[1])
    )
    console.print(
        "Channels, mean change: " + ", ".join(f"{name} {value:+.3f}" for name, value in moved[:MOST_CHANNELS])
    )
    ranked = segments.filter(pl.col("segment") != "all").sort(pl.col("difference").abs(), descending=True)
    console.print(_table(ranked.head(MOST_SEGMENTS), "Segments that differ most"))


def tell_story(settings: Settings, scenario: str, agent: int, replicate: int) -> str:
    """One agent's way through a scenario, in words.

    Raises:
        NotSimulated: the scenario or replicate has no rows.
        NarrationError: the agent is unknown or was not simulated.
    """
    store = TableStore(settings.tables_dir)
    is_agent = pl.col("agent_id") == agent
    return narrate(
        agent,
        store.read("agents"),
        _partition(store, "trajectories", scenario, replicate).filter(is_agent).collect(),
        store.scan("episodes").filter(Partition(scenario, replicate).expression & is_agent).collect(),
        store.read("scenarios").filter(pl.col("scenario_id") == scenario),
    )


def _partition(store: TableStore, table: str, scenario: str, replicate: int) -> pl.LazyFrame:
    rows = store.scan(table).filter(Partition(scenario, replicate).expression)
    if rows.head(1).collect().is_empty():
        known = store.scan(table).select("scenario_id", "replicate").unique().sort("scenario_id", "replicate").collect()
        found = ", ".join(f"{name} {number}" for name, number in known.iter_rows())
        raise NotSimulated(
            f"Scenario {scenario!r}, replicate {replicate} has no rows in {table}. Simulated (scenario, replicate): "
            f"{found or 'none'}. Simulate it with `populace sweep {scenario}`."
        )
    return rows


def _table(rows: pl.DataFrame, title: str) -> Table:
    table = Table("segment", "question", "option", title=title)
    for name in ("change of share", "95 % interval", "agents"):
        table.add_column(name, justify="right")
    for row in rows.iter_rows(named=True):
        table.add_row(
            row["segment"],
            row["question_id"],
            row["option"],
            f"{row['difference']:+.1%}",
            f"{row['lower']:+.1%} … {row['upper']:+.1%}",
            f"{row['num_agents']:,}",
        )
    return table
