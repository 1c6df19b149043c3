"""The page as a PDF, drawn by fpdf2 without a browser or the network: for archives and for reading on paper.

Charts are drawn as pictures, tables are cut to their first rows with a note; the HTML page holds every row and the SQL.
The typeface is DejaVu Sans, which comes with matplotlib and has every letter that the report uses.
"""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from validation.report.blocks import (
    Block,
    ChartBlock,
    FactsBlock,
    LinksBlock,
    ListBlock,
    Page,
    RecordBlock,
    TableBlock,
    TextBlock,
)
from validation.report.cells import show_table
from validation.report.charts import plot_png

if TYPE_CHECKING:
    from fpdf import FPDF

MAX_ROWS = 30
MAX_LETTERS = 60
"""Longer cells are cut; the page has them whole."""

CHART_WIDTH_MM = 170
FAMILY = "dejavu"


def render_pdf(page: Page) -> bytes:
    """The page as PDF, A4 across, sections starting on pages of their own.

    Args:
        page: the same page that is rendered as HTML.
    """
    from fpdf import FPDF

    pdf = FPDF(orientation="landscape", format="A4")
    pdf.set_title(page.title)
    pdf.set_auto_page_break(auto=True, margin=12)
    fonts = _font_folder()
    pdf.add_font(FAMILY, "", fonts / "DejaVuSans.ttf")
    pdf.add_font(FAMILY, "B", fonts / "DejaVuSans-Bold.ttf")
    pdf.add_page()
    _heading(pdf, page.title, 18)
    _paragraph(pdf, page.subtitle, 10)
    for number, section in enumerate(page.sections):
        if number:
            pdf.add_page()
        pdf.start_section(section.title)
        _heading(pdf, section.title, 14)
        for block in section.blocks:
            _draw(pdf, block)
    return bytes(pdf.output())


def _draw(pdf: "FPDF", block: Block) -> None:
    if isinstance(block, TextBlock):
        _paragraph(pdf, f"Note: {block.text}" if block.tone == "warning" else block.text, 9)
    elif isinstance(block, ListBlock):
        for item in block.items:
            _paragraph(pdf, f"• {item}", 9)
    elif isinstance(block, FactsBlock):
        _table(pdf, ("fact", "value"), [(name, value) for name, value in block.facts.items()])
    elif isinstance(block, LinksBlock):
        for link in block.links:
            _paragraph(pdf, f"{link.label}: {link.address}", 8)
    elif isinstance(block, ChartBlock):
        _caption(pdf, block.caption)
        if block.frame.is_empty():
            _paragraph(pdf, "No rows.", 8)
        else:
            pdf.image(BytesIO(plot_png(block.specification, scale=1.6)), w=CHART_WIDTH_MM)
    else:
        _caption(pdf, block.caption)
        _rows(pdf, block)


def _rows(pdf: "FPDF", block: TableBlock | RecordBlock) -> None:
    shown = show_table(block.frame.head(MAX_ROWS), block.formats)
    if not shown.rows:
        _paragraph(pdf, "No rows.", 8)
        return
    _table(pdf, [cell.text for cell in shown.headings], [[cell.text for cell in row] for row in shown.rows])
    if block.frame.height > MAX_ROWS:
        _paragraph(pdf, f"The first {MAX_ROWS} of {block.frame.height:,} rows; the HTML page has the others.", 7)


def _table(pdf: "FPDF", headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    pdf.set_font(FAMILY, "", 6 if len(headings) > 8 else 7)
    texts = [[_cut(text) for text in row] for row in (headings, *rows)]
    widths = [
        min(MAX_LETTERS, max(6, pl.Series([len(row[place]) for row in texts]).quantile(0.9) or 6))
        for place in range(len(headings))
    ]
    with pdf.table(col_widths=tuple(widths), line_height=3.4, text_align="LEFT", padding=0.6) as table:
        for row in texts:
            cells = table.row()
            for text in row:
                cells.cell(text)
    pdf.ln(2)


def _heading(pdf: "FPDF", text: str, size: int) -> None:
    pdf.set_font(FAMILY, "B", size)
    pdf.multi_cell(0, size * 0.5, text, new_x="LMARGIN", new_y="NEXT")
    pdf.ln(2)


def _caption(pdf: "FPDF", text: str) -> None:
    if pdf.get_y() > pdf.eph - 25:
        pdf.add_page()
    pdf.set_font(FAMILY, "B", 8)
    pdf.multi_cell(0, 4.2, text, new_x="LMARGIN", new_y="NEXT")


def _paragraph(pdf: "FPDF", text: str, size: int) -> None:
    pdf.set_font(FAMILY, "", size)
    pdf.multi_cell(0, size * 0.48, text, new_x="LMARGIN", new_y="NEXT")
    pdf.ln(1)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_LETTERS else f"{text[: MAX_LETTERS - 1]}…"


def _font_folder() -> Path:
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"
