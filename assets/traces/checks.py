"""Checks of the traces room: contracts, and the quality of teacher answers with its Data Docs."""

import shutil

import dagster as dg
import polars as pl

from orchestration.resources import Platform
from orchestration.table_assets import contract_check
from validation.expectations import run_expectations
from validation.trace_quality import judge, measure_quality
from validation.trace_questions import trace_questions

scenarios_contract = contract_check("scenarios")
benchmark_scenarios_contract = contract_check("benchmark_scenarios")
elicitation_plan_contract = contract_check("elicitation_plan")
recorded_questions_contract = contract_check("recorded_questions")
recorded_answers_contract = contract_check("recorded_answers")
reasoning_traces_contract = contract_check("reasoning_traces")


def _traces_and_questions(platform: Platform) -> tuple[pl.DataFrame, pl.DataFrame]:
    store = platform.store
    return store.read("reasoning_traces"), trace_questions(store.read("scenarios"), store.read("recorded_questions"))


@dg.asset_check(
    asset="reasoning_traces",
    blocking=True,
    description="Limits beyond which answers must not be trained on: failures, refusals, leakage, language, "
    "contradictions between the passes (validation/trace_quality.yaml).",
)
def reasoning_traces_quality(platform: Platform) -> dg.AssetCheckResult:
    """Blocks what is downstream when a blocking limit is passed; lists every limit that is."""
    findings = judge(measure_quality(*_traces_and_questions(platform)))
    blocking = [str(finding) for finding in findings if finding.is_blocking]
    return dg.AssetCheckResult(
        passed=not blocking,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={
            "blocking": dg.MetadataValue.json(blocking),
            "warnings": dg.MetadataValue.json([str(finding) for finding in findings if not finding.is_blocking]),
        },
    )


@dg.asset_check(
    asset="reasoning_traces",
    description="Great Expectations on the answers: ranges, refusals, duplicates, collapse, leakage, language, "
    "contradictions; builds Data Docs, one page per run.",
)
def reasoning_traces_expectations(context: dg.AssetCheckExecutionContext, platform: Platform) -> dg.AssetCheckResult:
    """Runs the suites and links their Data Docs."""
    traces, questions = _traces_and_questions(platform)
    docs_dir = platform.settings.data_docs_dir
    outcome = run_expectations("reasoning_traces", traces, docs_dir, questions)
    page = docs_dir / "runs" / context.run.run_id / "reasoning_traces"
    shutil.copytree(outcome.docs_path.parent, page, dirs_exist_ok=True)
    return dg.AssetCheckResult(
        passed=outcome.success,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "failed_expectations": dg.MetadataValue.json(list(outcome.failed)),
            "data_docs": dg.MetadataValue.path(str(page / "index.html")),
        },
    )
