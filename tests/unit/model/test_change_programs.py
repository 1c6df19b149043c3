"""Momentum and adoption in closed form: persistence, linear trends, Bass diffusion, and parameters found again."""

import pytest
import torch

from model.lpm.calibration import Target, calibrate
from model.lpm.parameters import Parameter
from model.lpm.program import run
from model.lpm.programs.adoption import adoption_program
from model.lpm.programs.momentum import log_odds_of, momentum_program

NO_TIES = {
    "offsets_N1": torch.zeros(4, dtype=torch.int64),
    "src_E": torch.zeros(0, dtype=torch.int64),
    "strength_E": torch.zeros(0, dtype=torch.float64),
}
RING = {
    "offsets_N1": torch.tensor([0, 1, 2, 3]),
    "src_E": torch.tensor([1, 2, 0]),
    "strength_E": torch.ones(3, dtype=torch.float64),
}
STANCE_N = torch.tensor([-0.6, 0.1, 0.8], dtype=torch.float64)
SLOPE_N = torch.tensor([0.05, 0.0, -0.1], dtype=torch.float64)


def fixed(value: float, bounds: tuple[float, float]) -> Parameter:
    return Parameter(value, bounds=bounds)


def groups(ties: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        "log_odds_N": log_odds_of(STANCE_N),
        "earlier_log_odds_N": torch.zeros(3, dtype=torch.float64),
        "own_slope_N": SLOPE_N,
        "common_slope_N": torch.full((3,), 0.02, dtype=torch.float64),
        **ties,
    }


def test_without_gains_nothing_moves() -> None:
    program = momentum_program(
        recall=fixed(0.0, (0, 1)), own_gain=fixed(0.0, (-1, 1)), common_gain=fixed(0.0, (-1, 1)),
        pull=fixed(0.0, (-1, 1)),
    )  # fmt: skip

    last = run(program, groups(RING), 7)

    torch.testing.assert_close(last["stance_N"], STANCE_N)


def test_full_undamped_gain_is_the_linear_trend_in_log_odds() -> None:
    program = momentum_program(
        recall=fixed(0.0, (0, 1)), own_gain=fixed(1.0, (-1, 1)), common_gain=fixed(0.0, (-1, 1)),
        damping=fixed(1.0, (0, 1)), pull=fixed(0.0, (-1, 1)),
    )  # fmt: skip

    last = run(program, groups(RING), 5)

    torch.testing.assert_close(last["stance_N"], torch.tanh((log_odds_of(STANCE_N) + 5 * SLOPE_N) / 2))


def test_trends_fade_to_the_geometric_sum() -> None:
    program = momentum_program(
        recall=fixed(0.0, (0, 1)), own_gain=fixed(1.0, (-1, 1)), common_gain=fixed(0.0, (-1, 1)),
        damping=fixed(0.5, (0, 1)), pull=fixed(0.0, (-1, 1)),
    )  # fmt: skip

    last = run(program, groups(NO_TIES), 60)

    torch.testing.assert_close(last["stance_N"], torch.tanh((log_odds_of(STANCE_N) + 2 * SLOPE_N) / 2))


def test_full_recall_starts_from_the_earlier_mean() -> None:
    program = momentum_program(
        recall=fixed(1.0, (0, 1)), own_gain=fixed(0.0, (-1, 1)), common_gain=fixed(0.0, (-1, 1)),
        pull=fixed(0.0, (-1, 1)),
    )  # fmt: skip

    last = run(program, groups(NO_TIES), 3)

    torch.testing.assert_close(last["stance_N"], torch.zeros(3, dtype=torch.float64))


def test_pull_brings_groups_together_and_keeps_their_mean_on_a_ring() -> None:
    program = momentum_program(
        recall=fixed(0.0, (0, 1)), own_gain=fixed(0.0, (-1, 1)), common_gain=fixed(0.0, (-1, 1)),
        pull=fixed(0.2, (-1, 1)),
    )  # fmt: skip

    last = run(program, groups(RING), 200)

    torch.testing.assert_close(last["log_odds_N"], log_odds_of(STANCE_N).mean().expand(3))


def places(num: int = 3) -> dict[str, torch.Tensor]:
    return {
        "adopted_N": torch.full((num,), 0.01, dtype=torch.float64),
        "covariate_N": torch.linspace(-1, 1, num, dtype=torch.float64),
        "offsets_N1": torch.arange(num + 1),
        "src_E": torch.arange(num),
        "strength_E": torch.ones(num, dtype=torch.float64),
    }


def test_innovation_alone_is_exponential_approach_to_the_ceiling() -> None:
    program = adoption_program(3, innovation=fixed(0.1, (0, 1)), imitation=fixed(0.0, (0, 2)))

    last = run(program, places(), 10)

    ceiling = torch.sigmoid(torch.tensor(1.4, dtype=torch.float64))
    expected = ceiling - (ceiling - 0.01) * torch.exp(torch.tensor(-1.0, dtype=torch.float64))
    torch.testing.assert_close(last["adopted_N"], expected.expand(3))


def test_adoption_never_falls_and_never_passes_the_ceiling() -> None:
    seen: list[torch.Tensor] = []
    run(adoption_program(3), places(), 80, record=lambda _, state: seen.append(state["adopted_N"]))

    shares_TN = torch.stack(seen)
    assert bool((shares_TN.diff(dim=0) >= 0).all())
    assert bool((shares_TN <= torch.sigmoid(torch.tensor(1.4))).all())


def test_places_below_the_threshold_wait() -> None:
    waits = run(adoption_program(3, innovation=fixed(0.0, (0, 1)), threshold=fixed(0.5, (0, 1))), places(), 40)
    spreads = run(adoption_program(3, innovation=fixed(0.0, (0, 1)), threshold=fixed(0.0, (0, 1))), places(), 40)

    assert float(waits["adopted_N"].max()) < 0.011
    assert float(spreads["adopted_N"].min()) > 0.1


def test_calibration_finds_the_speed_of_diffusion_again() -> None:
    truth = adoption_program(3, innovation=fixed(0.03, (0, 0.5)), imitation=fixed(0.4, (0, 2)))
    seen: list[torch.Tensor] = []
    run(truth, places(), 20, record=lambda _, state: seen.append(state["adopted_N"]))
    targets = [Target(step, lambda state: state["adopted_N"], seen[step], 0.01) for step in range(1, 21)]

    fitted = calibrate(
        adoption_program(3), places(), targets, steps=300, free=("adoption.innovation", "adoption.imitation")
    )

    assert float(fitted.estimates["adoption.innovation"].value) == pytest.approx(0.03, abs=0.005)
    assert float(fitted.estimates["adoption.imitation"].value) == pytest.approx(0.4, abs=0.05)
