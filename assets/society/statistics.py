"""Statistics of every tie type of the generated graph, beside chance and beside their targets.

Formulas and sources of all statistics are in `docs/concepts/society.md`.

Legend: N agents, E directed ties, L levels of an attribute.
"""

import numpy as np
import polars as pl

from assets.society.graph_measures import Graph, Measured, correlation, degree_measures, structure_measures
from assets.society.mixing import age_mixing_distance
from assets.society.recorded import RecordedNetworks, load_recorded
from assets.society.targets import beside_targets
from validation.attributes import ATTRIBUTES, SOCIAL_TIE_TYPES, TIE_TYPES


def graph_statistics(
    agents: pl.DataFrame, ties: pl.DataFrame, recorded: RecordedNetworks | None = None
) -> pl.DataFrame:
    """Statistics of every tie type and of the social ties together.

    Media ties have statistics of degree only: their src is no agent.

    Args:
        agents: rows of `agents`.
        ties: rows of `ties`.
        recorded: numbers measured on recorded networks; those that are kept when left out.

    Returns:
        Rows of `graph_statistics`. A statistic that is undefined (no ties, no variation) has a null value.

    Raises:
        ValueError: a tie ends at an agent that does not exist.
    """
    recorded = load_recorded() if recorded is None else recorded
    agents = agents.sort("agent_id")
    num_agents = agents.height
    age_N = agents["age"].to_numpy().astype(np.float32)
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
            measured = _social_rows(src_E, dst_E, num_agents, age_N, codes, recorded)
        rows += [(name, tie_type, value, chance) for name, value, chance in measured]
    schema = {"statistic": pl.String, "tie_type": pl.String, "value": pl.Float64, "chance_value": pl.Float64}
    return beside_targets(pl.DataFrame(rows, schema=schema, orient="row"))


def tie_faults(src_E: np.ndarray, dst_E: np.ndarray, code_E: np.ndarray, num_agents: int) -> dict[str, int]:
    """Ties that cannot be: ends that are no agents, agents tied with themselves, social ties without their reverse.

    Args:
        src_E: speakers, or sources of media ties.
        dst_E: listeners.
        code_E: tie types by position in TIE_TYPES.
        num_agents: of the population.
    """
    is_social_E = code_E != TIE_TYPES.index("media")
    src_S, dst_S, code_S = (column[is_social_E].astype(np.int64) for column in (src_E, dst_E, code_E))
    there = np.sort((dst_S * num_agents + src_S) * len(TIE_TYPES) + code_S)
    back = np.sort((src_S * num_agents + dst_S) * len(TIE_TYPES) + code_S)
    return {
        "dangling": int((dst_E >= num_agents).sum() + (src_S >= num_agents).sum()),
        "self": int((src_S == dst_S).sum()),
        "one_sided": 0 if np.array_equal(there, back) else int((~np.isin(there, back)).sum()),
    }


def _social_rows(
    src_E: np.ndarray,
    dst_E: np.ndarray,
    num_agents: int,
    age_N: np.ndarray,
    codes: dict[str, np.ndarray],
    recorded: RecordedNetworks,
) -> list[Measured]:
    pairs = np.sort(dst_E.astype(np.int64) * num_agents + src_E)
    pairs = pairs[np.append(True, pairs[1:] != pairs[:-1])] if len(pairs) else pairs
    src_E, dst_E = (pairs % num_agents).astype(np.int32), (pairs // num_agents).astype(np.int32)
    num_mutual = len(pairs) - tie_faults(src_E, dst_E, np.zeros(len(pairs), np.uint8), num_agents)["one_sided"]
    degree_N = np.bincount(dst_E, minlength=num_agents)
    rows = _degree_rows(degree_N)
    rows.append(("reciprocity", _ratio(num_mutual, len(pairs)), _ratio(degree_N.mean(), num_agents - 1)))
    rows += structure_measures(Graph.of(src_E, dst_E, num_agents))
    rows.append(("age_correlation", correlation(age_N[src_E], age_N[dst_E]), 0.0))
    rows.append(
        ("age_mixing_distance", *age_mixing_distance(codes["age_group"][src_E], codes["age_group"][dst_E], recorded))
    )
    for name, code_N in codes.items():
        same = float((code_N[src_E] == code_N[dst_E]).mean()) if len(src_E) else None
        share_L = np.bincount(code_N[dst_E]) / max(len(dst_E), 1)
        rows.append((f"homophily_{name}", same, float((share_L**2).sum()) if len(src_E) else None))
    return rows


def _degree_rows(degree_N: np.ndarray) -> list[Measured]:
    return [("num_ties", float(degree_N.sum()), None), *degree_measures(degree_N)]


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
