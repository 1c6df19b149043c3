"""The reference page says what the contracts say."""

from orchestration.settings import PROJECT_ROOT
from validation.contracts.reference import render_reference


def test_the_page_of_the_tables_is_the_one_the_contracts_write() -> None:
    page = (PROJECT_ROOT / "docs" / "reference" / "tables.md").read_text(encoding="utf-8")

    assert page == render_reference(), "run `make docs`"
