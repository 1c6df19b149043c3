"""Writes the report of a run as a PDF beside its page, from the tables as they are now."""

from pathlib import Path

from assets.evidence.report import report_page
from assets.evidence.report_index import write_index
from assets.evidence.run_record import read_context
from orchestration.query import QuerySession
from orchestration.recipes import Recipe
from orchestration.settings import Settings
from orchestration.table_store import TableStore
from validation.report.pdf import render_pdf


def write_pdf(settings: Settings, recipe: Recipe, run_id: str) -> Path:
    """The path of the PDF; the index of runs links it from then on.

    Args:
        settings: where tables, records and reports lie.
        recipe: sizes of the run.
        run_id: run whose folder takes the file.
    """
    store = TableStore(settings.tables_dir)
    with QuerySession(store) as session:
        page = report_page(session.answer, read_context(settings, recipe, run_id))
    target = settings.reports_dir / run_id / "report.pdf"
    draft = target.with_suffix(".draft")
    draft.write_bytes(render_pdf(page))
    draft.replace(target)
    write_index(settings.reports_dir)
    return target
