"""Whom an event reaches: one rule for elicitation, training and simulation alike.

An agent is exposed when the event's predicate holds, when a followed source carries the event's channel (broadcast
reaches anybody), and when a uniform number of its own lies below the event's reach. That number is a hash of seed,
event and agent, so it depends neither on which other agents are present nor on any order.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from validation.predicates import compile_predicate

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def exposed_agents(
    event: Mapping[str, Any], agents: pl.DataFrame, ties: pl.DataFrame, media_sources: pl.DataFrame, seed: int
) -> np.ndarray:
    """Which agents an event of the scenarios table reaches.

    Args:
        event: a row of `scenarios` of kind event or trigger.
        agents: rows of `agents`, any subset, in any order.
        ties: rows of `ties`; only media ties matter.
        media_sources: rows of `media_sources`.
        seed: seed of the replicate.

    Returns:
        Truth values, shape [number of agents], in the order of `agents`.
    """
    is_addressed = agents.select(compile_predicate(event["exposure_where"]).alias("x")).to_series()
    if is_addressed.len() != agents.height:
        is_addressed = pl.repeat(bool(is_addressed[0]), agents.height, eager=True)
    reached_N = is_addressed.fill_null(False).to_numpy().copy()
    if event["channel"] != "broadcast":
        reached_N &= _is_follower(event["channel"], agents, ties, media_sources)
    draw_N = uniform_per_agent(f"{event['scenario_id']}/{event['name']}", agents["agent_id"].to_numpy(), seed)
    return reached_N & (draw_N < float(event["reach"]))


def uniform_per_agent(key: str, agent_ids_N: np.ndarray, seed: int) -> np.ndarray:
    """A number in [0, 1) per agent, fixed by key, seed and agent id alone; shape [N], float64.

    Source: the finaliser of SplitMix64 (Steele, Lea & Flood 2014) over a counter, with a keyed offset.
    """
    digest = hashlib.sha256(f"{seed}/{key}".encode()).digest()
    offset = np.uint64(int.from_bytes(digest[:8], "little"))
    with np.errstate(over="ignore"):
        state_N = offset + agent_ids_N.astype(np.uint64) * _GOLDEN
        state_N = (state_N ^ (state_N >> np.uint64(30))) * _MIX_1
        state_N = (state_N ^ (state_N >> np.uint64(27))) * _MIX_2
        state_N ^= state_N >> np.uint64(31)
    return (state_N >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _is_follower(channel: str, agents: pl.DataFrame, ties: pl.DataFrame, media_sources: pl.DataFrame) -> np.ndarray:
    """Whether each agent follows a source of the channel's type; shape [N]."""
    carriers = media_sources.filter(pl.col("source_type") == channel)["source_id"]
    followers = ties.filter((pl.col("tie_type") == "media") & pl.col("src").is_in(carriers.implode()))["dst"].unique()
    return agents["agent_id"].is_in(followers.implode()).to_numpy()
