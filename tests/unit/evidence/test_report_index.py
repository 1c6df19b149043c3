"""The index of reports lists every run, newest first, and links the PDF where there is one; the PDF holds the page."""

from pathlib import Path

import polars as pl
import pytest

from assets.evidence.report_index import COLUMNS, note_run, write_index
from validation.report import ListBlock, Page, RecordBlock, Section, TextBlock, chart_block, charts, table_block
from validation.report.pdf import render_pdf


def made_run(folder: Path, run_id: str, created: str) -> Path:
    run = folder / run_id
    run.mkdir()
    (run / "report.html").write_text("<html></html>", encoding="utf-8")
    note_run(run, {**dict.fromkeys(COLUMNS, "x"), "created": created, "teacher": "<script>alert(1)</script>"})
    return run


def test_runs_are_listed_newest_first_and_escaped(tmp_path: Path) -> None:
    made_run(tmp_path, "aaaaaaaa-1", "2024-01-01")
    newer = made_run(tmp_path, "bbbbbbbb-2", "2024-02-01")
    (newer / "report.pdf").write_bytes(b"%PDF")
    (tmp_path / "no-report").mkdir()

    page = write_index(tmp_path).read_text(encoding="utf-8")

    assert page.index("bbbbbbbb-2/report.html") < page.index("aaaaaaaa-1/report.html")
    assert "bbbbbbbb-2/report.pdf" in page
    assert "aaaaaaaa-1/report.pdf" not in page
    assert "<script>" not in page
    assert "2 runs" in page


def test_a_run_without_a_note_is_still_listed(tmp_path: Path) -> None:
    run = made_run(tmp_path, "cccccccc-3", "2024-01-01")
    (run / "run.json").unlink()

    assert "not noted" in write_index(tmp_path).read_text(encoding="utf-8")


@pytest.fixture
def page() -> Page:
    frame = pl.DataFrame(
        {
            "model": [f"model {i} λ ≥ ½ …" for i in range(60)],
            "value": [i / 60 for i in range(60)],
            "lower": 0.0,
            "upper": 1.0,
            "noise_floor": 0.1,
        }
    )

    def query(_: str) -> pl.DataFrame:
        return frame

    return Page(
        "A report",
        "of a run",
        (
            Section("First", (TextBlock("Mind the gap.", "warning"), ListBlock(("one", "two")))),
            Section(
                "Second", (table_block(query, "select 1", "A long table"), RecordBlock(frame.head(0), "Empty", "o"))
            ),
            Section("Third", (chart_block(query, "select 1", "A chart", charts.model_bars),)),
        ),
    )


def test_the_pdf_holds_every_section_and_its_pictures(page: Page) -> None:
    made = render_pdf(page)

    assert made.startswith(b"%PDF-")
    assert made.count(b"/Type /Page\n") >= len(page.sections)
    assert b"/Subtype /Image" in made
    assert len(made) > len(render_pdf(Page("A report", "of a run", page.sections[:1])))
