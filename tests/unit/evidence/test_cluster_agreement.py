"""Reasoning clusters: perfect for the same channels, near zero for another person's, nothing where rows are few."""

import numpy as np
import polars as pl
import pytest

from assets.evidence.cluster_agreement import cluster_rows
from validation.contracts import CONTRACTS

CENTRES = np.array([[0.8, 0.0, 0.0], [0.0, 0.8, 0.0], [0.0, 0.0, 0.8], [-0.8, -0.8, -0.8]])
HELD_OUT = pl.DataFrame({"model": "uniform", "agent_id": range(30, 60), "split": "agents"}).with_columns(
    scenario_id=pl.lit("reform"), timestep=1, channels=pl.lit(None, dtype=pl.List(pl.Float64))
)


def channels(agent: np.ndarray, seed: int) -> list[list[float]]:
    return (CENTRES[agent % 4] + np.random.default_rng(seed).normal(0, 0.05, (len(agent), 3))).tolist()


def traces(num_agents: int = 60) -> pl.DataFrame:
    agent = np.repeat(np.arange(num_agents), 3)
    timestep = np.tile([0, 1, 2], num_agents)
    draws = [
        pl.DataFrame(
            {
                "scenario_id": "reform",
                "agent_id": agent,
                "timestep": timestep,
                "draw": draw,
                "channels": channels(agent, draw),
            }
        )
        for draw in (0, 1)
    ]
    return pl.concat(draws)


def simulated(shift: int) -> pl.LazyFrame:
    agent = np.repeat(np.arange(60), 3)
    shifted = np.random.default_rng(3).permutation(agent) if shift else agent
    return pl.DataFrame(
        {
            "scenario_id": "reform", "agent_id": agent, "timestep": np.tile([0, 1, 2], 60), "replicate": 0,
            "engine": "lsm", "channels": channels(shifted, 9),
        }
    ).lazy()  # fmt: skip


def value_of(table: pl.DataFrame, model: str, column: str = "value") -> float:
    return table.filter((pl.col("metric") == "cluster_ari") & (pl.col("model") == model))[column][0]


def test_the_same_reasons_agree_fully_and_the_floor_is_the_teachers_redraws() -> None:
    table = cluster_rows(traces(), simulated(0), HELD_OUT, 0)

    assert value_of(table, "lsm_simulated") == pytest.approx(1.0)
    assert value_of(table, "persistence") == pytest.approx(1.0)
    assert value_of(table, "persistence", "noise_floor") == pytest.approx(1.0)
    CONTRACTS["teacher_agreement"].validate(table)


def test_another_persons_reasons_agree_by_chance_only() -> None:
    table = cluster_rows(traces(), simulated(1), HELD_OUT, 0)

    assert abs(value_of(table, "lsm_simulated")) < 0.15
    assert value_of(table, "persistence") == pytest.approx(1.0)


def test_a_student_that_began_at_the_teachers_channels_is_scored_on_agents_that_nothing_was_fitted_on() -> None:
    agent, timestep = np.repeat(np.arange(30, 60), 2), np.tile([1, 2], 30)
    of_student = [
        pl.DataFrame(
            {"model": model, "agent_id": agent, "split": split, "scenario_id": "reform", "timestep": timestep}
        ).with_columns(channels=pl.Series(channels(minds, 5)))
        for model, split, minds in (
            ("lsm", "agents", agent),
            ("lsm_no_graph", "agents", np.random.default_rng(8).permutation(agent)),
            ("lsm_unanchored", "scenarios", agent),
        )
    ]
    twice = pl.concat([*of_student, of_student[0]])

    table = cluster_rows(traces(), simulated(0), twice, 0)

    assert value_of(table, "lsm") == pytest.approx(1.0)
    assert value_of(table, "lsm", "num_observations") == 60
    assert abs(value_of(table, "lsm_no_graph")) < 0.3
    assert "lsm_unanchored" not in set(table["model"])
    CONTRACTS["teacher_agreement"].validate(table)


def test_too_few_answers_are_suppressed_with_the_reason() -> None:
    table = cluster_rows(traces().filter(pl.col("agent_id") >= 28), simulated(0), HELD_OUT, 0)

    assert table["value"].null_count() == 2
    assert "40 are needed" in table["note"][0]
