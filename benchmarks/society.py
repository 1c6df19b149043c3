"""Society: a million agents with households and twenty million typed ties, against generators of igraph and networkx.

Every measurement has a process of its own, so that peak memory is its own. Peers make a graph of as many nodes and ties
and of part of the structure; `society_peers.py` says which part.
"""

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import partial

import numpy as np
import polars as pl

from assets.society.graph_measures import Graph, clustering_of
from assets.society.tie_graph import MEDIA, TieGraph
from benchmarks.society_peers import make, peak_gb
from benchmarks.timing import Row

TIES_PER_AGENT = 20
SMALL, LARGE = 100_000, 1_000_000
PEER_AGENTS = 200_000
"""networkx needs about 1 KB per tie and the forest fire grows faster than linearly: their rows are at this size."""

MEMORY_GB, LARGEST_RATIO = 8.0, 12.0


def population(num_agents: int) -> tuple[pl.DataFrame, float]:
    """Agents in households, as the lineage makes them, and the seconds it takes once the survey is calibrated."""
    from assets.population.calibration import calibrate_respondents
    from assets.population.margins import load_margins
    from assets.population.surveys import load_respondents
    from assets.population.synthesis import synthesise_agents
    from assets.sources.catalogue import open_catalogue
    from orchestration.settings import Settings

    catalogue = open_catalogue(Settings(data_mirror=None))
    respondents, margins = load_respondents(catalogue).frame, load_margins(catalogue).frame
    calibrated = calibrate_respondents(respondents, margins).frame
    start = time.perf_counter()
    return synthesise_agents(respondents, calibrated, margins, num_agents, 1), time.perf_counter() - start


def form(num_agents: int) -> dict[str, float]:
    """Seconds for agents with households and for their ties, number of ties, and peak memory in GB."""
    from assets.society.tie_config import load_tie_config
    from assets.society.ties import form_society

    config = load_tie_config()
    small, _ = population(10_000)
    graph, _ = form_society(small, 1, config)
    chosen = sum(rule.mean_degree for rule in config.rules.values())
    others = sum(len(area.src_E) for area in graph.areas) / small.height - chosen
    scale = (TIES_PER_AGENT - others) / chosen
    rules = {name: replace(rule, mean_degree=rule.mean_degree * scale) for name, rule in config.rules.items()}
    agents, seconds = population(num_agents)
    start = time.perf_counter()
    graph, _ = form_society(agents, 1, replace(config, rules=rules))
    took = time.perf_counter() - start
    return {
        "agents": seconds,
        "ties": took,
        "num_ties": float(sum(len(area.src_E) for area in graph.areas)),
        "peak_gb": peak_gb(),
        "clustering": _clustering(graph, num_agents),
    }


def _clustering(graph: TieGraph, num_agents: int) -> float:
    """Mean local clustering of a sample of agents along all social ties."""
    social = [area.type_E != MEDIA for area in graph.areas]
    src_E = np.concatenate([area.src_E[is_social] for area, is_social in zip(graph.areas, social, strict=True)])
    dst_E = np.repeat(np.arange(num_agents, dtype=np.int32), graph.social_degrees())
    return clustering_of(Graph.of(src_E, dst_E, num_agents))[0] or 0.0


def peer(name: str, num_agents: int) -> dict[str, float]:
    """Seconds that a peer's generator takes, its ties, peak memory in GB, and the clustering it reached."""
    return asdict(make(name, num_agents, TIES_PER_AGENT))


def measure() -> list[Row]:
    """Rows for cost in agents, memory and every peer, in one run."""
    small, large = (_apart(partial(form, number)) for number in (SMALL, LARGE))
    beside = _apart(partial(form, PEER_AGENTS))
    size = f"{LARGE:,} agents × {large['num_ties'] / LARGE:.1f} ties"
    rows = [
        Row(
            f"society of {size}, households included: ten times the agents",
            large["agents"] + large["ties"],
            small["agents"] + small["ties"],
            f"{SMALL:,} agents",
            target=LARGEST_RATIO,
            is_speedup=False,
            note=f"agents {large['agents']:.1f} s and ties {large['ties']:.1f} s; ties alone "
            f"{large['ties'] / small['ties']:.1f} times; peak memory {large['peak_gb']:.1f} GB "
            f"({'within' if large['peak_gb'] <= MEMORY_GB else 'above'} {MEMORY_GB:g} GB)",
        )
    ]
    for name, ours, number in (
        ("igraph Watts-Strogatz", large, LARGE),
        ("igraph layers of blocks", large, LARGE),
        ("igraph layers of circles", large, LARGE),
        ("igraph forest fire", beside, PEER_AGENTS),
        ("networkx Holme-Kim", beside, PEER_AGENTS),
    ):
        theirs = _apart(partial(peer, name, number))
        rows.append(
            Row(
                f"ties of {number:,} agents",
                ours["ties"] / ours["num_ties"] * 2e7,
                theirs["seconds"] / theirs["num_ties"] * 2e7,
                name,
                target=1.0,
                is_speedup=True,
                note=f"seconds per 20 million ties; made: ours {ours['num_ties']:,.0f}, theirs "
                f"{theirs['num_ties']:,.0f}; clustering: ours {ours['clustering']:.2f}, theirs "
                f"{theirs['clustering']:.2f}; "
                f"peak memory: ours {ours['peak_gb']:.1f} GB, theirs {theirs['peak_gb']:.1f} GB",
            )
        )
    return rows


def _apart(call: Callable[[], dict[str, float]]) -> dict[str, float]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(call).result()
