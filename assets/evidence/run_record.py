"""Collects what the report says of its run beside the tables: sources, student, versions, seeds, commands."""

import platform as python_platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from assets.evidence.report_context import (
    EMBEDDED_STATEMENT,
    DataUse,
    GateOutcome,
    ReportContext,
    StudentRecord,
    TableVersion,
)
from orchestration.query import run_query
from orchestration.recipes import Recipe
from orchestration.records import Records
from orchestration.settings import PROJECT_ROOT, Settings
from orchestration.table_store import TableError, TableStore
from validation.contracts import CONTRACTS

PACKAGES = ("dagster", "mlflow", "torch", "polars", "duckdb", "deltalake", "pandera", "scikit-learn", "numpy", "openai")


def read_context(settings: Settings, recipe: Recipe, run_id: str) -> ReportContext:
    """The context of the report of a run, read from records and stores.

    Args:
        settings: where tables and records lie.
        recipe: sizes of the run.
        run_id: run that builds the report.

    Raises:
        TableError: a table was made by an earlier version and lacks columns that reports read.
    """
    store, records = TableStore(settings.tables_dir), Records(settings.records_dir)
    check_columns(store)
    workforce = records.read("workforce")
    dynamic = records.read("dynamic_calibration")
    uses = [
        *records.read("data_sources").get("surveys", []),
        *records.read("margin_sources").get("margins", []),
        *records.read("recorded_answers").get("sources", []),
        *workforce.get("sources", []),
        *dynamic.get("sources", []),
    ]
    asked = "select distinct teacher from reasoning_traces where kind = 'rollout' order by 1"
    teacher = ", ".join(run_query(store, asked)["teacher"])
    statement = EMBEDDED_STATEMENT if teacher == "embedded" else f"The teacher of this run answered at {teacher}."
    student = records.read("student_model")
    return ReportContext(
        run_id=run_id,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        recipe=recipe.as_dict(),
        teacher=teacher,
        teacher_statement=statement,
        student=_student(student),
        tables=tuple(_table_version(store, table) for table in store.tables()),
        data_uses=tuple(_data_use(use) for use in uses),
        package_versions={name: metadata.version(name) for name in PACKAGES},
        seeds={"recipe": recipe.seed},
        commands=(f"populace run --recipe {recipe.name}", "populace report --rebuild", "populace doctor"),
        links=(
            ("Data Docs of every checked table", str(settings.data_docs_dir / "all" / "index.html")),
            ("Data Docs of the teacher's answers", str(settings.data_docs_dir / "reasoning_traces" / "index.html")),
            ("Dagster (make up)", f"http://127.0.0.1:{settings.dagster_port}/runs/{run_id}"),
            (
                "MLflow run of the student (make up)",
                f"http://127.0.0.1:{settings.mlflow_port}/#/experiments/1/runs/{student['mlflow_run_id']}",
            ),
        ),
        limits=(f"Workforce exposure was not measured. {workforce['reason']}",) if workforce.get("reason") else (),
        absent=tuple(sorted(dynamic.get("absent", {}).items())),
        git_commit=_git_commit(),
        machine={"system": python_platform.platform(), "python": python_platform.python_version()},
    )


def check_columns(store: TableStore) -> None:
    """Makes sure that every table has the columns of its contract, as those of an earlier version may not.

    Raises:
        TableError: some lack columns; the message names them.
    """
    lacking = []
    for table in store.tables():
        found = {field.name for field in store.open(table).schema().fields}
        missing = [name for name in CONTRACTS[table].columns if name not in found]
        if missing:
            lacking.append(f"{table} ({', '.join(missing)})")
    if lacking:
        raise TableError(
            f"Tables of an earlier version lack columns that the report reads: {'; '.join(lacking)}. `populace run` "
            "makes them again; earlier reports stay as they are."
        )


def _student(record: dict[str, Any]) -> StudentRecord:
    return StudentRecord(
        version=record["version"],
        alias=record["alias"],
        is_champion=record["is_champion"],
        verdict=record["verdict"],
        gates=tuple(
            GateOutcome(
                gate["name"], gate["student_value"], gate["baseline_value"], gate["has_passed"], gate["is_required"]
            )
            for gate in record["gates"]
        ),
    )


def _data_use(use: dict[str, Any]) -> DataUse:
    fields = ("title", "owner", "licence", "citation", "origin", "sha256")
    return DataUse(name=use["source"], **{field: use[field] for field in fields})


def _table_version(store: TableStore, table: str) -> TableVersion:
    opened = store.open(table)
    num_rows = run_query(store, f"select count(*) as n from {table}")["n"][0]
    newest = opened.history(1)[0]
    return TableVersion(table, opened.version(), num_rows, str(newest.get("fingerprint", ""))[:16])


def _git_commit() -> str | None:
    result = subprocess.run(["git", "rev-parse", "HEAD"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    return result.stdout.strip() or None
