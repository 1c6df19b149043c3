"""What sections of the validation report share: warnings for absent tables, charts left out, formats, gates."""

import polars as pl

from assets.evidence.report_context import ReportContext
from validation.report import Block, Format, Section, TextBlock

MAX_CHARTS = 12
"""Charts of one kind; beyond it a report is no longer read, and the text says how many were left out."""


def blocks_or_warning(blocks: list[Block], context: ReportContext, *tables: str) -> list[Block]:
    """The blocks, with a warning for every table that the run did not leave."""
    absent = [table for table in tables if not context.has(table)]
    if absent:
        text = f"Not shown: this run left no table {', '.join(absent)}. Run `populace run` to make it."
        return [*blocks, TextBlock(text, "warning")]
    return blocks


def no_recordings(title: str) -> Section:
    """A section that needs recorded answers where none are at hand."""
    text = (
        "Not measured: no recorded answers are at hand. Set POPULACE_DATA_MIRROR to a folder that holds them, or "
        "describe your own, and run again."
    )
    return Section(title, (TextBlock(text, "warning"),))


def left_out(num_found: int, table: str) -> list[Block]:
    """Says how many charts were left out, where some were."""
    if num_found <= MAX_CHARTS:
        return []
    return [TextBlock(f"Charts of the first {MAX_CHARTS} of {num_found}; ask the table {table} for the others.")]


def shown_as(kind: Format, *columns: str) -> dict[str, Format]:
    """One format for several columns."""
    return dict.fromkeys(columns, kind)


def gates_frame(context: ReportContext) -> pl.DataFrame:
    """Gates of the student as a table."""
    return pl.DataFrame(
        [
            {
                "gate": gate.name,
                "value": gate.value,
                "threshold": gate.threshold,
                "required": "yes" if gate.is_required else "no",
                "verdict": "passed" if gate.has_passed else "failed",
            }
            for gate in context.student.gates
        ],
        schema={
            "gate": pl.String,
            "value": pl.Float64,
            "threshold": pl.Float64,
            "required": pl.String,
            "verdict": pl.String,
        },
    )
