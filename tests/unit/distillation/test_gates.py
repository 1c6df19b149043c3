"""Gates: closed forms on made-up predictions."""

import polars as pl
import pytest

from assets.distillation.gates import REQUIRED, evaluate_gates, has_passed_gates, mean_tvd_by_agent

TEACHER = [1.0, 0.0]


def _held_out(misses: dict[str, list[float]]) -> pl.DataFrame:
    """Predictions whose TVD to the teacher is the number given, per model and agent; 0.9 for required ones left out."""
    num_agents = len(next(iter(misses.values())))
    misses = dict.fromkeys(REQUIRED, [0.9] * num_agents) | misses
    return pl.DataFrame(
        [
            {
                "model": model,
                "agent_id": agent,
                "option_probabilities": [1.0 - miss, miss],
                "teacher_probabilities": TEACHER,
            }
            for model, values in misses.items()
            for agent, miss in enumerate(values)
        ]
    )


def test_a_clear_win_passes_and_excludes_zero() -> None:
    gates = evaluate_gates(
        _held_out({"lsm": [0.1, 0.2, 0.1], "lsm_no_graph": [0.2, 0.3, 0.2], "persistence": [0.4, 0.3, 0.2]})
    )
    assert [gate.baseline for gate in gates] == list(REQUIRED)
    assert gates[0].difference == pytest.approx(-0.1)
    assert (gates[0].lower, gates[0].upper) == pytest.approx((-0.1, -0.1))
    assert gates[0].excludes_zero
    assert gates[0].verdict == "better"
    assert has_passed_gates(gates)


def test_a_win_within_noise_passes_and_says_so() -> None:
    gate = evaluate_gates(_held_out({"lsm": [0.0, 0.3], "lsm_no_graph": [0.2, 0.2], "persistence": [0.5, 0.5]}))[0]
    assert gate.has_passed
    assert not gate.excludes_zero
    assert gate.verdict == "better, but the interval includes zero"


def test_a_loss_to_a_required_baseline_fails() -> None:
    gates = evaluate_gates(_held_out({"lsm": [0.3, 0.3], "lsm_no_graph": [0.2, 0.2], "persistence": [0.5, 0.5]}))
    assert not has_passed_gates(gates)
    assert gates[0].verdict == "worse"


@pytest.mark.parametrize("baseline", REQUIRED)
def test_a_loss_to_any_required_baseline_fails(baseline: str) -> None:
    assert not has_passed_gates(evaluate_gates(_held_out({"lsm": [0.3, 0.3], baseline: [0.2, 0.2]})))


def test_a_loss_to_a_reported_baseline_does_not_matter_for_the_champion() -> None:
    gates = evaluate_gates(
        _held_out(
            {
                "lsm": [0.1, 0.1],
                "lsm_no_graph": [0.2, 0.2],
                "persistence": [0.5, 0.5],
                "uniform": [0.0, 0.0],
            }
        )
    )
    assert has_passed_gates(gates)
    assert not gates[-1].has_passed


def test_simulated_people_stand_beside_what_knows_as_much_and_decide_nothing() -> None:
    misses = {
        "lsm": [0.1, 0.1],
        "lsm_simulated": [0.3, 0.5],
        "demographic_regression": [0.2, 0.3],
        "uniform": [0.6, 0.7],
    }
    gates = evaluate_gates(_held_out(misses))
    assert has_passed_gates(gates)
    lost, won = (next(gate for gate in gates if gate.baseline == f"simulated_{name}") for name in list(misses)[2:])
    assert (lost.student_value, lost.baseline_value) == pytest.approx((0.4, 0.25))
    assert (lost.verdict, won.verdict) == ("worse", "better")
    assert not lost.is_required
    assert not won.is_required
    assert [gate.student_value for gate in gates[: len(REQUIRED)]] == pytest.approx([0.1] * len(REQUIRED))


def test_agents_count_alike_however_many_answers_they_gave() -> None:
    frame = pl.concat([_held_out({"lsm": [0.1, 0.5]}), _held_out({"lsm": [0.1]}), _held_out({"lsm": [0.1]})])
    assert mean_tvd_by_agent(frame)["lsm"].to_list() == pytest.approx([0.1, 0.5])


def test_a_missing_baseline_is_refused() -> None:
    held_out = _held_out({"lsm": [0.1]}).filter(pl.col("model") != "persistence")
    with pytest.raises(ValueError, match="no rows of persistence; found demographic_regression"):
        evaluate_gates(held_out)
