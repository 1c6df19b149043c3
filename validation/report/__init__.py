"""Building blocks of self-contained report pages: tables and charts that carry the SQL they were made by.

Nothing here knows which tables exist or what a report says.
"""

from validation.report.blocks import (
    Block,
    ChartBlock,
    FactsBlock,
    Format,
    Link,
    LinksBlock,
    ListBlock,
    Page,
    Query,
    RecordBlock,
    Section,
    TableBlock,
    TextBlock,
    chart_block,
    table_block,
)
from validation.report.page import read_figures, render_page

__all__ = [
    "Block",
    "ChartBlock",
    "FactsBlock",
    "Format",
    "Link",
    "LinksBlock",
    "ListBlock",
    "Page",
    "Query",
    "RecordBlock",
    "Section",
    "TableBlock",
    "TextBlock",
    "chart_block",
    "read_figures",
    "render_page",
    "table_block",
]
