"""Every table's asset page carries a plot: declared for the table, or drawn by the asset itself."""

import polars as pl
import pytest

from validation.contracts import CONTRACTS
from validation.report.charts import plot_png
from validation.report.table_plots import TABLE_PLOTS, draw_table

DRAWN_BY_THE_ASSET = {"graph_statistics", "calibrated_respondents", "ties", "reasoning_traces", "teacher_agreement"}


def test_every_table_has_one_plot() -> None:
    assert set(TABLE_PLOTS) | DRAWN_BY_THE_ASSET == set(CONTRACTS)
    assert not set(TABLE_PLOTS) & DRAWN_BY_THE_ASSET


@pytest.mark.parametrize("table", TABLE_PLOTS)
def test_a_plot_reads_columns_that_the_contract_has(table: str) -> None:
    schema = CONTRACTS[table].polars_schema()
    rows = TABLE_PLOTS[table].aggregate(pl.LazyFrame(schema=schema)).collect()
    assert {"x", "y"} <= set(rows.columns) <= {"x", "y", "series"}


def test_a_table_without_rows_has_no_plot() -> None:
    assert draw_table("agents", pl.LazyFrame(schema=CONTRACTS["agents"].polars_schema())) is None


@pytest.mark.slow
def test_plots_of_a_run_show_rows(smoke_home) -> None:
    empty = {table for table in TABLE_PLOTS if smoke_home.store.num_rows(table) == 0}
    charts = {table: draw_table(table, smoke_home.store.scan(table)) for table in set(TABLE_PLOTS) - empty}

    assert [table for table, chart in charts.items() if chart is None] == []
    drawn = plot_png(charts["outcomes"] or {})
    assert drawn.startswith(b"\x89PNG")
    assert len(drawn) > 5_000
