"""Checks of the society room: contracts, and the laws of social ties."""

import dagster as dg
import polars as pl

from assets.society.statistics import tie_faults
from orchestration.resources import Platform
from orchestration.table_assets import contract_check
from validation.attributes import TIE_TYPES

ties_contract = contract_check("ties")
media_sources_contract = contract_check("media_sources")
graph_statistics_contract = contract_check("graph_statistics")


@dg.asset_check(
    asset="ties", blocking=True, description="Ends are agents, nobody is tied to oneself, social ties are mutual."
)
def ties_are_sound(platform: Platform) -> dg.AssetCheckResult:
    """Counts dangling, self and one-sided social ties."""
    num_agents = platform.store.num_rows("agents")
    ties = platform.store.scan("ties").select(
        "src", "dst", code=pl.col("tie_type").cast(pl.Enum(TIE_TYPES)).to_physical().cast(pl.UInt8)
    )
    return dg.AssetCheckResult(
        **_verdict(tie_faults(*(column.to_numpy() for column in ties.collect().iter_columns()), num_agents))
    )


def _verdict(counts: dict[str, int]) -> dict:
    return {"passed": not any(counts.values()), "metadata": counts}
