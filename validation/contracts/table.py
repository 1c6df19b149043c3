"""A table's contract: its columns with meaning and type, its key, and the rules every row obeys.

ContractError
└── raised by TableContract.validate when a frame breaks the contract
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandera.polars as pa
import polars as pl
from pandera.errors import SchemaErrors

SHOWN_CASES = 5
RUN_ID = pa.Column(pl.String, description="Dagster run that wrote the row")


class ContractError(ValueError):
    """A frame breaks its table's contract; the message names table, column, rule, offending values and next step."""


@dataclass(frozen=True)
class TableContract:
    """The contract of one table.

    `columns` excludes `run_id`, which the store adds to every row it writes. `key` names the columns that together
    identify a row. `rules` are frame-wide checks. `may_be_empty` marks tables that a run leaves without rows when their
    sources are not at hand.
    """

    name: str
    group: str
    row: str
    columns: dict[str, pa.Column]
    key: tuple[str, ...]
    rules: tuple[pa.Check, ...] = ()
    allows_other_columns: str | None = None
    partition_by: tuple[str, ...] = ()
    may_be_empty: bool = False

    def schema(self, *, stored: bool) -> pa.DataFrameSchema:
        """The pandera schema, with `run_id` when `stored` (as the table lies in the store)."""
        columns = dict(self.columns)
        if stored:
            columns["run_id"] = RUN_ID
        if self.allows_other_columns:
            columns[self.allows_other_columns] = pa.Column(
                pl.String, regex=True, nullable=True, required=False, description="answer to a survey item, by label"
            )
        return pa.DataFrameSchema(
            columns=columns, checks=list(self.rules), strict=True, unique=list(self.key) or None, name=self.name
        )

    def polars_schema(self) -> dict[str, Any]:
        """Name and polars type of every column, for building frames; without `run_id`."""
        return {name: column.dtype.type for name, column in self.columns.items() if column.dtype is not None}

    def validate(self, frame: pl.DataFrame, *, stored: bool = False) -> pl.DataFrame:
        """Returns the frame when it keeps the contract.

        Args:
            frame: rows to check, all in memory.
            stored: whether the frame was read from the store and so carries `run_id`.

        Raises:
            ContractError: columns are missing, unknown or of the wrong type, or a rule fails.
        """
        required = [name for name, column in self.columns.items() if column.required]
        missing = [name for name in (*required, *(["run_id"] if stored else [])) if name not in frame.columns]
        if missing:
            raise ContractError(self._explain([f"missing columns: {', '.join(missing)}"], 1, frame.columns))
        try:
            return self.schema(stored=stored).validate(frame, lazy=True)
        except SchemaErrors as error:
            cases = [
                f"column {row.get('column') or '(whole table)'}: rule {row.get('check')} fails, found "
                f"{str(row.get('failure_case'))[:160]!r}"
                for row in error.failure_cases.head(SHOWN_CASES).iter_rows(named=True)
            ]
            raise ContractError(self._explain(cases, len(error.failure_cases), frame.columns)) from error

    def _explain(self, cases: Sequence[str], num_cases: int, found: Sequence[str]) -> str:
        return "\n".join(
            [
                f"Table {self.name} breaks its contract: {num_cases} failure cases, the first {len(cases)} below.",
                *(f"  {case}" for case in cases),
                f"  columns found: {', '.join(found)}",
                f"  columns allowed: {', '.join(self.columns)}"
                + (f", and any matching {self.allows_other_columns}" if self.allows_other_columns else ""),
                "  Nothing was written. Mend the input or the step that made it, then materialise the asset again.",
            ]
        )


def one_of(levels: Sequence[str]) -> pa.Check:
    """The value is one of the levels."""
    return pa.Check.isin(list(levels), name=f"one of {', '.join(levels)}")


def between(lowest: float, highest: float) -> pa.Check:
    """The value lies in the closed interval."""
    return pa.Check.in_range(lowest, highest, name=f"between {lowest:g} and {highest:g}")


POSITIVE = pa.Check.gt(0, name="positive")
NOT_NEGATIVE = pa.Check.ge(0, name="zero or more")
FRACTION = between(0.0, 1.0)
SIGNED_UNIT = between(-1.0, 1.0)


def _list_rule(column: str, expression: pl.Expr, name: str) -> pa.Check:
    return pa.Check(lambda data: data.lazyframe.select(expression.alias(column)), name=name)


def sums_to_one(column: str, tolerance: float = 1e-4) -> pa.Check:
    """Every list of the column is a probability vector; null rows (failed requests) are exempt."""
    value = pl.col(column)
    is_valid = ((value.list.sum() - 1).abs() <= tolerance) & (value.list.min() >= -1e-9)
    return _list_rule(column, is_valid.fill_null(True), f"{column} holds probabilities that sum to one")


def list_within(column: str, lowest: float, highest: float) -> pa.Check:
    """Every entry of every list lies in the closed interval; null and empty lists are exempt."""
    value = pl.col(column)
    is_valid = (value.list.min() >= lowest) & (value.list.max() <= highest)
    return _list_rule(column, is_valid.fill_null(True), f"entries of {column} between {lowest:g} and {highest:g}")


def ordered(lower: str, middle: str, upper: str) -> pa.Check:
    """lower ≤ middle ≤ upper wherever all three are present, up to rounding."""
    is_valid = (pl.col(lower) <= pl.col(middle) + 1e-9) & (pl.col(middle) <= pl.col(upper) + 1e-9)
    return _list_rule(middle, is_valid.fill_null(True), f"{lower} ≤ {middle} ≤ {upper}")


def dense_ids(column: str) -> pa.Check:
    """The ids are exactly 0…N−1, once each."""
    value = pl.col(column)
    is_dense = (value.min() == 0) & (value.max() == value.len() - 1) & (value.n_unique() == value.len())
    return _list_rule(column, is_dense, f"{column} counts 0…N−1 without gaps")


def column(dtype: Any, description: str, *checks: pa.Check, nullable: bool = False, required: bool = True) -> pa.Column:
    """A documented column; null values only where `nullable`, and absent only where not `required`."""
    return pa.Column(dtype, list(checks), nullable=nullable, required=required, description=description)
