"""The reference pages say what the contracts and the stored results say."""

from benchmarks.results import page
from orchestration.settings import PROJECT_ROOT
from validation.contracts.reference import render_reference

REFERENCE = PROJECT_ROOT / "docs" / "reference"


def test_the_page_of_the_tables_is_the_one_the_contracts_write() -> None:
    assert (REFERENCE / "tables.md").read_text(encoding="utf-8") == render_reference(), "run `make docs`"


def test_the_page_of_the_benchmarks_is_the_one_the_stored_results_write() -> None:
    assert (REFERENCE / "benchmarks.md").read_text(encoding="utf-8") == page(), "run `make docs`"
