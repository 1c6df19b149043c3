"""A deliberate corruption of each input is caught by a check that names what is wrong."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from assets.evidence.forecast_models import forecasts
from assets.evidence.forecast_scores import case_rows
from assets.evidence.survey_series import trend_cases
from assets.population.errors import InconsistentMargins
from assets.population.harmonisation import harmonise_survey
from assets.population.laid_margins import Margin
from assets.population.weighting import calibrate_weights
from assets.sources.catalogue import DataCatalogue
from assets.sources.codebooks import load_codebook
from assets.sources.entries import CATALOGUE_PATH, RecordedFile, Source, read_catalogue
from assets.sources.errors import ChecksumMismatch, CodebookError
from assets.students import RegistryError, read_student
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
    ("survey_respondents", "a respondent twice", twice, "uniqueness"),
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
    ("calibrated_respondents", "a respondent twice", twice, "uniqueness"),
    ("media_sources", "a reach above one", first_row("reach", 1.7), "column reach: rule in_range"),
    ("scenarios", "an unknown kind", first_row("kind", "rumour"), "column kind: rule isin.*rumour"),
    ("scenarios", "a row twice", twice, "uniqueness"),
    ("elicitation_plan", "a request twice", twice, "uniqueness"),
    ("episodes", "a salience above one", first_row("salience", 3.0), "column salience: rule in_range"),
    ("counterfactuals", "a difference beyond one", first_row("difference", 2.0), "column difference: rule in_range"),
    (
        "intervention_surface",
        "a difference taken around another value",
        first_row("value_below", 99.0),
        "value_below ≤ value ≤ value_above",
    ),
    ("outcomes", "an interval that misses its share", first_row("upper", 0.0), "lower ≤ share ≤ upper"),
    ("held_out_predictions", "probabilities beyond one", first_row("option_probabilities", [1.0, 1.0]), "sum to one"),
    ("held_out_predictions", "a channel out of range", first_row("channels", [3.0] * 12), "channels between -1 and 1"),
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
    "source", [entry for entry in read_catalogue(CATALOGUE_PATH) if entry.mirror], ids=lambda s: s.name
)
def test_every_file_of_a_mirror_is_refused_when_a_byte_differs(source: Source, tmp_path: Path) -> None:
    assert source.mirror
    path = tmp_path / source.mirror.place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"not what was recorded")

    with pytest.raises(ChecksumMismatch, match=f"{re.escape(path.name)} is not the file that was recorded"):
        DataCatalogue(None, tmp_path, tmp_path / "cache").resolve(source.name)


@pytest.mark.slow
@pytest.mark.parametrize("table", ["recorded_answers", "recorded_calibration", "recorded_agreement"])
def test_a_corrupted_table_of_recordings_is_caught(table: str, mirror_home) -> None:
    rows = mirror_home.store.read(table).drop("run_id").head(200)
    contract = CONTRACTS[table]
    broken = {
        "recorded_answers": (first_row("validation_status", "guessed"), "column validation_status: rule isin.*guessed"),
        "recorded_calibration": (first_row("role", "oracle"), "column role: rule isin.*oracle"),
        "recorded_agreement": (first_row("metric", "charm"), "column metric: rule isin.*charm"),
    }
    contract.validate(rows)
    corrupt, named = broken[table]
    for rows_now, rule in ((corrupt(rows), named), (twice(rows), "uniqueness")):
        with pytest.raises(ContractError, match=f"(?s)Table {table} breaks its contract.*{rule}"):
            contract.validate(rows_now)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda folder: flip_last_byte(folder / "student.safetensors"), "student.safetensors is not the file"),
        (lambda folder: (folder / "student.safetensors").unlink(), "student.safetensors is not the file.*no file"),
        (lambda folder: (folder / "student.json").write_text("{"), "student.json cannot be read"),
        (lambda folder: rename_a_channel(folder / "student.json"), "trained with other channels"),
    ],
    ids=["a flipped byte", "weights gone", "half a config", "another channel"],
)
def test_corrupted_files_of_the_registry_are_refused(damage, named: str, smoke_home, tmp_path: Path) -> None:
    (source,) = {path.parent for path in (smoke_home.root / "mlflow").rglob("student.safetensors")}
    folder = Path(shutil.copytree(source, tmp_path / "artifacts"))
    read_student(folder, "student", 1)

    damage(folder)
    with pytest.raises(RegistryError, match=f"(?s)Version 1 of lsm.*{named}"):
        read_student(folder, "student", 1)


def flip_last_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def rename_a_channel(path: Path) -> None:
    description = json.loads(path.read_text(encoding="utf-8"))
    description["channels"][0] = "charisma"
    path.write_text(json.dumps(description), encoding="utf-8")


@pytest.mark.parametrize(
    ("male", "named"),
    [(500.0, "margin sex sums to 550"), (-50.0, "Margin sex has totals .*must be zero or more")],
    ids=["totals that disagree", "a count below zero"],
)
def test_a_corrupted_margin_is_refused_before_raking(male: float, named: str) -> None:
    level_R = np.arange(10) % 2

    def margins(male: float) -> list[Margin]:
        return [
            Margin("sex", ("male", "female"), level_R, np.array([male, 50.0])),
            Margin("party", ("democrat", "republican"), level_R[::-1].copy(), np.array([40.0, 60.0])),
        ]

    calibrate_weights(np.ones(10), [margins(50.0)[0]])
    with pytest.raises(InconsistentMargins, match=named):
        calibrate_weights(np.ones(10), margins(male))


@pytest.mark.parametrize(
    ("found", "replaced", "named"),
    [
        ("design_weight: wtssps", "design_weight: wtssp", r"line \d+: .*'wtssp'"),
        ("sex: {column: sex, recode: {1: male", "sex: {column: sex, recode: {1: man", r"line \d+.*man"),
        ("wave: 2024", "wave: never", r"line \d+.*wave"),
    ],
    ids=["a weight that is not there", "a level that does not exist", "a wave that is no year"],
)
def test_a_corrupted_codebook_is_refused_with_file_and_line(
    found: str, replaced: str, named: str, tmp_path: Path, data_mirror: Path
) -> None:
    text = (PROJECT_ROOT / "assets" / "sources" / "codebooks" / "gss_2024.yaml").read_text(encoding="utf-8")
    assert found in text
    path = tmp_path / "gss_2024.yaml"
    path.write_text(text.replace(found, replaced, 1), encoding="utf-8")
    rows = pl.read_parquet(data_mirror / "survey" / "gss_2024.parquet").head(50)

    with pytest.raises(CodebookError, match=rf"(?s)gss_2024\.yaml, {named}"):
        harmonise_survey(rows, load_codebook(path))


def waves(**changes: object) -> pl.DataFrame:
    """Eleven waves of 120 respondents with one item; `changes` are columns of the last wave."""
    rows = pl.DataFrame(
        {
            "wave": np.repeat(np.arange(1990, 2012, 2), 120).astype(np.int32),
            "weight": np.ones(1320),
            "age": 40,
            "party": np.where(np.arange(1320) % 120 < 12, "independent", "democrat"),
            "item_reform": np.where(np.arange(1320) % 3 == 0, "yes", "no"),
        }
    )
    is_last = pl.col("wave") == 2010
    return rows.with_columns(
        pl.when(is_last).then(pl.lit(value)).otherwise(pl.col(name)).alias(name) for name, value in changes.items()
    )


@pytest.mark.parametrize(
    ("changes", "place", "reason"),
    [
        ({"weight": None}, "item_reform/all", "refused: 120 of 120 respondents of wave 2010 have no positive weight"),
        ({"item_reform": "perhaps"}, "item_reform/all", "refused: the options of item_reform differ between waves"),
        ({}, "item_reform/party=independent", "suppressed: fewer than 100 respondents in every wave"),
    ],
    ids=["a wave without weights", "changed options", "too small a subgroup"],
)
def test_unusable_waves_items_and_subgroups_stand_in_the_table_with_their_reason(
    changes: dict, place: str, reason: str
) -> None:
    (case,) = trend_cases(
        waves(**changes), ["item_reform"], name="made", title="made", note="", splits=(2004,), years_after=10
    )
    assert re.match(reason, case.refused[place])
    assert place not in {f"{series.item}/{'all' if changes else series.segment}" for series in case.series}
    table = pl.DataFrame(
        case_rows(case, forecasts(case), seed=1), schema=CONTRACTS["dynamic_calibration"].polars_schema()
    )
    row = table.filter((pl.col("slice") == place) & (pl.col("model") == "none"))
    assert row["value"].to_list() == [None]
    assert re.match(reason, row["note"][0])


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
