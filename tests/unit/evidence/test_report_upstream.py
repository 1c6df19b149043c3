"""A stale report is a defect: whatever a query of it reads is upstream of the asset."""

import ast
import re

from assets.evidence import gates
from orchestration.freshness import LINEAGE, STAGE_BY_ASSET
from orchestration.settings import PROJECT_ROOT
from validation.contracts import CONTRACTS

UPSTREAM = set(STAGE_BY_ASSET["validation_report"].upstream)
READ = re.compile(r"\b(?:from|join)\s+([a-z_]+)")


def tables_named_by(module: str) -> set[str]:
    """Tables after `from` or `join`, and texts that are a table's name, in the string constants of a module."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(module)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= {*READ.findall(node.value), node.value} & CONTRACTS.keys()
    return found


def test_every_table_that_the_report_names_is_upstream_of_it() -> None:
    room = PROJECT_ROOT / "assets" / "evidence"
    modules = sorted([*room.glob("report*.py"), *room.glob("sql_*.py"), room / "run_record.py"])
    named = set().union(*(tables_named_by(path.read_text(encoding="utf-8")) for path in modules))

    assert {"dynamic_calibration", "leaderboard", "data_quality", "ties", "scenarios", "outcomes"} <= named
    assert named <= UPSTREAM


def test_every_table_that_a_gate_reads_is_upstream_of_the_report_that_shows_it() -> None:
    assert {table for gate in gates.load_gates() for table in gate.tables} <= UPSTREAM


def test_the_report_is_the_last_of_all() -> None:
    assert LINEAGE[-1].asset == "validation_report"
    assert {stage.asset for stage in LINEAGE[:-1]} == UPSTREAM
