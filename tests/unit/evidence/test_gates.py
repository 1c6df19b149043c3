"""Gates: thresholds from configuration decide, missing numbers fail, missing evidence says so."""

from pathlib import Path

import duckdb
import polars as pl
import pytest

from assets.evidence.gates import Gate, GateError, evaluate_gates, load_gates


def agreement(lsm: float, persistence: float) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "metric": "tvd",
            "slice": "all",
            "model": ["lsm", "persistence", "demographic_regression", "lsm_simulated"],
            "value": [lsm, persistence, 0.3, 0.2],
            "noise_floor": 0.1,
        }
    )


def outcomes(table: pl.DataFrame, name: str = "beats_persistence"):
    connection = duckdb.connect()
    connection.register("teacher_agreement", table.to_arrow())
    gates = [gate for gate in load_gates("student_model") if gate.name == name]
    return evaluate_gates(gates, lambda sql: pl.DataFrame(connection.sql(sql).to_arrow_table()))[0]


def test_a_student_that_loses_to_persistence_fails_red() -> None:
    found = outcomes(agreement(lsm=0.2, persistence=0.15))

    assert not found.has_passed
    assert found.gate.severity == "error"
    assert found.value == pytest.approx(-0.05)
    assert "found -0.0500 (error)" in found.sentence


def test_a_better_student_passes() -> None:
    assert outcomes(agreement(lsm=0.1, persistence=0.15)).has_passed


def test_a_number_that_cannot_be_computed_fails_and_absent_evidence_says_so() -> None:
    half = agreement(0.1, 0.15).filter(pl.col("model") != "persistence")

    assert not outcomes(half).has_passed
    empty = outcomes(half.head(0))
    assert empty.has_passed
    assert empty.shown == "no evidence in this run"


@pytest.mark.parametrize(("value", "has_passed"), [(0.3, True), (0.5, False)])
def test_the_noise_floor_bounds_from_above(value: float, has_passed: bool) -> None:
    assert outcomes(agreement(value, 0.6), "near_noise_floor").has_passed == has_passed


def test_every_gate_has_one_threshold_and_each_asset_an_error_gate() -> None:
    for asset in ("student_model", "outcomes"):
        assert any(gate.severity == "error" for gate in load_gates(asset))
    with pytest.raises(ValueError, match="either at_least or at_most"):
        Gate(name="x", asset="outcomes", tables=("survey_calibration",), sql="select 1", severity="warn", why="because")


def test_wrong_configuration_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gates.yaml"
    path.write_text("gates:\n  - {name: a, asset: agents}\n", encoding="utf-8")

    with pytest.raises(GateError, match="wrong gate"):
        load_gates(None, path)
