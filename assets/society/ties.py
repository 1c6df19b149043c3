"""Forms the typed social graph: household, friend, professional and weak ties, and media ties to followers.

Every social tie is mutual, of equal strength both ways, and a pair of agents has one social tie at most. Ties are
formed area by area, then between areas; both steps need two areas in memory and no more. Rows come out as a
destination-sorted CSR. One seed gives one graph, bit for bit, whatever the order of the agents' rows and however many
threads; cost grows linearly with agents.

Legend: N agents, P pairs (undirected), E directed ties.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import polars as pl

from assets.society.areas import People, cut_areas, line_up
from assets.society.media import form_media
from assets.society.pairs import toward
from assets.society.tie_config import TieConfig, load_tie_config
from assets.society.tie_graph import AreaTies, TieGraph, to_area_ties
from assets.society.ties_across import form_across, household_ties_across, plan_across
from assets.society.ties_within import form_area

NUM_THREADS = 2
"""Areas formed at once. Their ties do not depend on it; memory does."""


def form_society(agents: pl.DataFrame, seed: int, config: TieConfig | None = None) -> tuple[TieGraph, pl.DataFrame]:
    """Forms social ties and media ties.

    Args:
        agents: rows of `agents`.
        seed: any non-negative integer.
        config: sizes and preferences of social ties; those of `tie_rules.yaml` when left out.

    Returns:
        The graph, social and media ties together, and rows of `media_sources`.
    """
    media_sources, media_ties = form_media(agents, seed)
    return form_tie_graph(agents, seed, config, media_ties), media_sources


def form_ties(agents: pl.DataFrame, seed: int, config: TieConfig | None = None) -> pl.DataFrame:
    """Forms the social ties: rows of `ties`, each pair once in each direction, sorted by dst, src and tie type.

    Args:
        agents: rows of `agents`, in any order.
        seed: any non-negative integer.
        config: sizes and preferences.

    Raises:
        ValueError: agent ids are not 0…N−1.
    """
    return form_tie_graph(agents, seed, config).rows()


def form_tie_graph(
    agents: pl.DataFrame,
    seed: int,
    config: TieConfig | None = None,
    media_ties: pl.DataFrame | None = None,
) -> TieGraph:
    """Forms the social ties and weaves media ties in.

    Args:
        agents: rows of `agents`, in any order.
        seed: any non-negative integer.
        config: sizes and preferences.
        media_ties: rows of type media.

    Raises:
        ValueError: agent ids are not 0…N−1.
    """
    agents = agents.sort("agent_id")
    if agents.is_empty() or not np.array_equal(agents["agent_id"].to_numpy(), np.arange(agents.height)):
        raise ValueError(
            f"agents holds {agents.height} rows, whose ids must be 0, 1, 2 and so on, each once. "
            "Form ties for a whole population, then take the induced ties of the part you want."
        )
    config = load_tie_config() if config is None else config
    order_N, num_by_state = line_up(agents)
    is_in_order = bool((np.diff(order_N) > 0).all())
    people = People.of(agents if is_in_order else agents[order_N])
    media = _media_by_position(media_ties, order_N, is_in_order)
    areas = tuple(form_graph(people, num_by_state, seed, config, media))
    return TieGraph(areas, None if is_in_order else order_N)


def form_graph(
    people: People, num_by_state: list[int], seed: int, config: TieConfig, media: tuple[np.ndarray, np.ndarray]
) -> Iterator[AreaTies]:
    """The graph, area by area.

    Args:
        people: agents lined up in the order of STATES_BY_REGION.
        num_by_state: agents of each of STATES_BY_REGION.
        seed: any non-negative integer.
        config: sizes and preferences.
        media: positions of followers in ascending order, and the sources that they follow.
    """
    edges = cut_areas(num_by_state)
    bounds = list(pairwise(edges))
    num_areas = len(bounds)
    parts = [people.part(*bound) for bound in bounds]
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        formed = list(
            pool.map(lambda area: form_area(parts[area], edges[area], area, num_areas, seed, config), range(num_areas))
        )
        incoming = [[pairs] for pairs in household_ties_across(people, edges, 0, config)]
        across = plan_across([area.num_across for area in formed], np.diff(edges), seed, config)
        pairs_of_areas = pool.map(
            lambda plan: form_across(
                (parts[plan[0]], formed[plan[0]].lotteries),
                (parts[plan[1]], formed[plan[1]].lotteries),
                plan,
                seed,
                config,
            ),
            across,
        )
        for (first, second, _), pairs in zip(across, pairs_of_areas, strict=True):
            incoming[first].append(toward(pairs, edges[second], is_own=True))
            incoming[second].append(toward(pairs, edges[first], is_own=False))
    for area, (begin, end) in enumerate(bounds):
        low, high = np.searchsorted(media[0], [begin, end])
        followers = (media[0][low:high] - begin, media[1][low:high])
        yield to_area_ties(begin, end - begin, formed[area].pairs, incoming[area], followers)


def _media_by_position(
    media_ties: pl.DataFrame | None, order_N: np.ndarray, is_in_order: bool
) -> tuple[np.ndarray, np.ndarray]:
    if media_ties is None:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    position_N = np.arange(len(order_N))
    if not is_in_order:
        position_N[order_N] = np.arange(len(order_N))
    follower, source = position_N[media_ties["dst"].to_numpy()], media_ties["src"].to_numpy()
    by_position = np.lexsort((source, follower))
    return follower[by_position], source[by_position]
