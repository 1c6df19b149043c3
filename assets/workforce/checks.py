"""Checks of the workforce room: contracts, and that the parts add up to the index."""

import dagster as dg
import polars as pl

from assets.workforce.exposure import EXPECTED, MAIN_LABELS, NATION
from orchestration.resources import Platform
from orchestration.table_assets import contract_check

TOLERANCE = 1e-9

occupation_exposure_contract = contract_check("occupation_exposure")
skill_exposure_contract = contract_check("skill_exposure")
exposure_index_contract = contract_check("exposure_index")


@dg.asset_check(
    asset="exposure_index",
    blocking=True,
    additional_deps=["occupation_exposure", "skill_exposure"],
    description="The nation's index is the same summed over occupations and over skills.",
)
def exposure_adds_up(platform: Platform) -> dg.AssetCheckResult:
    """Recomputes the Iceberg Index from both of the other tables."""
    index = (
        platform.store.scan("exposure_index")
        .filter(
            pl.col("geography") == NATION,
            pl.col("index_name") == "iceberg",
            pl.col("labelled_by") == MAIN_LABELS[0],
            pl.col("counts") == MAIN_LABELS[1],
            pl.col("rule") == EXPECTED,
        )
        .collect()
    )
    if index.is_empty():
        return dg.AssetCheckResult(passed=True, metadata={"is_available": False})
    by_occupation = (
        platform.store.scan("occupation_exposure")
        .select(pl.col("automatable_value_usd").sum() / pl.col("wage_value_usd").sum())
        .collect()
        .item()
    )
    by_skill = (
        platform.store.scan("skill_exposure")
        .select((pl.col("wage_share") * pl.col("automatable_share")).sum())
        .collect()
        .item()
    )
    value = index["value"].item()
    return dg.AssetCheckResult(
        passed=max(abs(by_occupation - value), abs(by_skill - value)) <= TOLERANCE,
        metadata={"index": value, "by_occupation": by_occupation, "by_skill": by_skill},
    )
