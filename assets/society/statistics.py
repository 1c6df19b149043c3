"""Measures the graph: degrees, reciprocity, clustering, components, assortativity and homophily against chance.

Formulas and sources of all statistics are in `docs/concepts/society.md`.

Legend: N agents, E directed ties, L levels of an attribute.
"""

import numpy as np
import polars as pl
from scipy import sparse

from assets.society.references import REFERENCES
from validation.attributes import ATTRIBUTES, SOCIAL_TIE_TYPES, TIE_TYPES

CLUSTERING_SAMPLE = 20_000
"""Triangles are counted around this many agents, drawn with a fixed seed; around all agents in smaller societies."""

CLUSTERING_SEED = 20_161_108

_Row = tuple[str, float | None, float | None]


def graph_statistics(agents: pl.DataFrame, ties: pl.DataFrame) -> pl.DataFrame:
    """Statistics of every tie type and of the social ties together.

    Media ties have statistics of degree only: their src is no agent.

    Args:
        agents: rows of `agents`.
        ties: rows of `ties`.

    Returns:
        Rows of `graph_statistics`. A statistic that is undefined (no ties, no variation) has a null value.

    Raises:
        ValueError: a tie ends at an agent that does not exist.
    """
    agents = agents.sort("agent_id")
    num_agents = agents.height
    age_N = agents["age"].to_numpy().astype(np.float64)
    codes = {a.name: agents[a.name].cast(pl.Enum(a.levels)).to_physical().to_numpy() for a in ATTRIBUTES}
    rows = []
    for tie_type in (*TIE_TYPES, "all_social"):
        wanted = list(SOCIAL_TIE_TYPES) if tie_type == "all_social" else [tie_type]
        part = ties.filter(pl.col("tie_type").is_in(wanted))
        src_E, dst_E = part["src"].to_numpy(), part["dst"].to_numpy()
        _check_ends(src_E, dst_E, num_agents, tie_type)
        if tie_type == "media":
            measured = _degree_rows(np.bincount(dst_E, minlength=num_agents))
        else:
            measured = _social_rows(src_E, dst_E, num_agents, age_N, codes)
        rows += [(name, tie_type, value, chance) for name, value, chance in measured]
    return _with_references(rows)


def degree_histogram(ties: pl.DataFrame) -> pl.DataFrame:
    """How many agents have how many social ties: columns degree and num_agents, by degree; no row for degree zero."""
    return (
        ties.filter(pl.col("tie_type") != "media")
        .group_by("dst")
        .agg(pl.len().cast(pl.Int64).alias("degree"))
        .group_by("degree")
        .agg(pl.len().cast(pl.Int64).alias("num_agents"))
        .sort("degree")
    )


def _social_rows(
    src_E: np.ndarray, dst_E: np.ndarray, num_agents: int, age_N: np.ndarray, codes: dict[str, np.ndarray]
) -> list[_Row]:
    adjacency = _adjacency(src_E, dst_E, num_agents)
    degree_N = np.diff(adjacency.indptr)
    num_mutual = int((adjacency.multiply(adjacency.T)).nnz)
    mutual = adjacency.maximum(adjacency.T).tocsr()
    clustering, transitivity = _clustering(mutual)
    undirected_degree_N = np.diff(mutual.indptr)
    rows = _degree_rows(degree_N)
    rows += [
        ("reciprocity", _ratio(num_mutual, adjacency.nnz), _ratio(degree_N.mean(), num_agents - 1)),
        ("clustering", clustering, _chance_of_triangle(undirected_degree_N)),
        ("transitivity", transitivity, _chance_of_triangle(undirected_degree_N)),
        ("degree_assortativity", _correlation(undirected_degree_N[src_E], undirected_degree_N[dst_E]), 0.0),
        ("share_in_largest_component", _largest_component(mutual), None),
        ("age_correlation", _correlation(age_N[src_E], age_N[dst_E]), 0.0),
    ]
    for name, code_N in codes.items():
        same = float((code_N[src_E] == code_N[dst_E]).mean()) if len(src_E) else None
        share_L = np.bincount(code_N[dst_E]) / max(len(dst_E), 1)
        rows.append((f"homophily_{name}", same, float((share_L**2).sum()) if len(src_E) else None))
    return rows


def _degree_rows(degree_N: np.ndarray) -> list[_Row]:
    p50, p95 = np.quantile(degree_N, (0.5, 0.95))
    return [
        ("num_ties", float(degree_N.sum()), None),
        ("mean_degree", float(degree_N.mean()), None),
        ("degree_p50", float(p50), None),
        ("degree_p95", float(p95), None),
        ("degree_max", float(degree_N.max()), None),
    ]


def _adjacency(src_E: np.ndarray, dst_E: np.ndarray, num_agents: int) -> sparse.csr_array:
    """Who hears whom, rows being dst; a pair with ties of two types counts once."""
    shape = (num_agents, num_agents)
    adjacency = sparse.coo_array((np.ones(len(src_E), dtype=np.int32), (dst_E, src_E)), shape=shape).tocsr()
    adjacency.sum_duplicates()
    adjacency.data[:] = 1
    return adjacency


def _clustering(adjacency: sparse.csr_array) -> tuple[float | None, float | None]:
    """Mean local clustering coefficient, and transitivity; null when nobody has two ties.

    Agents with fewer than two ties count as zero in the mean, as in the published figure it stands beside.

    Source: Watts & Strogatz (1998); transitivity as Newman (2003), The structure and function of complex networks,
    section III.B.
    """
    degree_N = np.diff(adjacency.indptr).astype(np.float64)
    if degree_N.max() < 2.0:
        return None, None
    agents = np.arange(len(degree_N))
    if len(agents) > CLUSTERING_SAMPLE:
        agents = np.sort(np.random.default_rng(CLUSTERING_SEED).choice(agents, CLUSTERING_SAMPLE, replace=False))
    around = adjacency[agents]
    closed = np.asarray((around @ adjacency).multiply(around).sum(axis=1)).ravel().astype(np.float64)
    possible = degree_N[agents] * (degree_N[agents] - 1.0)
    if possible.sum() == 0.0:
        return None, None
    return float((closed / np.maximum(possible, 1.0)).mean()), float(closed.sum() / possible.sum())


def _chance_of_triangle(degree_N: np.ndarray) -> float | None:
    """Expected clustering of a random graph with the same degrees, (⟨k²⟩ − ⟨k⟩)² / (N ⟨k⟩³), at most 1.

    Source: Newman (2003), section IV.B (configuration model).
    """
    mean, mean_square = degree_N.mean(), (degree_N.astype(np.float64) ** 2).mean()
    return min(1.0, float((mean_square - mean) ** 2 / (len(degree_N) * mean**3))) if mean > 0.0 else None


def _largest_component(adjacency: sparse.csr_array) -> float:
    _, component_N = sparse.csgraph.connected_components(adjacency, directed=False)
    return float(np.bincount(component_N).max() / len(component_N))


def _correlation(first_E: np.ndarray, second_E: np.ndarray) -> float | None:
    if len(first_E) < 2 or np.ptp(first_E) == 0 or np.ptp(second_E) == 0:
        return None
    return float(np.corrcoef(first_E, second_E)[0, 1])


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole > 0 else None


def _check_ends(src_E: np.ndarray, dst_E: np.ndarray, num_agents: int, tie_type: str) -> None:
    highest = max(
        (int(ends.max()) for ends in ([dst_E] if tie_type == "media" else [src_E, dst_E]) if len(ends)), default=-1
    )
    if highest >= num_agents:
        raise ValueError(
            f"A {tie_type} tie names agent {highest}, but there are {num_agents} agents (0…{num_agents - 1}). "
            "Measure agents and ties of the same run: materialise both again."
        )


def _with_references(rows: list[tuple[str, str, float | None, float | None]]) -> pl.DataFrame:
    reference_of = {(reference.statistic, reference.tie_type): reference for reference in REFERENCES}
    found = [reference_of.get((name, tie_type)) for name, tie_type, _, _ in rows]
    return pl.DataFrame(
        {
            "statistic": [row[0] for row in rows],
            "tie_type": [row[1] for row in rows],
            "value": [row[2] for row in rows],
            "chance_value": [row[3] for row in rows],
            "reference_value": [reference.value if reference else None for reference in found],
            "reference_source": [reference.source if reference else None for reference in found],
        },
        schema={
            "statistic": pl.String,
            "tie_type": pl.String,
            "value": pl.Float64,
            "chance_value": pl.Float64,
            "reference_value": pl.Float64,
            "reference_source": pl.String,
        },
    )
