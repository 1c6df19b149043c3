"""Turns a page into one HTML file that needs no network: styles, scripts, chart data and figures are inside.

Text is escaped by the template. A content security policy lets the browser run only the scripts whose digests this
module computed, and forbids every request, so that wording from a survey or a scenario cannot do anything.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from validation.report.blocks import Block, ChartBlock, Page, RecordBlock, TableBlock
from validation.report.cells import show_table

FOLDER = Path(__file__).parent
MAX_ROWS_UNDER_CHART = 40
MAX_ROWS_OF_TABLE = 400
"""Longer tables are cut on the page, with a note; the embedded figures and the SQL always give every row."""


def render_page(page: Page) -> str:
    """The page as self-contained HTML.

    Raises:
        ValueError: two sections have the same title, so that links into the page would be ambiguous.
    """
    anchors = [anchor_of(section.title) for section in page.sections]
    if len(set(anchors)) != len(anchors):
        raise ValueError(f"Two sections share a title: {', '.join(section.title for section in page.sections)}.")
    figures = dict(_figures(page))
    has_charts = any(isinstance(block, ChartBlock) for block in _blocks(page))
    bundle = chart_bundle() if has_charts else ""
    starter = (FOLDER / "charts.js").read_text(encoding="utf-8")
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["identity"] = id
    environment.globals.update(
        show_table=show_table, kind_of=_kind_of, max_rows=MAX_ROWS_OF_TABLE, max_rows_under_chart=MAX_ROWS_UNDER_CHART
    )
    return environment.get_template("page.html.jinja").render(
        page=page,
        anchors=anchors,
        style=Markup((FOLDER / "page.css").read_text(encoding="utf-8")),
        bundle=Markup(bundle),
        starter=Markup(starter if has_charts else ""),
        script_digests=[_digest(script) for script in (bundle, starter) if script],
        figures=Markup(script_json(list(figures.values()))),
        figure_id_of={id(block): name for name, (block, _) in _numbered(page)},
        specification=lambda block: Markup(script_json(block.specification)),
    )


def read_figures(html: str) -> list[dict[str, Any]]:
    """The figures embedded in a page: id, kind, caption, sql, columns and rows of each.

    Raises:
        ValueError: the text is no page of this module.
    """
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', html, re.DOTALL)
    if found is None:
        raise ValueError("The page has no embedded figures. Allowed: pages written by validation.report.render_page.")
    return json.loads(found.group(1))


def script_json(value: Any) -> str:
    """JSON that may stand inside a script element: no character of it can end the element or open a comment."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str)
    replaced = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
    for character, escape in replaced.items():
        text = text.replace(character, escape)
    return text


@cache
def chart_bundle() -> str:
    """The JavaScript of Vega, Vega-Lite and Vega-Embed, packed by vl-convert; about 0.9 MB."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle()  # pyright: ignore[reportCallIssue]
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def anchor_of(title: str) -> str:
    """The id of a section in the page."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def rows_for_json(frame: pl.DataFrame) -> list[list[Any]]:
    """Rows with values that JSON can hold: no NaN, no infinity, dates as text."""
    floats = pl.selectors.float()
    finite = frame.with_columns(pl.when(floats.is_finite()).then(floats))
    return [list(row) for row in finite.iter_rows()]


def _figures(page: Page) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, (block, section) in _numbered(page):
        yield (
            name,
            {
                "id": name,
                "section": section,
                "kind": _kind_of(block),
                "caption": block.caption,
                "sql": block.sql,
                "columns": block.frame.columns,
                "rows": rows_for_json(block.frame),
            },
        )


def _numbered(page: Page) -> Iterator[tuple[str, tuple[TableBlock | ChartBlock, str]]]:
    number = 0
    for section in page.sections:
        for block in section.blocks:
            if isinstance(block, TableBlock | ChartBlock):
                number += 1
                yield f"figure-{number}", (block, section.title)


def _blocks(page: Page) -> Iterator[Block]:
    for section in page.sections:
        yield from section.blocks


def _kind_of(block: Block) -> str:
    return "record" if isinstance(block, RecordBlock) else type(block).__name__.removesuffix("Block").lower()


def _digest(script: str) -> str:
    """Digest of an inline script as content security policies name it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode()
