"""Expectations generated from table contracts: where the two state the same rule, the contract is its one definition.

A column's nullability, its checks on values (`one_of`, `between`, `POSITIVE`, `NOT_NEGATIVE`) and the table's key
become expectations. Rules over list columns are stated on scalars derived from them.
"""

from dataclasses import dataclass
from typing import Any

import polars as pl

from validation.contracts import CONTRACTS, TableContract

PROBABILITY_COLUMN, PROBABILITY_SUM = "option_probabilities", "option_probability_sum"
STRICTLY_ABOVE = ("positive",)


@dataclass(frozen=True)
class Expected:
    """One expectation by the name Great Expectations gives its class, with its arguments."""

    kind: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Suite:
    """Expectations over one flat frame: the table's scalar columns, or a summary of it."""

    name: str
    frame: pl.DataFrame
    expected: tuple[Expected, ...]


def expected(kind: str, **arguments: Any) -> Expected:
    """An expectation by its class name."""
    return Expected(kind, arguments)


def expected_between(column: str, lowest: float | None, highest: float | None) -> Expected:
    """Values of a column lie within the closed interval; None leaves an end open."""
    return expected("ExpectColumnValuesToBeBetween", column=column, min_value=lowest, max_value=highest)


def flat_rows(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame's scalar columns, with the sum of each row's option probabilities where it has them."""
    rows = frame.drop("run_id", strict=False)
    sums = [rows[PROBABILITY_COLUMN].list.sum().alias(PROBABILITY_SUM)] if PROBABILITY_COLUMN in rows.columns else []
    return rows.select(~pl.selectors.nested()).with_columns(*sums)


def contract_suite(table: str, frame: pl.DataFrame) -> Suite:
    """The suite of a table as its contract states it.

    Args:
        table: name under contract.
        frame: rows of the table, with or without `run_id`.
    """
    contract, rows = CONTRACTS[table], flat_rows(frame)
    return Suite(table, rows, contract_expectations(contract, rows))


def contract_expectations(contract: TableContract, rows: pl.DataFrame) -> tuple[Expected, ...]:
    """Expectations over the scalar columns of a contract that `rows` holds."""
    found = [] if contract.may_be_empty else [expected("ExpectTableRowCountToBeBetween", min_value=1)]
    if all(name in rows.columns for name in contract.key):
        kind, arguments = (
            ("ExpectColumnValuesToBeUnique", {"column": contract.key[0]})
            if len(contract.key) == 1
            else ("ExpectCompoundColumnsToBeUnique", {"column_list": list(contract.key)})
        )
        found.append(Expected(kind, arguments))
    for name, column in contract.columns.items():
        if name not in rows.columns:
            continue
        if not column.nullable:
            found.append(expected("ExpectColumnValuesToNotBeNull", column=name))
        for check in column.checks:
            found.extend(_of_check(name, str(check.name), check.statistics or {}))
    if PROBABILITY_SUM in rows.columns:
        found.append(expected_between(PROBABILITY_SUM, 0.999, 1.001))
    return tuple(found)


def _of_check(column: str, name: str, statistics: dict[str, Any]) -> list[Expected]:
    if "allowed_values" in statistics:
        values = list(statistics["allowed_values"])
        return [expected("ExpectColumnValuesToBeInSet", column=column, value_set=values)]
    if "min_value" in statistics or "max_value" in statistics:
        arguments = {
            "column": column,
            "min_value": statistics.get("min_value"),
            "max_value": statistics.get("max_value"),
        }
        return [expected("ExpectColumnValuesToBeBetween", **arguments, strict_min=name in STRICTLY_ABOVE)]
    return []
