"""Checks of the population room: contracts, and whether calibration and rounding kept the margins."""

import dagster as dg
import polars as pl

from assets.population.definitions import population_file_in_use
from assets.population.laying import compare_with_margins
from orchestration.resources import Platform
from orchestration.table_assets import contract_check

LARGEST_DESIGN_EFFECT = 3.0
LARGEST_MARGIN_GAP = 0.005
"""Difference between a margin's share and the agents' share beyond which the population is not used."""

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


@dg.asset_check(
    asset="agents", blocking=True, description="The agents reproduce every hard margin, to the person where they can."
)
def agents_keep_margins(platform: Platform) -> dg.AssetCheckResult:
    """Compares the agents with the margins they were raked to; stops the run where they are far off.

    A level that is off by more than a person is a warning where its share is still right: with very many margins no
    whole numbers of agents may meet all of them.
    """
    soft = population_file_in_use(platform.settings).calibration.soft
    compared = compare_with_margins(platform.store.read("agents"), platform.store.read("population_margins"))
    compared = compared.filter(~pl.col("margin").is_in(list(soft))).with_columns(
        gap=(pl.col("found") - pl.col("target")).abs()
    )
    if compared.is_empty():
        return dg.AssetCheckResult(passed=True, metadata={"hard_margins": 0})
    worst = compared.sort("gap", descending=True).row(0, named=True)
    is_far = abs(worst["difference"]) > LARGEST_MARGIN_GAP
    return dg.AssetCheckResult(
        passed=worst["gap"] <= 1.0,
        severity=dg.AssetCheckSeverity.ERROR if is_far else dg.AssetCheckSeverity.WARN,
        metadata={
            "worst_level": f"{worst['margin']}={worst['level']}",
            "difference": worst["difference"],
            "largest_gap_persons": worst["gap"],
            "num_levels_off_by_more_than_a_person": int((compared["gap"] > 1.0).sum()),
        },
    )
