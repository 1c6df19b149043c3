"""Whom an event reaches, on cases that can be counted by hand; its laws are in tests/property."""

import numpy as np
import polars as pl
import pytest

from validation.exposure import exposed_agents, uniform_per_agent

AGENTS = pl.DataFrame({"agent_id": [4, 0, 3, 1, 2], "age": [70, 20, 50, 30, 40]})
SOURCES = pl.DataFrame({"source_id": [0, 1], "source_type": ["cable_news_left", "local_newspaper"]})
TIES = pl.DataFrame(
    {
        "src": [0, 0, 1, 1, 0],
        "dst": [1, 2, 2, 4, 3],
        "tie_type": ["media", "media", "media", "media", "friend"],
    }
)


def reached(channel: str = "broadcast", reach: float = 1.0, where: str | None = None, seed: int = 0) -> list[int]:
    event = {"scenario_id": "s", "name": "e", "channel": channel, "reach": reach, "exposure_where": where}
    mask = exposed_agents(event, AGENTS, TIES, SOURCES, seed)
    assert mask.shape == (AGENTS.height,)
    return sorted(AGENTS["agent_id"].to_numpy()[mask].tolist())


def test_reach_of_zero_is_nobody_and_of_one_everybody_addressed() -> None:
    assert reached(reach=0.0) == []
    assert reached(reach=1.0) == [0, 1, 2, 3, 4]
    assert reached(reach=1.0, where="age >= 40") == [2, 3, 4]
    assert reached(reach=1.0, where="age > 200") == []
    assert reached(reach=1.0, where="true") == [0, 1, 2, 3, 4]


def test_a_media_channel_reaches_the_followers_of_its_sources_only() -> None:
    """Agent 3 hears agent 0, whose id equals that of a source; that is no media tie."""
    assert reached("cable_news_left") == [1, 2]
    assert reached("local_newspaper") == [2, 4]
    assert reached("local_newspaper", where="age >= 50") == [4]
    assert reached("social_platform") == []


def test_nobody_is_reached_among_no_agents() -> None:
    event = {"scenario_id": "s", "name": "e", "channel": "broadcast", "reach": 1.0, "exposure_where": None}
    assert exposed_agents(event, AGENTS.clear(), TIES, SOURCES, 0).shape == (0,)


@pytest.mark.parametrize("reach", [0.1, 0.5, 0.9])
def test_the_share_reached_is_the_reach(reach: float) -> None:
    many = pl.DataFrame({"agent_id": np.arange(20_000)})
    event = {"scenario_id": "s", "name": "e", "channel": "broadcast", "reach": reach, "exposure_where": None}
    share = exposed_agents(event, many, TIES, SOURCES, 11).mean()
    assert share == pytest.approx(reach, abs=4 * (reach * (1 - reach) / 20_000) ** 0.5)


def test_events_and_seeds_reach_independently() -> None:
    """Of 20,000 agents, two independent draws below one half agree on one half."""
    ids = np.arange(20_000)
    base = uniform_per_agent("s/e", ids, 1) < 0.5
    for other in (uniform_per_agent("s/f", ids, 1), uniform_per_agent("s/e", ids, 2)):
        assert (base == (other < 0.5)).mean() == pytest.approx(0.5, abs=4 * 0.5 / 20_000**0.5)


def test_numbers_are_spread_evenly() -> None:
    counts, _ = np.histogram(uniform_per_agent("k", np.arange(50_000), 9), bins=20, range=(0, 1))
    chi_square = ((counts - 2_500) ** 2 / 2_500).sum()
    assert chi_square < 43.8, "the 99.9 % quantile of chi-square with 19 degrees of freedom"
