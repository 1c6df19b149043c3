"""Checks of the society room: contracts, and the laws of social ties."""

import dagster as dg
import polars as pl

from assets.society.statistics import tie_faults
from assets.society.targets import MIN_AGENTS, missed
from orchestration.resources import Platform
from orchestration.table_assets import contract_check
from validation.attributes import TIE_TYPES

ties_contract = contract_check("ties")
media_sources_contract = contract_check("media_sources")
graph_statistics_contract = contract_check("graph_statistics")
age_mixing_contract = contract_check("age_mixing")
recorded_networks_contract = contract_check("recorded_networks")


@dg.asset_check(
    asset="ties", blocking=True, description="Ends are agents, nobody is tied to oneself, social ties are mutual."
)
def ties_are_sound(platform: Platform) -> dg.AssetCheckResult:
    """Counts dangling, self and one-sided social ties."""
    num_agents = platform.store.num_rows("agents")
    ties = platform.store.scan("ties").select(
        "src", "dst", code=pl.col("tie_type").cast(pl.Enum(TIE_TYPES)).to_physical().cast(pl.UInt8)
    )
    src_E, dst_E, code_E = (column.to_numpy() for column in ties.collect().iter_columns())
    counts = tie_faults(src_E, dst_E, code_E, num_agents)
    return dg.AssetCheckResult(passed=not any(counts.values()), metadata=counts)


@dg.asset_check(
    asset="graph_statistics",
    description="Every target of graph_targets.yaml is met, where the society is large enough for targets to apply.",
)
def targets_are_met(platform: Platform) -> dg.AssetCheckResult:
    """Names the targets that are missed; a warning, since ties remain usable."""
    num_agents = platform.store.num_rows("agents")
    rows = missed(platform.store.read("graph_statistics"))
    names = [f"{statistic} of {tie_type}" for statistic, tie_type in rows.select("statistic", "tie_type").iter_rows()]
    return dg.AssetCheckResult(
        passed=num_agents < MIN_AGENTS or not names,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"missed": ", ".join(names) or "none", "num_agents": num_agents, "applies_from": MIN_AGENTS},
    )
