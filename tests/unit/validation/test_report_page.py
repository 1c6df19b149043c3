import json

import polars as pl
import pytest

from validation.report import (
    ChartBlock,
    FactsBlock,
    Link,
    ListBlock,
    Page,
    RecordBlock,
    Section,
    TableBlock,
    TextBlock,
    charts,
    read_figures,
    render_page,
    table_block,
)
from validation.report.cells import show_table, show_value
from validation.report.page import script_json

HOSTILE = "</script><script>alert(1)</script><!-- ${x} & \u2028"


def page_of(*blocks) -> str:
    return render_page(Page("Title", "Subtitle", (Section("One", tuple(blocks)),)))


def test_hostile_text_stays_text_in_every_block():
    frame = pl.DataFrame({"text": [HOSTILE], "value": [1.0]})
    html = page_of(
        TextBlock(HOSTILE),
        ListBlock((HOSTILE,)),
        FactsBlock({HOSTILE: HOSTILE}),
        RecordBlock(frame, HOSTILE, HOSTILE),
        TableBlock(frame, f"select '{HOSTILE.replace('$', '').replace('!', '')}'", HOSTILE),
    )
    assert "<script>alert" not in html
    assert html.count("<script") == html.count("</script>") == 1
    assert read_figures(html)[0]["rows"] == [[HOSTILE, 1.0]]


def test_hostile_text_in_a_chart_cannot_end_its_script():
    frame = pl.DataFrame({"degree": [1, 2], "share": [0.5, 0.5]})
    specification = {**charts.degree_distribution(frame), "description": HOSTILE}
    html = page_of(ChartBlock(specification, frame, "select 1", "Degrees"))
    assert "<script>alert" not in html
    assert html.count("<script") == 4


def test_json_for_scripts_is_still_the_same_json():
    value = {"text": HOSTILE, "list": [1, None, "<b>"]}
    text = script_json(value)
    assert json.loads(text) == value
    assert not set("<>&\u2028") & set(text)


def test_a_table_is_the_answer_of_its_sql_and_says_so():
    frame = pl.DataFrame({"share": [0.25, None], "verdict": ["loses to uniform", "met"]})
    asked: list[str] = []

    def query(sql: str) -> pl.DataFrame:
        asked.append(sql)
        return frame

    html = page_of(table_block(query, "select share, verdict from t", "Shares", {"share": "share"}))
    assert asked == ["select share, verdict from t"]
    assert 'populace query "select share, verdict from t"' in html
    assert "25.0 %" in html
    assert read_figures(html)[0]["rows"] == [[0.25, "loses to uniform"], [None, "met"]]
    assert 'class="bad-row"' in html


def test_values_that_json_cannot_hold_become_null():
    frame = pl.DataFrame({"value": [float("nan"), float("inf"), 1.5]})
    assert read_figures(page_of(TableBlock(frame, "select 1", "Values")))[0]["rows"] == [[None], [None], [1.5]]


def test_long_tables_are_cut_on_the_page_but_not_in_the_figures():
    frame = pl.DataFrame({"value": range(1000)})
    html = page_of(TableBlock(frame, "select 1", "Values"))
    assert "of 1,000 rows" in html
    assert html.count("<tr>") < 500
    assert len(read_figures(html)[0]["rows"]) == 1000


@pytest.mark.parametrize("sql", ['select "a"', "select 1 != 2", "select '$x'", "select `a`", " "])
def test_sql_that_a_shell_would_change_is_refused(sql):
    with pytest.raises(ValueError, match="SQL"):
        TableBlock(pl.DataFrame({"a": [1]}), sql, "Caption")


@pytest.mark.parametrize("address", ["javascript:alert(1)", "data:text/html,x", " javascript:x"])
def test_links_that_run_code_are_refused(address):
    with pytest.raises(ValueError, match="Allowed"):
        Link("x", address)


@pytest.mark.parametrize("address", ["https://example.org/a?b=c", "../data_docs/index.html", "/a/b", "latest.html"])
def test_plain_links_are_allowed(address):
    assert Link("x", address).address == address


def test_two_sections_with_one_title_are_refused():
    with pytest.raises(ValueError, match="share a title"):
        render_page(Page("T", "S", (Section("One", ()), Section("one", ()))))


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (0.4567, "share", "45.7 %"),
        (-0.012, "signed_share", "-1.2"),
        (12345, "count", "12,345"),
        (0.00001, "number", "1.0e-05"),
        (None, "number", "—"),
        (float("nan"), "share", "—"),
        (True, "text", "yes"),
        (["a", "b"], "text", "a, b"),
    ],
)
def test_values_are_shown_as_people_read_them(value, kind, text):
    assert show_value(value, kind).text == text


def test_a_format_for_a_missing_column_is_refused():
    with pytest.raises(ValueError, match="other"):
        show_table(pl.DataFrame({"a": [1]}), {"other": "share"})


def test_only_the_verdict_column_is_coloured():
    shown = show_table(pl.DataFrame({"gate": ["beats uniform"], "verdict": ["beats every baseline"]}), {})
    assert [cell.tone for cell in shown.rows[0]] == ["neutral", "good"]


def test_pages_without_figures_are_refused_by_the_reader():
    with pytest.raises(ValueError, match="no embedded figures"):
        read_figures("<html></html>")


def test_a_page_without_charts_carries_no_program():
    assert len(page_of(TextBlock("x"))) < 20_000
