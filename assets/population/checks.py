"""Checks of the population room: contracts, and whether calibration and rounding kept the margins."""

import dagster as dg
import polars as pl

from assets.population.laying import compare_with_margins
from orchestration.resources import Platform
from orchestration.table_assets import contract_check

LARGEST_DESIGN_EFFECT = 3.0
LARGEST_MARGIN_GAP = 0.005
"""Largest absolute difference between a margin's share and the agents' share; rounding alone stays far below it."""

survey_respondents_contract = contract_check("survey_respondents")
population_margins_contract = contract_check("population_margins")
calibrated_respondents_contract = contract_check("calibrated_respondents")
calibration_diagnostics_contract = contract_check("calibration_diagnostics")
agents_contract = contract_check("agents")
households_contract = contract_check("households")
imputation_quality_contract = contract_check("imputation_quality")
joint_structure_contract = contract_check("joint_structure")
disclosure_contract = contract_check("disclosure")


@dg.asset_check(asset="calibrated_respondents", description="The design effect of raking is not excessive.")
def design_effect_is_moderate(platform: Platform) -> dg.AssetCheckResult:
    """Warns when weights vary so much that the survey says little about the population."""
    facts = platform.records.read("calibration")
    effect = float(facts["design_effect_after"])
    return dg.AssetCheckResult(
        passed=effect <= LARGEST_DESIGN_EFFECT,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"design_effect": effect, "largest_allowed": LARGEST_DESIGN_EFFECT},
    )


@dg.asset_check(asset="agents", blocking=True, description="The agents reproduce every margin.")
def agents_keep_margins(platform: Platform) -> dg.AssetCheckResult:
    """Compares the agents' shares with the margins they were raked to."""
    compared = compare_with_margins(platform.store.read("agents"), platform.store.read("population_margins"))
    worst = compared.sort(pl.col("difference").abs(), descending=True).row(0, named=True)
    return dg.AssetCheckResult(
        passed=abs(worst["difference"]) <= LARGEST_MARGIN_GAP,
        metadata={
            "worst_level": f"{worst['margin']}={worst['level']}",
            "difference": worst["difference"],
            "largest_gap_persons": float((compared["found"] - compared["target"]).abs().to_numpy().max()),
        },
    )
