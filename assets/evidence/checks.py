"""Checks of the evidence room: contracts, and whether the report names its teacher and holds its figures."""

from pathlib import Path

import dagster as dg

from orchestration.resources import Platform
from orchestration.table_assets import contract_check
from validation.report import read_figures

teacher_agreement_contract = contract_check("teacher_agreement")
recorded_agreement_contract = contract_check("recorded_agreement")
survey_calibration_contract = contract_check("survey_calibration")
benchmark_scores_contract = contract_check("benchmark_scores")
dynamic_forecasts_contract = contract_check("dynamic_forecasts")
dynamic_calibration_contract = contract_check("dynamic_calibration")
rectified_shares_contract = contract_check("rectified_shares")
leaderboard_contract = contract_check("leaderboard")


@dg.asset_check(asset="validation_report", description="The page names its teacher and carries figures with their SQL.")
def report_is_complete(platform: Platform) -> dg.AssetCheckResult:
    """Reads the page back."""
    page = Path(platform.records.read("validation_report")["path"]).read_text(encoding="utf-8")
    teachers = platform.store.read("reasoning_traces")["teacher"].unique().to_list()
    figures = read_figures(page)
    unnamed = [teacher for teacher in teachers if teacher not in page]
    return dg.AssetCheckResult(
        passed=bool(figures) and not unnamed, metadata={"num_figures": len(figures), "teachers": ", ".join(teachers)}
    )
