"""What a report page is made of, before it is turned into HTML.

A table or chart is made by `table_block` or `chart_block`, which run its SQL: what the page shows and what the shown
SQL answers are the same rows by construction.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

Query = Callable[[str], pl.DataFrame]
"""Answers DuckDB SQL over the tables of the store, as `populace query` does."""

Draw = Callable[[pl.DataFrame], dict[str, Any]]
"""Turns the rows of a figure into a Vega-Lite specification."""

Format = Literal["share", "signed_share", "number", "count", "text"]

UNQUOTABLE = re.compile(r'["$`\\!]')
SAFE_LINK = re.compile(r"(https?://|file://|\.{0,2}/|[A-Za-z0-9_][A-Za-z0-9_./-]*$)")


@dataclass(frozen=True)
class TextBlock:
    """A paragraph; `warning` sets it off from the rest."""

    text: str
    tone: Literal["plain", "warning"] = "plain"


@dataclass(frozen=True)
class ListBlock:
    """Points below one another."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class FactsBlock:
    """Named facts that come from the run itself and from no table."""

    facts: Mapping[str, str]


@dataclass(frozen=True)
class Link:
    """A place outside the page: a web address, or a path relative to the page or to the root of the file system.

    Raises:
        ValueError: the address could run a script.
    """

    label: str
    address: str

    def __post_init__(self) -> None:
        if not SAFE_LINK.match(self.address):
            raise ValueError(
                f"Link {self.label!r} points to {self.address!r}. Allowed: http, https or file addresses, and paths."
            )


@dataclass(frozen=True)
class LinksBlock:
    """Links below one another."""

    links: tuple[Link, ...]


@dataclass(frozen=True)
class RecordBlock:
    """A table from the run's own record, which no SQL can recompute; `origin` says where it comes from."""

    frame: pl.DataFrame
    caption: str
    origin: str
    formats: Mapping[str, Format] = field(default_factory=dict)


@dataclass(frozen=True)
class TableBlock:
    """A table and the SQL that made it."""

    frame: pl.DataFrame
    sql: str
    caption: str
    formats: Mapping[str, Format] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_sql(self.sql)


@dataclass(frozen=True)
class ChartBlock:
    """A chart, the rows behind it and the SQL that made them; `is_half` lets two stand side by side."""

    specification: dict[str, Any]
    frame: pl.DataFrame
    sql: str
    caption: str
    is_half: bool = False

    def __post_init__(self) -> None:
        check_sql(self.sql)


Block = TextBlock | ListBlock | FactsBlock | LinksBlock | RecordBlock | TableBlock | ChartBlock


@dataclass(frozen=True)
class Section:
    """A titled part of a page."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Page:
    """A whole report; `subtitle` says in a sentence what it is about."""

    title: str
    subtitle: str
    sections: tuple[Section, ...]


def table_block(query: Query, sql: str, caption: str, formats: Mapping[str, Format] | None = None) -> TableBlock:
    """Runs the SQL and shows its rows as a table."""
    return TableBlock(query(sql), sql, caption, formats or {})


def chart_block(query: Query, sql: str, caption: str, draw: Draw, *, is_half: bool = False) -> ChartBlock:
    """Runs the SQL and draws its rows."""
    frame = query(sql)
    return ChartBlock(draw(frame), frame, sql, caption, is_half)


def check_sql(sql: str) -> None:
    """Refuses SQL that a reader could not paste between double quotes into a shell.

    Raises:
        ValueError: the SQL holds a character that the shell would read, or is empty.
    """
    if not sql.strip():
        raise ValueError("A figure has no SQL. Every table and chart names the statement that recomputes it.")
    found = UNQUOTABLE.search(sql)
    if found:
        raise ValueError(
            f"The SQL of a figure holds {found.group()!r}, which the shell reads inside double quotes. "
            "Quote with ' only and write <> for different."
        )
