"""Gates: thresholds from configuration decide, missing numbers fail, missing evidence says so."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import duckdb
import polars as pl
import pytest

from assets.evidence.checks import student_model_blocking_gates
from assets.evidence.gates import Gate, GateError, evaluate_gates, load_gates
from orchestration.resources import Platform
from validation.contracts import CONTRACTS


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


def test_only_evidence_that_is_made_with_the_student_can_block() -> None:
    late = {"name": "x", "sql": "select 1", "at_least": 0.0, "severity": "block", "why": "because"}
    for asset, table in (("student_model", "teacher_agreement"), ("outcomes", "simulated_shares")):
        with pytest.raises(ValueError, match=f"severity block on {asset} with {table}.*use error"):
            Gate.model_validate({**late, "asset": asset, "tables": (table,)})
    assert Gate.model_validate({**late, "asset": "student_model", "tables": ("simulated_shares",)}).severity == "block"


def predictions(student: list[float]) -> pl.DataFrame:
    """One held-out answer of a student beside equal chances; the teacher says 90 to 10."""
    rows = [
        {
            "model": model,
            "scenario_id": "s",
            "question_id": "q",
            "agent_id": 1,
            "timestep": 1,
            "split": "agents",
            "option_probabilities": said,
            "teacher_probabilities": [0.9, 0.1],
            "model_version": 1,
        }
        for model, said in (("lsm", student), ("uniform", [0.5, 0.5]))
    ]
    return pl.DataFrame(rows, schema=CONTRACTS["held_out_predictions"].polars_schema())


def shares(spread: float) -> pl.DataFrame:
    """How widely a student's people differ where the teacher's differ by 0.3."""
    row = {
        **dict.fromkeys(CONTRACTS["simulated_shares"].columns, 0.5),
        "scenario_id": "s", "question_id": "q", "option": "yes", "timestep": 0, "split": "held_out",
        "teacher_spread": 0.3, "student_spread": spread, "num_agents": 9, "model_version": 1,
    }  # fmt: skip
    return pl.DataFrame([row], schema=CONTRACTS["simulated_shares"].polars_schema())


@dg.multi_asset(
    name="distillation",
    outs={
        "student_model": dg.AssetOut(dagster_type=dg.Nothing),
        "held_out_predictions": dg.AssetOut(dagster_type=dg.Nothing),
        "simulated_shares": dg.AssetOut(dagster_type=dg.Nothing),
    },
)
def made_student() -> Iterator[dg.Output]:
    """A student whose evidence is in the store already."""
    for name in ("student_model", "held_out_predictions", "simulated_shares"):
        yield dg.Output(None, output_name=name)


@pytest.mark.parametrize(
    ("student", "spread", "is_simulated"),
    [([0.8, 0.2], 0.25, True), ([0.2, 0.8], 0.25, False), ([0.8, 0.2], 0.01, False)],
    ids=["as_it_should_be", "further_off_than_equal_chances", "all_alike"],
)
def test_nothing_is_simulated_with_a_student_that_a_blocking_gate_refuses(
    student: list[float], spread: float, is_simulated: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a real run: the blocking check stands between the student and what is downstream of it."""
    monkeypatch.setenv("POPULACE_HOME", str(tmp_path))
    platform = Platform()
    platform.store.write("held_out_predictions", predictions(student), run_id="made")
    platform.store.write("simulated_shares", shares(spread), run_id="made")
    simulated = []

    @dg.asset(deps=["student_model"])
    def rollouts() -> None:
        simulated.append(True)

    result = dg.materialize(
        [made_student, rollouts, student_model_blocking_gates],
        resources={"platform": platform},
        instance=dg.DagsterInstance.ephemeral(),
        raise_on_error=False,
    )
    (check,) = result.get_asset_check_evaluations()
    assert check.passed == is_simulated
    assert simulated == [True] * is_simulated
    assert result.success == is_simulated
