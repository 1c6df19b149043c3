"""Measures one graph, ours or a recorded one: degrees, clustering, assortativity, components and path length.

Formulas and sources are in `docs/concepts/society.md`.

Legend: N agents, E directed ties (both directions of every pair).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from assets.society.graph_kernels import distances_from, triangles_around

CLUSTERING_SAMPLE = 20_000
"""Triangles are counted around this many agents, drawn with a fixed seed; around all agents in smaller graphs."""

PATH_SOURCES = 64
"""Distances are measured from this many agents to all others; as many as a mask has bits."""

SAMPLE_SEED = 20_161_108

Measured = tuple[str, float | None, float | None]
"""Name of a statistic, its value, and the value that chance gives."""


@dataclass(frozen=True)
class Graph:
    """An undirected graph as a CSR: int64 offsets [N + 1] and int32 neighbours [E], ascending within each agent."""

    offset_N1: np.ndarray
    neighbour_E: np.ndarray

    @classmethod
    def of(cls, src_E: np.ndarray, dst_E: np.ndarray, num_agents: int) -> "Graph":
        """The graph that joins the ends of every tie, in whichever direction it was given, once."""
        ones = np.ones(len(src_E), dtype=np.int8)
        adjacency = sparse.coo_array((ones, (dst_E, src_E)), shape=(num_agents, num_agents)).tocsr()
        adjacency.sum_duplicates()
        adjacency.data[:] = 1
        reverse = adjacency.T.tocsr()
        if not (
            np.array_equal(reverse.indptr, adjacency.indptr) and np.array_equal(reverse.indices, adjacency.indices)
        ):
            adjacency = adjacency.maximum(reverse).tocsr()
            adjacency.sort_indices()
        return cls(adjacency.indptr.astype(np.int64), adjacency.indices.astype(np.int32))

    @property
    def degree_N(self) -> np.ndarray:
        """Neighbours of each agent."""
        return np.diff(self.offset_N1)


def degree_measures(degree_N: np.ndarray) -> list[Measured]:
    """Mean, quantiles and largest of the numbers of ties, and their coefficient of variation."""
    p50, p95, p99 = np.quantile(degree_N, (0.5, 0.95, 0.99))
    mean = float(degree_N.mean())
    return [
        ("mean_degree", mean, None),
        ("degree_p50", float(p50), None),
        ("degree_p95", float(p95), None),
        ("degree_p99", float(p99), None),
        ("degree_max", float(degree_N.max()), None),
        ("degree_variation", float(degree_N.std() / mean) if mean > 0.0 else None, None),
    ]


def structure_measures(graph: Graph) -> list[Measured]:
    """Clustering, transitivity, degree assortativity, largest component and path length."""
    degree_N = graph.degree_N
    clustering, transitivity = clustering_of(graph)
    chance = chance_of_triangle(degree_N)
    neighbour_degree_E = degree_N[graph.neighbour_E]
    return [
        ("clustering", clustering, chance),
        ("transitivity", transitivity, chance),
        ("degree_assortativity", correlation(neighbour_degree_E, np.repeat(degree_N, degree_N)), 0.0),
        ("share_in_largest_component", largest_component(graph), None),
        ("path_length", path_length(graph), chance_of_path(degree_N)),
    ]


def clustering_of(graph: Graph) -> tuple[float | None, float | None]:
    """Mean local clustering coefficient, and transitivity; null when nobody has two ties.

    Agents with fewer than two ties count as zero in the mean, as in the published figures it stands beside.

    Source: Watts & Strogatz (1998); transitivity as Newman (2003), The structure and function of complex networks,
    section III.B.
    """
    agents = _sample(len(graph.degree_N), CLUSTERING_SAMPLE)
    degree = graph.degree_N[agents].astype(np.float64)
    possible = degree * (degree - 1.0) / 2.0
    if possible.sum() == 0.0:
        return None, None
    closed = triangles_around(agents, graph.offset_N1, graph.neighbour_E)
    return float((closed / np.maximum(possible, 1.0)).mean()), float(closed.sum() / possible.sum())


def chance_of_triangle(degree_N: np.ndarray) -> float | None:
    """Expected clustering of a random graph with the same degrees, (⟨k²⟩ − ⟨k⟩)² / (N ⟨k⟩³), at most 1.

    Source: Newman (2003), section IV.B (configuration model).
    """
    mean, mean_square = degree_N.mean(), (degree_N.astype(np.float64) ** 2).mean()
    return min(1.0, float((mean_square - mean) ** 2 / (len(degree_N) * mean**3))) if mean > 0.0 else None


def path_length(graph: Graph) -> float | None:
    """Mean number of ties on the shortest path between two agents that can reach each other; null without ties.

    From a fixed random sample of agents that have ties to all that they reach.
    """
    tied = np.flatnonzero(graph.degree_N)
    if not len(tied):
        return None
    reached, total = distances_from(tied[_sample(len(tied), PATH_SOURCES)], graph.offset_N1, graph.neighbour_E)
    return total / reached


def chance_of_path(degree_N: np.ndarray) -> float | None:
    """Expected path length of a random graph with the same degrees, 1 + ln(N/z₁)/ln(z₂/z₁).

    z₁ = ⟨k⟩ and z₂ = ⟨k²⟩ − ⟨k⟩ are the numbers of first and second neighbours. Null where z₂ ≤ z₁: such
    graphs fall apart.

    Source: Newman, Strogatz & Watts (2001), Random graphs with arbitrary degree distributions, equation 54.
    """
    first = float(degree_N.mean())
    second = float((degree_N.astype(np.float64) ** 2).mean()) - first
    return float(1.0 + np.log(len(degree_N) / first) / np.log(second / first)) if 0.0 < first < second else None


def largest_component(graph: Graph) -> float:
    """Share of agents in the largest connected component."""
    num_agents = len(graph.degree_N)
    matrix = sparse.csr_array(
        (np.ones(len(graph.neighbour_E), np.int8), graph.neighbour_E, graph.offset_N1), shape=(num_agents, num_agents)
    )
    _, component_N = sparse.csgraph.connected_components(matrix, directed=False)
    return float(np.bincount(component_N).max() / num_agents)


def correlation(first_E: np.ndarray, second_E: np.ndarray) -> float | None:
    """Pearson correlation; null where either side does not vary."""
    if len(first_E) < 2 or np.ptp(first_E) == 0 or np.ptp(second_E) == 0:
        return None
    return float(np.corrcoef(first_E, second_E)[0, 1])


def share_of(measured: Iterable[Measured], name: str) -> float | None:
    """Value of one statistic among several."""
    return next((value for found, value, _ in measured if found == name), None)


def _sample(num: int, size: int) -> np.ndarray:
    if num <= size:
        return np.arange(num)
    return np.sort(np.random.default_rng(SAMPLE_SEED).choice(num, size, replace=False))
