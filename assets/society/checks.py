"""Checks of the society room: contracts, and the laws of social ties."""

import dagster as dg
import polars as pl

from orchestration.resources import Platform
from orchestration.table_assets import contract_check

ties_contract = contract_check("ties")
media_sources_contract = contract_check("media_sources")
graph_statistics_contract = contract_check("graph_statistics")


@dg.asset_check(
    asset="ties", blocking=True, description="Ends are agents, nobody is tied to oneself, social ties are mutual."
)
def ties_are_sound(platform: Platform) -> dg.AssetCheckResult:
    """Counts dangling, self and one-sided social ties."""
    num_agents = platform.store.scan("agents").select(pl.len()).collect().item()
    ties = platform.store.scan("ties")
    social = ties.filter(pl.col("tie_type") != "media")
    reverse = social.select(pl.col("dst").alias("src"), pl.col("src").alias("dst"), "tie_type")
    counts = {
        "dangling": ties.filter(pl.col("dst") >= num_agents).select(pl.len()).collect().item()
        + social.filter(pl.col("src") >= num_agents).select(pl.len()).collect().item(),
        "self": social.filter(pl.col("src") == pl.col("dst")).select(pl.len()).collect().item(),
        "one_sided": social.join(reverse, on=["src", "dst", "tie_type"], how="anti").select(pl.len()).collect().item(),
    }
    return dg.AssetCheckResult(passed=not any(counts.values()), metadata=counts)
