"""Frames with exactly the columns and types of a simulation table, also when there are no rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from validation.contracts import CONTRACTS


def table_schema(table: str) -> dict[str, Any]:
    """Polars types by column of the table's contract, in the contract's order, without `run_id`."""
    return CONTRACTS[table].polars_schema()


def empty_rows(table: str) -> pl.DataFrame:
    """No rows of the table, with the right columns: what a stage returns when there is nothing to describe."""
    return pl.DataFrame(schema=table_schema(table))


def table_rows(table: str, rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows given as mappings, typed and ordered as the table's contract asks."""
    return pl.DataFrame(list(rows), schema=table_schema(table)) if rows else empty_rows(table)


def conform(table: str, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame's columns cast to the contract's types and put in its order; other columns are dropped."""
    return frame.select(pl.col(name).cast(dtype) for name, dtype in table_schema(table).items())
