"""A deliberate corruption of each input is caught by a check that names what is wrong."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from assets.sources.catalogue import DataCatalogue
from assets.sources.entries import RecordedFile, Source
from assets.sources.errors import ChecksumMismatch
from assets.traces.scenario_errors import ScenarioError
from assets.traces.scenario_files import read_scenario
from orchestration.settings import PROJECT_ROOT
from validation.contracts import CONTRACTS, ContractError

Corruption = Callable[[pl.DataFrame], pl.DataFrame]


def first_row(column: str, value: object) -> Corruption:
    def corrupt(rows: pl.DataFrame) -> pl.DataFrame:
        is_first = pl.int_range(pl.len()) == 0
        broken = pl.lit(value, rows.schema[column])
        return rows.with_columns(pl.when(is_first).then(broken).otherwise(pl.col(column)).alias(column))

    return corrupt


def twice(rows: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([rows, rows.head(1)])


CORRUPTIONS: tuple[tuple[str, str, Corruption, str], ...] = (
    (
        "survey_respondents",
        "a weight below zero",
        first_row("design_weight", -1.0),
        "column design_weight: rule greater_than",
    ),
    ("survey_respondents", "a minor", first_row("age", 7), "column age: rule in_range"),
    ("survey_respondents", "an unknown party", first_row("party", "whig"), "column party: rule isin.*whig"),
    ("survey_respondents", "a respondent twice", twice, "respondent_id"),
    ("population_margins", "a share above one", first_row("share", 1.2), "column share: rule in_range"),
    (
        "calibrated_respondents",
        "a weight of zero",
        first_row("calibrated_weight", 0.0),
        "column calibrated_weight: rule greater_than",
    ),
    ("agents", "a gap in the ids", lambda rows: rows.filter(pl.col("agent_id") != 1), "counts 0…N−1 without gaps"),
    ("agents", "an impossible age", first_row("age", 140), "column age: rule in_range"),
    ("ties", "a strength above one", first_row("strength", 1.5), "column strength: rule in_range"),
    ("ties", "an unknown type", first_row("tie_type", "rival"), "column tie_type: rule isin.*rival"),
    ("reasoning_traces", "probabilities beyond one", first_row("option_probabilities", [0.9, 0.4]), "sum to one"),
    ("reasoning_traces", "a channel out of range", first_row("channels", [3.0] * 12), "channels between -1 and 1"),
    ("reasoning_traces", "conviction beyond one", first_row("conviction", 4.0), "column conviction: rule in_range"),
    ("trajectories", "probabilities that are lost", first_row("option_probabilities", [0.1, 0.1]), "sum to one"),
    (
        "trajectories",
        "a negative timestep",
        first_row("timestep", -1),
        "column timestep: rule greater_than_or_equal_to",
    ),
    ("outcomes", "an interval that misses its share", first_row("upper", 0.0), "lower ≤ share ≤ upper"),
    ("held_out_predictions", "probabilities beyond one", first_row("option_probabilities", [1.0, 1.0]), "sum to one"),
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "corrupt", "named"),
    [(table, corrupt, named) for table, _, corrupt, named in CORRUPTIONS],
    ids=[f"{table}: {label}" for table, label, _, _ in CORRUPTIONS],
)
def test_a_corrupted_table_is_caught_by_a_named_rule(table: str, corrupt: Corruption, named: str, smoke_home) -> None:
    rows = smoke_home.store.read(table).drop("run_id").sort(CONTRACTS[table].key)
    rows = rows if table == "agents" else rows.head(200)
    CONTRACTS[table].validate(rows)

    with pytest.raises(ContractError, match=f"(?s)Table {table} breaks its contract.*{named}"):
        CONTRACTS[table].validate(corrupt(rows))


def test_a_changed_source_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "file.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    source = Source(
        name="changed", kind="extract", title="t", owner="o", licence="l", citation="c",
        mirror=RecordedFile("file.csv", "0" * 64),
    )  # fmt: skip
    catalogue = DataCatalogue(None, tmp_path, tmp_path / "cache", sources=[source])

    with pytest.raises(ChecksumMismatch, match=r"file\.csv is not the file that was recorded"):
        catalogue.resolve("changed")


@pytest.mark.parametrize(
    ("found", "replaced", "named"),
    [
        ("valence: 0.6", "valence: 6", "valence"),
        ("type: expert", "type: oracle", "oracle"),
        ("channel: broadcast", "channel: telepathy", "telepathy"),
        ("count: 12", "count: -3", "count"),
    ],
)
def test_a_corrupted_scenario_file_is_refused_with_line_and_field(
    found: str, replaced: str, named: str, tmp_path: Path
) -> None:
    text = (PROJECT_ROOT / "scenarios" / "advantage-debate.yaml").read_text(encoding="utf-8")
    assert found in text
    path = tmp_path / "advantage-debate.yaml"
    path.write_text(text.replace(found, replaced, 1), encoding="utf-8")

    with pytest.raises(ScenarioError, match=rf"(?s)line \d+.*{named}"):
        read_scenario(path)
