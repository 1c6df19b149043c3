"""How values look in a table: shares as percentages, missing values as a dash, verdicts with a tone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from validation.report.blocks import Format

MISSING = "—"
VERDICT = "verdict"
"""The column whose words are coloured."""

BAD_WORDS = ("loses", "falls", "fails", "failed", "refused")
GOOD_WORDS = ("met", "beats", "passed", "passes", "holds")


ROUNDING = 1e-12
"""Smaller numbers are what sums of fractions leave over, and are shown as zero."""


@dataclass(frozen=True)
class Cell:
    """A value as shown, and how: `tone` is good, bad, neutral, or number for right-aligned figures."""

    text: str
    tone: str


@dataclass(frozen=True)
class ShownTable:
    """Headings with their alignment, and cells row by row."""

    headings: tuple[Cell, ...]
    rows: tuple[tuple[Cell, ...], ...]


def show_table(frame: pl.DataFrame, formats: Mapping[str, Format]) -> ShownTable:
    """Formats every value of a frame; columns without a format are shown after their type.

    Raises:
        ValueError: a format names a column that the frame lacks.
    """
    unknown = [name for name in formats if name not in frame.columns]
    if unknown:
        raise ValueError(
            f"Formats name the columns {', '.join(unknown)}, which the figure lacks. "
            f"Columns: {', '.join(frame.columns)}."
        )
    chosen: list[Format] = [formats.get(name, _default_format(dtype)) for name, dtype in frame.schema.items()]
    headings = tuple(
        Cell(name.replace("_", " "), "neutral" if kind == "text" else "number")
        for name, kind in zip(frame.columns, chosen, strict=True)
    )
    rows = tuple(
        tuple(
            _judged(show_value(value, kind)) if name == VERDICT else show_value(value, kind)
            for name, value, kind in zip(frame.columns, row, chosen, strict=True)
        )
        for row in frame.iter_rows()
    )
    return ShownTable(headings, rows)


def show_value(value: Any, kind: Format) -> Cell:
    """One value as text with its tone."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return Cell(MISSING, "neutral" if kind == "text" else "number")
    if kind == "text" or isinstance(value, str | bool | list):
        return Cell(_plain(value), "neutral")
    number = float(value)
    if kind == "share":
        return Cell(f"{100 * number:.1f} %", "number")
    if kind == "signed_share":
        return Cell(f"{100 * number:+.1f}", "number")
    if kind == "count":
        return Cell(f"{number:,.0f}", "number")
    return Cell(_number(number), "number")


def _number(value: float) -> str:
    if abs(value) < ROUNDING:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) >= 0.0005 else f"{value:.1e}"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_plain(item) for item in value) or MISSING
    return str(value)


def _judged(cell: Cell) -> Cell:
    if cell.text.startswith(BAD_WORDS):
        return Cell(cell.text, "bad")
    return Cell(cell.text, "good") if cell.text.startswith(GOOD_WORDS) else cell


def _default_format(dtype: pl.DataType) -> Format:
    if dtype.is_integer():
        return "count"
    return "number" if dtype.is_numeric() else "text"
