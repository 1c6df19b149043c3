"""Checks of the traces room: contracts, and the expectation suite of teacher answers with its Data Docs."""

import dagster as dg

from orchestration.resources import Platform
from orchestration.table_assets import contract_check
from validation.expectations import run_expectations

scenarios_contract = contract_check("scenarios")
benchmark_scenarios_contract = contract_check("benchmark_scenarios")
elicitation_plan_contract = contract_check("elicitation_plan")
recorded_questions_contract = contract_check("recorded_questions")
recorded_answers_contract = contract_check("recorded_answers")
reasoning_traces_contract = contract_check("reasoning_traces")


@dg.asset_check(
    asset="reasoning_traces",
    description="Great Expectations on the answers: ranges, refusals, duplicates, collapse; builds Data Docs.",
)
def reasoning_traces_expectations(platform: Platform) -> dg.AssetCheckResult:
    """Runs the suite and links its Data Docs."""
    outcome = run_expectations(
        "reasoning_traces", platform.store.read("reasoning_traces"), platform.settings.data_docs_dir
    )
    return dg.AssetCheckResult(
        passed=outcome.success,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "failed_expectations": dg.MetadataValue.json(list(outcome.failed)),
            "data_docs": dg.MetadataValue.path(str(outcome.docs_path)),
        },
    )
