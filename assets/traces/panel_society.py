"""The panel as a small society: personas, and whom each member listens to."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from assets.traces.personas import render_personas

MOST_NEIGHBOURS = 5


@dataclass(frozen=True)
class PanelSociety:
    """The panel: personas, whom each member listens to, and the tables that exposure needs."""

    panel: pl.DataFrame
    personas: Mapping[int, str]
    neighbours: Mapping[int, list[tuple[int, str]]]
    ties: pl.DataFrame
    media_sources: pl.DataFrame


def gather_society(
    panel_ids: pl.Series, agents: pl.DataFrame, ties: pl.DataFrame, media_sources: pl.DataFrame
) -> PanelSociety:
    """The panel, its personas and the strongest social ties within it.

    Args:
        panel_ids: agent ids of the panel, sorted.
        agents: rows of `agents`, the whole population, to which personas relate.
        ties: rows of `ties`.
        media_sources: rows of `media_sources`.
    """
    panel = agents.filter(pl.col("agent_id").is_in(panel_ids.implode())).sort("agent_id")
    inside = ties.filter(
        (pl.col("tie_type") != "media")
        & pl.col("src").is_in(panel_ids.implode())
        & pl.col("dst").is_in(panel_ids.implode())
    ).sort(["dst", "strength", "src"], descending=[False, True, False])
    neighbours: dict[int, list[tuple[int, str]]] = {}
    for src, dst, tie_type in inside.select("src", "dst", "tie_type").iter_rows():
        heard = neighbours.setdefault(dst, [])
        if len(heard) < MOST_NEIGHBOURS and src not in [other for other, _ in heard]:
            heard.append((src, tie_type))
    return PanelSociety(panel, render_personas(panel, agents), neighbours, ties, media_sources)
