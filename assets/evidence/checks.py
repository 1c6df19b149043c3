"""Checks of the evidence room: contracts, and whether the report names its teacher and holds its figures."""

from pathlib import Path

import dagster as dg
import polars as pl

from assets.evidence.gates import evaluate_gates, load_gates
from orchestration.query import run_query
from orchestration.resources import Platform
from orchestration.table_assets import contract_check
from validation.report import read_figures

teacher_agreement_contract = contract_check("teacher_agreement")
recorded_agreement_contract = contract_check("recorded_agreement")
recorded_calibration_contract = contract_check("recorded_calibration")
survey_calibration_contract = contract_check("survey_calibration")
benchmark_scores_contract = contract_check("benchmark_scores")
dynamic_forecasts_contract = contract_check("dynamic_forecasts")
dynamic_calibration_contract = contract_check("dynamic_calibration")
rectified_shares_contract = contract_check("rectified_shares")
behaviour_scores_contract = contract_check("behaviour_scores")
data_quality_contract = contract_check("data_quality")
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


@dg.asset_check(asset="data_quality", description="Every expectation of this run is met; failures are named.")
def expectations_are_met(platform: Platform) -> dg.AssetCheckResult:
    """Reads the results of the latest run back."""
    results = platform.store.read("data_quality")
    latest = results.filter(pl.col("recorded_at") == pl.col("recorded_at").max())
    failed = latest.filter(~pl.col("has_passed"))
    lines = [
        f"{row['table_name']}.{row['column']}: {row['expectation']}, found {row['observed']}"
        for row in failed.head(20).iter_rows(named=True)
    ]
    return dg.AssetCheckResult(
        passed=failed.is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"num_expectations": latest.height, "failed": dg.MetadataValue.json(lines)},
    )


def gate_check(asset: str, *, is_blocking: bool = False) -> dg.AssetChecksDefinition:
    """A check of an asset by the gates that the configuration sets for it, once their evidence is there.

    Gates of severity block make up a check of their own: what is downstream of the asset waits for it, and does not run
    where it fails.
    """
    gates = tuple(gate for gate in load_gates(asset) if (gate.severity == "block") == is_blocking)

    @dg.asset_check(
        asset=asset,
        name=f"{asset}_blocking_gates" if is_blocking else f"{asset}_gates",
        additional_deps=sorted({table for gate in gates for table in gate.tables}),
        description="; ".join(gate.rule for gate in gates) or "The configuration sets no such gate.",
        blocking=is_blocking,
    )
    def check(platform: Platform) -> dg.AssetCheckResult:
        outcomes = evaluate_gates(gates, lambda sql: run_query(platform.store, sql))
        failed = [outcome for outcome in outcomes if not outcome.has_passed]
        is_error = any(outcome.gate.severity != "warn" for outcome in failed)
        return dg.AssetCheckResult(
            passed=not failed,
            severity=dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN,
            metadata={
                "failed": dg.MetadataValue.json([outcome.sentence for outcome in failed]),
                **{f"gate_{outcome.gate.name}": outcome.shown for outcome in outcomes},
            },
        )

    return check


student_model_gates = gate_check("student_model")
student_model_blocking_gates = gate_check("student_model", is_blocking=True)
outcomes_gates = gate_check("outcomes")
