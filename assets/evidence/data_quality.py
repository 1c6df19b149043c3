"""Data quality: suites of Great Expectations over the tables that carry the lineage, with the history of results."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import polars as pl

from orchestration.freshness import CHECKED_TABLES
from validation.contracts import CONTRACTS
from validation.expectations import check_tables
from validation.trace_questions import trace_questions

MAX_ROWS = 50_000
"""Rows of a table that are looked at; larger ones are thinned evenly. Contracts look at every row at every write."""
KEPT_TOGETHER = {"reasoning_traces": "repeat_group"}
"""Column whose rows stay together when a table is thinned: redraws of one moment are compared with each other."""

SCHEMA = CONTRACTS["data_quality"].polars_schema()


def check_quality(
    scan: Callable[[str], pl.LazyFrame],
    earlier: pl.DataFrame | None,
    site_dir: Path,
    *,
    run_id: str,
    recorded_at: datetime,
) -> pl.DataFrame:
    """The `data_quality` table with this run's results added to those of earlier runs; builds Data Docs of this run.

    Tables that may be empty and are, for want of a file or a teacher, are left out.

    Args:
        scan: gives a stored table lazily by name.
        earlier: the table so far, without `run_id`; None at first.
        site_dir: folder of the Data Docs site.
        run_id: the run that checks; its own earlier rows are replaced.
        recorded_at: time of the check.
    """
    sizes = {name: int(scan(name).select(pl.len()).collect().item()) for name in CHECKED_TABLES}
    present = [name for name in CHECKED_TABLES if sizes[name] or not CONTRACTS[name].may_be_empty]
    tables = {name: thinned(scan(name), sizes[name], KEPT_TOGETHER.get(name)) for name in present}
    questions = trace_questions(scan("scenarios").collect(), scan("recorded_questions").collect())
    counts: dict[str, int] = {}
    rows = []
    for result in check_tables(tables, site_dir, sizes, questions):
        position = counts.get(result.suite, 0)
        counts[result.suite] = position + 1
        rows.append(
            {
                "recorded_run": run_id,
                "recorded_at": recorded_at,
                "table_name": result.table,
                "suite": result.suite,
                "position": position,
                "expectation": result.expectation,
                "column": result.column,
                "has_passed": result.has_passed,
                "observed": result.observed,
                "num_rows": result.num_rows,
            }
        )
    now = pl.DataFrame(rows, schema=SCHEMA)
    if earlier is None:
        return now
    kept = earlier.filter(pl.col("recorded_run") != run_id).select(
        pl.col(name).cast(dtype) for name, dtype in SCHEMA.items()
    )
    return pl.concat([kept, now])


def thinned(rows: pl.LazyFrame, num_rows: int, kept_together: str | None = None) -> pl.DataFrame:
    """Every k-th row of a table, so that at most 50,000 are left.

    Args:
        rows: the table.
        num_rows: its rows.
        kept_together: a column; every k-th of its values is kept then with all its rows, about 50,000 in all.
    """
    every = max(1, -(-num_rows // MAX_ROWS))
    if kept_together is None or every == 1:
        return rows.gather_every(every).collect()
    kept = rows.select(kept_together).unique().sort(kept_together).gather_every(every)
    return rows.join(kept, on=kept_together, how="semi").collect()
