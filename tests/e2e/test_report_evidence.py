"""What the report claims of itself, on whole runs: no figure typed by hand, nothing that loses left out."""

import re
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from orchestration.freshness import STAGE_BY_ASSET
from orchestration.query import run_query
from orchestration.records import Records
from validation.contracts import CONTRACTS
from validation.report import read_figures

pytestmark = pytest.mark.slow
DEFINITIONS = {"95 %", "85.5 %"}
"""Numbers that the prose of the page may name: levels of intervals, which no run measures."""
MEASURED_NUMBER = re.compile(r"(?<![\w.-])\d+(?:\.\d+)? %|(?<![\w.-])\d+\.\d+(?![\w.-])")


NAMED = re.compile(r"\b(?:from|join)\s+([a-z_]+)")


class Prose(HTMLParser):
    """Text of paragraphs, outside tables, charts, statements and lists of commands."""

    def __init__(self) -> None:
        super().__init__()
        self.depth, self.paragraphs = 0, [""]

    def handle_starttag(self, tag, attrs) -> None:  # noqa: ARG002
        if tag == "p":
            self.depth, self.paragraphs = self.depth + 1, [*self.paragraphs, ""]

    def handle_endtag(self, tag) -> None:
        self.depth -= tag == "p"

    def handle_data(self, data) -> None:
        if self.depth:
            self.paragraphs[-1] += data


@pytest.fixture(params=["smoke_home", "mirror_home"])
def home(request: pytest.FixtureRequest):
    return request.getfixturevalue(request.param)


def page_of(home) -> str:
    return Path(Records(home.root / "records").read("validation_report")["path"]).read_text(encoding="utf-8")


def failures_of(figures: list[dict]) -> pl.DataFrame:
    found = next(figure for figure in figures if figure["section"] == "Where it fails")
    return pl.DataFrame(found["rows"], schema=found["columns"], orient="row", infer_schema_length=None)


def test_every_statement_reads_tables_upstream_of_the_report(home) -> None:
    for figure in read_figures(page_of(home)):
        read = set(NAMED.findall(figure["sql"])) & CONTRACTS.keys()
        assert read, f"{figure['caption']} reads no table"
        assert read <= set(STAGE_BY_ASSET["validation_report"].upstream), figure["caption"]


def test_the_prose_names_no_measured_number(home) -> None:
    prose = Prose()
    prose.feed(page_of(home).replace("\xa0", " "))
    named = {number for text in prose.paragraphs for number in MEASURED_NUMBER.findall(text)}

    assert len(prose.paragraphs) > 20
    gates = Records(home.root / "records").read("student_model")["gates"]
    limits = {number for gate in gates for number in MEASURED_NUMBER.findall(gate["name"])}
    assert named <= DEFINITIONS | limits


def test_every_losing_row_of_the_tables_is_printed(home) -> None:
    failures = failures_of(read_figures(page_of(home)))
    printed = set(failures.select("part", "figure").iter_rows())

    def ask(sql: str) -> list[tuple]:
        return run_query(home.store, sql).rows()

    for benchmark, place in ask("select benchmark, slice from benchmark_scores where verdict = 'falls short'"):
        assert ("benchmarks", f"{benchmark}, {place}") in printed
    for scenario, quantity in ask(
        "select scenario_id, quantity from behaviour_scores where model = 'lsm' and verdict <> 'within'"
    ):
        assert ("behaviour", f"{scenario}, {quantity}") in printed
    for case, place in ask(
        "select case_id, slice from dynamic_calibration where metric = 'skill' and value < 0 "
        "and slice in ('all', 'subgroups') and model in ('momentum', 'adoption')"
    ):
        assert ("forecasts", f"{case}, {place}") in printed
    for metric, place in ask(
        "select ours.metric, ours.slice from teacher_agreement ours "
        "join teacher_agreement theirs using (metric, slice) where ours.model = 'lsm' "
        "and theirs.model = 'persistence' and ours.metric = 'tvd' "
        "and ours.value > theirs.value"
    ):
        assert ("teacher agreement", f"{metric}, {place}") in printed


def test_every_gate_stands_on_the_page_with_its_number(home) -> None:
    gates = next(figure for figure in read_figures(page_of(home)) if figure["section"] == "Gates")
    verdicts = {row[gates["columns"].index("verdict")] for row in gates["rows"]}

    assert len(gates["rows"]) >= 8
    assert verdicts <= {"passes", "fails (warn)", "fails (error)", "fails: no number", "no evidence in this run"}


def test_with_the_mirror_no_section_is_unmeasured(mirror_home) -> None:
    page = page_of(mirror_home)
    captions = {figure["caption"] for figure in read_figures(page)}

    assert "Not measured" not in page
    assert "Not calibrated" not in page
    assert "The student against every recorded model, and both against the survey" in captions
    assert "The same people by subgroup: skill is 1 − Brier / Brier of persistence" in captions


def test_intervals_of_every_rectified_option_hold_nine_tenths_of_their_level(mirror_home) -> None:
    (coverage,) = run_query(
        mirror_home.store, "select min(coverage) from rectified_shares where method = 'prediction_powered'"
    ).row(0)

    assert coverage >= 0.9 * 0.95
