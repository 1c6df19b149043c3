"""Checks the union of shards: agents on disk per margin level, beside the plan and beside the published totals."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl

from assets.population.laid_margins import NATION, level_sums
from assets.population.laying import lay_margins
from assets.population.shards import PopulationPlan
from assets.shards import chosen_shards


def union_margins(
    folder: Path, plan: PopulationPlan, margins: pl.DataFrame, states: Iterable[str] | None
) -> pl.DataFrame:
    """Agents of the built shards per margin level, of the nation and of states, beside the plan and the totals.

    The agents are read once, in a stream: memory does not grow with their number.

    Args:
        folder: of the build.
        plan: of the whole population.
        margins: rows of `population_margins`.
        states: that were built; all when left out.

    Returns:
        Columns margin and level (`state*sex` and `NY*male` for a state), num_agents, planned and target. Planned is
        null for attributes that some donors left open, target where only some states were built.
    """
    chosen = sorted({shard.state for shard in chosen_shards(plan, states)})
    is_whole = chosen == sorted({shard.state for shard in plan.shards})
    of_built = [f"{NATION}-{state}" for state in chosen]
    margins = margins.filter((pl.col("geography") == NATION) | pl.col("geography").is_in(of_built))
    names = dict.fromkeys(part for name in margins["margin"].unique(maintain_order=True) for part in name.split("*"))
    names = tuple(dict.fromkeys((*names, "state")))
    built = (
        pl.scan_delta(str(folder / "agents"))
        .group_by(names)
        .agg(num_agents=pl.len().cast(pl.Int64))
        .collect(engine="streaming")
    )
    is_open = pl.lit(False)
    for name in names:
        if name != "state" and plan.donors[name].has_nulls():
            is_open |= pl.col("margin").str.split("*").list.contains(name)
    planned = plan.counts_by(names).filter(pl.col("state").is_in(chosen))
    closed = margins.filter(~is_open)
    counted = _levels(planned, closed).rename({"num_agents": "planned"}) if closed.height else None
    found = _levels(built, margins)
    if counted is None:
        found = found.with_columns(pl.lit(None, pl.Int64).alias("planned"))
    else:
        found = found.join(counted.drop("target"), on=["margin", "level"], how="left", maintain_order="left")
    target = pl.col("target") if is_whole else pl.lit(None, pl.Float64)
    return found.select("margin", "level", "num_agents", "planned", target.alias("target"))


def _levels(counts: pl.DataFrame, margins: pl.DataFrame) -> pl.DataFrame:
    """Agents per margin level, and the level's share of the margin in agents."""
    tables = []
    for margin in lay_margins(counts, margins):
        sum_L = level_sums(counts["num_agents"].to_numpy(), margin.level_R, len(margin.levels))
        target_L = margin.total_L / margin.total_L.sum() * sum_L.sum()
        columns = {"num_agents": np.rint(sum_L).astype(np.int64), "target": target_L}
        tables.append(pl.DataFrame({"margin": [margin.name] * len(margin.levels), "level": margin.levels, **columns}))
    return pl.concat(tables)
