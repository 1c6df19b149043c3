"""Forms the typed social graph: household, friend, professional and weak ties, and media ties to followers.

Every social tie is mutual, of equal strength both ways, and a pair of agents has one social tie at most. Rows are
sorted by the agent that hears (dst), then by tie type, then by src. One seed gives one graph, bit for bit, whatever the
order of the agents' rows; cost grows linearly with agents, but for sorting.

Legend: N agents, P pairs (undirected), E directed ties.
"""

from collections.abc import Callable

import numpy as np
import polars as pl
from scipy import sparse

from assets.society.media import form_media
from assets.society.partners import Circles, Likeness, circle_order, propose_choices, propose_closures
from assets.society.tie_config import DEFAULT_TIE_CONFIG, TieConfig, TieRule
from validation.attributes import TIE_TYPES

TIES_STREAM = 1
"""Keeps these draws apart from those of other steps that are given the same seed."""

CLOSURE_WAVES = 4
"""Closure happens in waves: ties closed in one make triangles possible for the next."""

MAX_ROUNDS = 12
"""Rounds of proposals per wave. Each replaces what the last lost to pairs already tied; small societies run out of
pairs and then keep fewer ties than asked for."""


def form_society(
    agents: pl.DataFrame, seed: int, config: TieConfig = DEFAULT_TIE_CONFIG
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Forms social ties and media ties.

    Args:
        agents: rows of `agents`.
        seed: any non-negative integer.
        config: sizes and preferences of social ties.

    Returns:
        Rows of `ties`, social and media together, sorted by dst, and rows of `media_sources`.
    """
    media_sources, media_ties = form_media(agents, seed)
    return all_ties(form_ties(agents, seed, config), media_ties), media_sources


def form_ties(agents: pl.DataFrame, seed: int, config: TieConfig = DEFAULT_TIE_CONFIG) -> pl.DataFrame:
    """Forms the social ties.

    Args:
        agents: rows of `agents`, in any order.
        seed: any non-negative integer.
        config: sizes and preferences.

    Returns:
        Rows of `ties`, each pair once in each direction, sorted by dst, tie type and src.

    Raises:
        ValueError: agent ids are not 0…N−1.
    """
    agents = agents.sort("agent_id")
    if agents.is_empty() or not np.array_equal(agents["agent_id"].to_numpy(), np.arange(agents.height)):
        raise ValueError(
            f"agents holds {agents.height} rows, whose ids must be 0, 1, 2 and so on, each once. "
            "Form ties for a whole population, then take the induced ties of the part you want."
        )
    likeness = Likeness.of(agents)
    sequence = np.random.SeedSequence((seed, TIES_STREAM))
    sociability_rng, *rngs = (np.random.default_rng(child) for child in sequence.spawn(1 + len(config.rules)))
    shape = config.sociability_shape
    sociability_N = sociability_rng.gamma(shape, 1.0 / shape, agents.height)
    pairs = {"household": household_pairs(agents["household_id"].to_numpy())}
    for (tie_type, rule), rng in zip(config.rules.items(), rngs, strict=True):
        pairs[tie_type] = _form_pairs(agents, rule, pairs, sociability_N, likeness, config.num_candidates, rng)
    return _to_ties(pairs, agents.height, likeness, config)


def all_ties(social_ties: pl.DataFrame, media_ties: pl.DataFrame) -> pl.DataFrame:
    """Social and media ties in one frame, sorted by dst, tie type and src."""
    return pl.concat([social_ties, media_ties]).sort(
        "dst", pl.col("tie_type").cast(pl.Enum(TIE_TYPES)), "src", maintain_order=True
    )


def household_pairs(household_N: np.ndarray) -> np.ndarray:
    """All pairs of members of a household, shape [P, 2], the lower agent id first.

    Args:
        household_N: household of each agent.
    """
    order_N = np.argsort(household_N, kind="stable")
    sorted_N = household_N[order_N]
    found = [np.empty((0, 2), dtype=np.int64)]
    for distance in range(1, len(sorted_N)):
        first = np.flatnonzero(sorted_N[distance:] == sorted_N[:-distance])
        if not len(first):
            break
        found.append(np.column_stack([order_N[first], order_N[first + distance]]))
    return np.concatenate(found)


def _form_pairs(
    agents: pl.DataFrame,
    rule: TieRule,
    earlier: dict[str, np.ndarray],
    sociability_N: np.ndarray,
    likeness: Likeness,
    num_candidates: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Pairs of one tie type, shape [P, 2], none of them tied earlier.

    Choices come first. Closure then works on them and on all earlier ties, and what it cannot deliver is chosen too.
    """
    num_agents = agents.height
    activity_N = agents["age_group"].replace_strict(rule.activity_by_age_group, default=1.0, return_dtype=pl.Float64)
    circles = Circles(
        circle_order(agents, rule.circle_attributes, rng), sociability_N * activity_N.to_numpy(), rule.circle_size
    )
    taken = np.sort(np.concatenate([_key(pairs, num_agents) for pairs in earlier.values()]))
    num_pairs = round(num_agents * rule.mean_degree / 2)
    num_chosen = num_pairs - round(num_pairs * rule.closure_share)
    own = np.empty(0, dtype=np.int64)

    def choose(deficit: int) -> tuple[np.ndarray, np.ndarray]:
        return propose_choices(deficit, circles, likeness, rule, num_candidates, rng)

    own = _grow(own, taken, num_chosen, num_agents, choose)
    for wave in range(1, CLOSURE_WAVES + 1 if rule.closure_share else 1):
        adjacency = _adjacency(np.concatenate([own, taken]), num_agents)

        def close(deficit: int, adjacency: sparse.csr_array = adjacency) -> tuple[np.ndarray, np.ndarray]:
            return propose_closures(deficit, adjacency, circles, likeness, rule, rng)

        target = num_chosen + (num_pairs - num_chosen) * wave // CLOSURE_WAVES
        own = _grow(own, taken, target, num_agents, close)
    own = _grow(own, taken, num_pairs, num_agents, choose)
    return np.column_stack(np.divmod(own, num_agents))


def _grow(
    own: np.ndarray,
    taken: np.ndarray,
    target: int,
    num_agents: int,
    propose: Callable[[int], tuple[np.ndarray, np.ndarray]],
) -> np.ndarray:
    """Adds proposed pairs until there are `target`, or until proposals bring nothing more; keys, sorted."""
    for _ in range(MAX_ROUNDS):
        deficit = target - len(own)
        if deficit <= 0:
            break
        ego, alter = propose(deficit)
        pair = np.column_stack([np.minimum(ego, alter), np.maximum(ego, alter)])[ego != alter]
        new = np.unique(_key(pair, num_agents))
        new = new[~_is_in(new, taken) & ~_is_in(new, own)]
        own = np.sort(np.concatenate([own, new]), kind="stable")
    return own


def _key(pairs: np.ndarray, num_agents: int) -> np.ndarray:
    """One integer per pair; the lower id of a pair comes first."""
    return pairs[:, 0] * np.int64(num_agents) + pairs[:, 1]


def _is_in(values: np.ndarray, sorted_values: np.ndarray) -> np.ndarray:
    if not len(sorted_values):
        return np.zeros(len(values), dtype=bool)
    place = np.minimum(np.searchsorted(sorted_values, values), len(sorted_values) - 1)
    return sorted_values[place] == values


def _adjacency(keys: np.ndarray, num_agents: int) -> sparse.csr_array:
    low, high = np.divmod(keys, num_agents)
    ends = (np.concatenate([low, high]), np.concatenate([high, low]))
    return sparse.coo_array((np.ones(2 * len(keys), dtype=np.int8), ends), shape=(num_agents, num_agents)).tocsr()


def _to_ties(pairs: dict[str, np.ndarray], num_agents: int, likeness: Likeness, config: TieConfig) -> pl.DataFrame:
    """Both directions of all pairs as rows of `ties`, with strengths that grow with what the two have in common."""
    first_rule = next(iter(config.rules.values()))
    parts = []
    for tie_type, pair in pairs.items():
        rule = config.rules.get(tie_type, first_rule)
        low, high = config.household_strength_range if tie_type == "household" else rule.strength_range
        strength = low + (high - low) * likeness.similarity(pair[:, 0], pair[:, 1], rule)
        code = np.full(len(pair), TIE_TYPES.index(tie_type), dtype=np.int64)
        parts += [(pair[:, 0], pair[:, 1], code, strength), (pair[:, 1], pair[:, 0], code, strength)]
    src_E, dst_E, code_E, strength_E = (np.concatenate(column) for column in zip(*parts, strict=True))
    order_E = np.argsort((dst_E * len(TIE_TYPES) + code_E) * np.int64(num_agents) + src_E)
    names = pl.Series(TIE_TYPES)
    return pl.DataFrame(
        {
            "src": src_E[order_E].astype(np.int64),
            "dst": dst_E[order_E].astype(np.int64),
            "tie_type": names.gather(code_E[order_E]),
            "strength": strength_E[order_E].astype(np.float32),
        }
    )
