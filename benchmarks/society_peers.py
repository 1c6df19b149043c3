"""Graphs that igraph and networkx make of as many nodes and ties, each with part of the structure of a society.

    Watts-Strogatz     clustering; one degree for all; no types, no homophily
    forest fire        clustering and a heavy tail; no types, no homophily
    Holme-Kim          clustering and a heavy tail; no types, no homophily (networkx)
    layers of blocks   types, homophily by race and age, states; no clustering (stochastic block model per type)
    layers of circles  the same with circles of 90 as blocks, state by state, which gives clustering

None has households, strengths, or ties that close triangles among the alike. The last is as near as block models come:
circles as small as teams of ten would need a matrix of probabilities that grows with the square of their number.
"""

import resource
import time
from dataclasses import dataclass

import numpy as np

FOREST_FIRE = 0.33
"""Forward burning probability: about eight ties per agent. From 0.35 on ties per agent grow with the graph."""

TYPED_DEGREES = (6.6, 6.9, 6.5)
"""Ties per agent of the three layers, 20 in all, in about the proportions of ours."""

RACE_SHARES, NUM_AGE_GROUPS, NUM_STATES = (0.65, 0.12, 0.15, 0.08), 6, 50
CIRCLE_SIZE, CIRCLE_SHARES = 90, (0.8, 0.85, 0.6)
RACE_LOG_ODDS, AGE_LOG_ODDS, ABROAD_SHARES = (2.0, 0.8, 0.6), (0.8, 0.1, 0.4), (0.15, 0.05, 0.25)
CLUSTERING_SAMPLE = 2_000


@dataclass(frozen=True)
class PeerGraph:
    """Seconds of the generator alone, directed ties, peak memory of the process, mean local clustering of a sample."""

    seconds: float
    num_ties: float
    peak_gb: float
    clustering: float


def peak_gb() -> float:
    """Peak memory of this process so far, in units of 2**30 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def make(name: str, num_agents: int, ties_per_agent: int) -> PeerGraph:
    """Has a peer make its graph; its imports and what it is told beforehand are not timed."""
    half = ties_per_agent // 2
    if name == "networkx Holme-Kim":
        import networkx

        start = time.perf_counter()
        graph = networkx.powerlaw_cluster_graph(num_agents, half, 0.9, seed=1)
        seconds, peak = time.perf_counter() - start, peak_gb()
        sample = range(0, num_agents, max(1, num_agents // CLUSTERING_SAMPLE))
        clustering = float(np.mean(list(dict(networkx.clustering(graph, sample)).values())))
        return PeerGraph(seconds, 2.0 * graph.number_of_edges(), peak, clustering)

    import igraph

    if name == "igraph layers of blocks":
        return _layers([_blocks(num_agents, layer) for layer in range(3)], 1)
    if name == "igraph layers of circles":
        per_state = num_agents // NUM_STATES
        return _layers([_circles(per_state, layer) for layer in range(3)], NUM_STATES)
    start = time.perf_counter()
    if name == "igraph Watts-Strogatz":
        graph = igraph.Graph.Watts_Strogatz(1, num_agents, half, 0.1)
    else:
        graph = igraph.Graph.Forest_Fire(num_agents, FOREST_FIRE, 1.0, 1)
    seconds, peak = time.perf_counter() - start, peak_gb()
    return PeerGraph(seconds, 2.0 * graph.ecount(), peak, _clustering([(graph, 0)]))


def _layers(layers: list[tuple[list, list]], num_parts: int) -> PeerGraph:
    """One block model per tie type and part; pairs that two layers share stay twice, which spares the peer a check."""
    import igraph

    start = time.perf_counter()
    graphs = [
        (igraph.Graph.SBM(matrix, sizes), part * sum(sizes)) for matrix, sizes in layers for part in range(num_parts)
    ]
    seconds, peak = time.perf_counter() - start, peak_gb()
    return PeerGraph(seconds, 2.0 * sum(graph.ecount() for graph, _ in graphs), peak, _clustering(graphs))


def _blocks(num_agents: int, layer: int) -> tuple[list, list]:
    """Blocks of state, race and age group: probabilities of a tie and sizes."""
    share = np.einsum("s,r,a->sra", np.full(NUM_STATES, 1 / NUM_STATES), RACE_SHARES, np.full(NUM_AGE_GROUPS, 1 / 6))
    state_B, race_B, age_B = (index.ravel() for index in np.indices(share.shape))
    size_B = _whole(share.ravel(), num_agents)
    log_odds = RACE_LOG_ODDS[layer] * (race_B[:, None] == race_B)
    log_odds = log_odds - AGE_LOG_ODDS[layer] * np.abs(age_B[:, None] - age_B)
    return _probabilities(np.exp(log_odds), state_B[:, None] == state_B, size_B, 1 - ABROAD_SHARES[layer], layer)


def _circles(num_agents: int, layer: int) -> tuple[list, list]:
    """Blocks of circle and race within a state."""
    num_circles = num_agents // CIRCLE_SIZE
    circle_B, race_B = (index.ravel() for index in np.indices((num_circles, len(RACE_SHARES))))
    size_B = _whole(np.tile(RACE_SHARES, num_circles) / num_circles, num_agents)
    odds = np.exp(RACE_LOG_ODDS[layer] * (race_B[:, None] == race_B))
    return _probabilities(odds, circle_B[:, None] == circle_B, size_B, CIRCLE_SHARES[layer], layer)


def _probabilities(
    odds: np.ndarray, is_near: np.ndarray, size_B: np.ndarray, near_share: float, layer: int
) -> tuple[list, list]:
    """Scales odds so that the layer has its ties, a share of them within the same state or circle."""
    ends = np.outer(size_B, size_B)
    wanted = size_B.sum() * TYPED_DEGREES[layer]
    near = odds * is_near * (near_share * wanted / (ends * odds * is_near).sum())
    far = odds * ~is_near * ((1 - near_share) * wanted / (ends * odds * ~is_near).sum())
    return np.minimum(near + far, 1.0).tolist(), size_B.tolist()


def _whole(share: np.ndarray, total: int) -> np.ndarray:
    return np.diff(np.rint(np.concatenate([[0.0], np.cumsum(share)]) * total).astype(np.int64))


def _clustering(graphs: list) -> float:
    """Mean local clustering, all layers together, of a sample of nodes of the first part."""
    import igraph

    num_nodes = graphs[0][0].vcount()
    edges = [pair for graph, first in graphs if first == 0 for pair in graph.get_edgelist()]
    whole = igraph.Graph(num_nodes, edges).simplify() if len(graphs) > 1 else graphs[0][0]
    sample = list(range(0, num_nodes, max(1, num_nodes // CLUSTERING_SAMPLE)))
    return float(np.mean(whole.transitivity_local_undirected(sample, mode="zero")))
