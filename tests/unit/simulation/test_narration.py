"""A story restates the stored rows: who, what was taken in, what moved, what is answered; and says what it is."""

import numpy as np
import polars as pl
import pytest

from assets.simulation.narration import NarrationError, narrate
from validation.channels import channel_names, load_channels
from validation.contracts import CONTRACTS


@pytest.fixture
def told(make_agents, make_trajectories, make_scenario_rows):
    """Agent 1 supports at first, hears the announcement, feels it unfair and ends opposed."""
    support, oppose = [0.7, 0.2, 0.1], [0.25, 0.65, 0.1]
    trajectories = make_trajectories(np.array([[support] * 3, [support] * 3, [oppose] * 3]))
    unfair = np.zeros(len(channel_names()))
    unfair[channel_names().index("fairness")] = -0.5
    moved = trajectories["timestep"].to_numpy() >= 1
    channels = np.where(moved[:, None], unfair, 0.0)
    trajectories = trajectories.with_columns(channels=pl.Series(channels.tolist(), dtype=pl.List(pl.Float32)))
    episode = {
        "scenario_id": "charge",
        "replicate": 0,
        "agent_id": 1,
        "timestep": 1,
        "kind": "event",
        "event_id": "announcement",
        "salience": 0.62,
        "appraisal": -0.4,
    }
    schema = {name: column.dtype.type for name, column in CONTRACTS["episodes"].columns.items()}
    return make_agents(3), trajectories, pl.DataFrame([episode], schema=schema), make_scenario_rows()


def test_every_sentence_comes_from_a_row(told) -> None:
    story = narrate(1, *told)
    fairness = next(channel for channel in load_channels() if channel.name == "fairness")

    assert "week 0: leans to support (70%); conviction 0.50." in story
    assert "week 1: takes in announcement from city hall, unfavourably (salience 0.62)" in story
    assert f"fairness -0.50, towards “{fairness.low}”" in story
    assert "week 2: leans to oppose (65%); ends at support 25%, oppose 65%, unsure 10%" in story
    assert "not the words of a person or of a language model" in story


def test_a_timestep_without_news_is_not_told(told) -> None:
    agents, trajectories, _, rows = told
    still = trajectories.with_columns(channels=trajectories["channels"].first())
    story = narrate(1, agents, still.filter(pl.col("timestep") <= 1), told[2].clear(), rows)

    assert "week 1: ends at" in story
    assert "takes in" not in story
    assert "towards" not in story


@pytest.mark.parametrize(("agent", "named"), [(99, "0 to 2"), (2, "Choose another agent")])
def test_an_agent_without_rows_is_named(told, agent: int, named: str) -> None:
    agents, trajectories, episodes, rows = told
    with pytest.raises(NarrationError, match=named):
        narrate(agent, agents, trajectories.filter(pl.col("agent_id") != 2), episodes, rows)
