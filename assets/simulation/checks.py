"""Checks of the simulation room: the contracts of its tables, and whether simulated shares stay alive."""

import dagster as dg
import polars as pl

from orchestration.resources import Platform
from orchestration.table_assets import contract_check

trajectories_contract = contract_check("trajectories")
episodes_contract = contract_check("episodes")
outcomes_contract = contract_check("outcomes")
counterfactuals_contract = contract_check("counterfactuals")
reasoning_profiles_contract = contract_check("reasoning_profiles")
intervention_surface_contract = contract_check("intervention_surface")

COLLAPSED_SHARE = 0.999


@dg.asset_check(asset="outcomes", description="No scenario collapses to one option for everybody.")
def outcomes_do_not_collapse(platform: Platform) -> dg.AssetCheckResult:
    """Warns when a final share of the student's rollout reaches one option almost entirely."""
    final = (
        platform.store.scan("outcomes")
        .filter((pl.col("segment") == "all") & (pl.col("engine") == "lsm"))
        .filter(pl.col("timestep") == pl.col("timestep").max().over("scenario_id"))
        .collect()
    )
    collapsed = final.filter(pl.col("share") >= COLLAPSED_SHARE)["scenario_id"].unique().sort().to_list()
    return dg.AssetCheckResult(
        passed=not collapsed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "collapsed_scenarios": dg.MetadataValue.json(collapsed),
            "largest_share": float(final.select(pl.col("share").max()).item()),
        },
    )
