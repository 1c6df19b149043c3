"""Forms the typed social graph: household, friend, professional and weak ties, and media ties to followers.

Every social tie is mutual, of equal strength both ways, and a pair of agents has one social tie at most. Ties are
formed area by area, then between areas; both steps need two areas in memory and no more. Rows come out as a
destination-sorted CSR. One seed gives one graph, bit for bit, whatever the order of the agents' rows and however many
threads; cost grows linearly with agents.

Legend: N agents, P pairs (undirected), E directed ties.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl

from assets.society import tie_kernels as kernels
from assets.society.areas import (
    SHIFT,
    WIDTH,
    Lottery,
    People,
    cut_areas,
    household_pairs,
    line_up,
    lottery_of,
    sociability,
)
from assets.society.media import form_media
from assets.society.tie_config import TieConfig, TieRule, load_tie_config
from validation.attributes import TIE_TYPES

TIES_STREAM = 1
"""Keeps these draws apart from those of other steps that are given the same seed."""

CLOSURE_WAVES = 4
"""Closure happens in waves: ties closed in one make triangles possible for the next."""

CLOSURE_CANDIDATES = 4
"""Ties of ties that an agent weighs up when it closes a triangle; few agents have many to choose from."""

MOST_PARTNERS = 60
"""Other areas that an area is tied with at most."""

NUM_THREADS = 2
"""Areas formed at once. Their ties do not depend on it; memory does."""

LONGEST_GAP = 256

MEDIA = TIE_TYPES.index("media")
TYPE_RANK = np.array([sorted(TIE_TYPES).index(name) for name in TIE_TYPES], np.uint8)
"""Place of each type in alphabetical order, by which rows of one pair of ids are told apart."""


@dataclass(frozen=True)
class Weighing:
    """A rule as the kernels read it: odds per attribute shared, odds by age gap in years, and their logarithms."""

    gap_utility: np.ndarray
    gap_odds: np.ndarray
    shift_A: np.ndarray
    mask_A: np.ndarray
    log_odds_A: np.ndarray
    odds_A: np.ndarray

    @classmethod
    def of(cls, rule: TieRule) -> "Weighing":
        gap_utility = -rule.log_odds_per_decade / 10.0 * np.arange(LONGEST_GAP, dtype=np.float64)
        log_odds_A = np.array(list(rule.log_odds.values()), dtype=np.float64)
        return cls(
            gap_utility,
            np.exp(gap_utility),
            np.array([SHIFT[name] for name in rule.log_odds], dtype=np.uint64),
            np.array([2 ** WIDTH[name] - 1 for name in rule.log_odds], dtype=np.uint64),
            log_odds_A,
            np.exp(log_odds_A),
        )

    @property
    def choice(self) -> tuple[np.ndarray, ...]:
        """What a choice needs."""
        return self.gap_odds, self.shift_A, self.mask_A, self.odds_A

    def strengths(
        self, own_P: np.ndarray, other_P: np.ndarray, own: People, other: People, bounds: tuple[float, float]
    ) -> np.ndarray:
        """Strength of each pair, float32, within bounds and linear in what its ends have in common."""
        ends = (own.code_N, own.age_N, other.code_N, other.age_N)
        return kernels.strengths(
            own_P, other_P, *ends, self.gap_utility, self.shift_A, self.mask_A, self.log_odds_A, *bounds
        )


@dataclass(frozen=True)
class Pairs:
    """Pairs of agents in positions of an area, or of two, with the type of each (position in TIE_TYPES)."""

    own_P: np.ndarray
    other_P: np.ndarray
    type_P: np.ndarray
    strength_P: np.ndarray


@dataclass(frozen=True)
class FormedArea:
    """Ties within an area, and per rule the lottery and how many ties are to be formed with other areas."""

    pairs: Pairs
    lotteries: Mapping[str, Lottery]
    num_across: Mapping[str, int]


@dataclass(frozen=True)
class AreaTies:
    """All ties that agents of an area hear along, as a CSR: agents `first` to `first` + N.

    offset_N1: int64; src_E: int32, position of the speaker in the population, or source_id; type_E: uint8; strength_E:
    float32. Within an agent sorted by src_E.
    """

    first: int
    offset_N1: np.ndarray
    src_E: np.ndarray
    type_E: np.ndarray
    strength_E: np.ndarray

    def rows(self, agent_id_N: np.ndarray | None = None) -> pl.DataFrame:
        """Rows of `ties`.

        Args:
            agent_id_N: agent id of each position, where ids are not positions.
        """
        num_agents = len(self.offset_N1) - 1
        dst_E = np.repeat(np.arange(self.first, self.first + num_agents, dtype=np.int32), np.diff(self.offset_N1))
        src_E = self.src_E
        if agent_id_N is not None:
            dst_E = agent_id_N[dst_E].astype(np.int32)
            src_E = np.where(self.type_E == MEDIA, src_E, agent_id_N[np.minimum(src_E, len(agent_id_N) - 1)])
        return pl.DataFrame(
            {
                "src": src_E.astype(np.int32, copy=False),
                "dst": dst_E,
                "tie_type": pl.Series(self.type_E)
                .cast(pl.UInt32)
                .replace_strict(list(range(len(TIE_TYPES))), list(TIE_TYPES), return_dtype=pl.String),
                "strength": self.strength_E,
            }
        )


@dataclass(frozen=True)
class TieGraph:
    """The whole graph in compact form, area by area, in the order of positions.

    agent_id_N: agent id of each position, or None where ids are positions.
    """

    areas: tuple[AreaTies, ...]
    agent_id_N: np.ndarray | None

    def chunks(self) -> Iterator[pl.DataFrame]:
        """Rows of `ties` in chunks that follow one another in the order of dst, src and tie type."""
        rows = (area.rows(self.agent_id_N) for area in self.areas)
        yield from rows if self.agent_id_N is None else [pl.concat(rows).sort("dst", "src", "tie_type")]

    def rows(self) -> pl.DataFrame:
        """All rows of `ties` at once."""
        return pl.concat(self.chunks())

    def social_degrees(self) -> np.ndarray:
        """Social ties of each position, shape [N]."""
        upto = [np.concatenate([[0], np.cumsum(area.type_E != MEDIA)])[area.offset_N1] for area in self.areas]
        return np.concatenate([np.diff(offsets) for offsets in upto])


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


def lotteries_of(people: People, area: int, seed: int, config: TieConfig) -> dict[str, Lottery]:
    """Who is drawn in an area, per rule: the same whenever it is asked for."""
    key = (seed, TIES_STREAM, area)
    sociability_N = sociability(len(people), config, np.random.SeedSequence((*key, 0)))
    return {
        name: lottery_of(people, rule, sociability_N, np.random.SeedSequence((*key, 1, number)))
        for number, (name, rule) in enumerate(config.rules.items())
    }


def form_area(people: People, first: int, area: int, num_areas: int, seed: int, config: TieConfig) -> FormedArea:
    """Ties within one area.

    Args:
        people: the agents of the area.
        first: how many agents precede the area, by which whole ties are shared out among areas.
        area: number of the area, from which its random stream follows.
        num_areas: of the population; a single area holds all ties.
        seed: of the population.
        config: sizes and preferences.
    """
    num_agents = len(people)
    lotteries = lotteries_of(people, area, seed, config)
    home = household_pairs(people.household_N)
    targets = {
        name: _rounded(first + num_agents, rule.mean_degree) - _rounded(first, rule.mean_degree)
        for name, rule in config.rules.items()
    }
    capacity = len(home) + sum(targets.values())
    low_P, high_P = np.empty(capacity, np.int32), np.empty(capacity, np.int32)
    low_P[: len(home)], high_P[: len(home)] = home[:, 0], home[:, 1]
    type_P, strength_P = np.zeros(capacity, np.uint8), np.empty(capacity, np.float32)
    table = np.full(1 << max(6, int(np.ceil(np.log2(max(capacity, 1) * 1.7)))), kernels.EMPTY)
    first_rule = Weighing.of(next(iter(config.rules.values())))
    strength_P[: len(home)] = first_rule.strengths(
        low_P[: len(home)], high_P[: len(home)], people, people, config.household_strength_range
    )
    num_pairs, num_across = len(home), {}
    for number, (name, rule) in enumerate(config.rules.items()):
        weighing, begin = Weighing.of(rule), num_pairs
        lottery = lotteries[name]
        state = np.random.SeedSequence((seed, TIES_STREAM, area, 2, number)).generate_state(1, np.uint64)
        ends = (people.code_N, people.age_N, people.household_N, *weighing.choice, table, low_P, high_P)

        def choose(wanted: int, num_pairs: int, circle_share: float, lottery=lottery, state=state, ends=ends) -> int:
            circles = (lottery.order_N, lottery.upto_N, lottery.guide_N, lottery.edge_C1)
            return kernels.choose(*[state, wanted, config.num_candidates, circle_share, *circles, *ends, num_pairs])

        num_closed = round(targets[name] * rule.closure_share)
        abroad = round((targets[name] - num_closed) * rule.nation_share) if num_areas > 1 else 0
        circle_share = rule.circle_share / (1.0 - rule.nation_share) if rule.nation_share < 1.0 else 0.0
        local = targets[name] - abroad
        num_pairs = choose(local - num_closed, num_pairs, circle_share)
        for wave in range(1, CLOSURE_WAVES + 1 if num_closed else 1):
            wanted = num_closed * wave // CLOSURE_WAVES - num_closed * (wave - 1) // CLOSURE_WAVES
            neighbours = kernels.adjacency(num_agents, low_P[:num_pairs], high_P[:num_pairs])
            walks = (CLOSURE_CANDIDATES, lottery.order_N, lottery.upto_N, *neighbours)
            num_pairs = kernels.close(*[state, wanted, *walks, *ends, num_pairs])
        for share in (circle_share, 0.0, 0.0, 0.0):
            missing = begin + local - num_pairs
            if missing > 0:
                num_pairs = choose(missing, num_pairs, share)
        num_across[name] = abroad + (begin + local - num_pairs if num_areas > 1 else 0)
        type_P[begin:num_pairs] = TIE_TYPES.index(name)
        strength_P[begin:num_pairs] = weighing.strengths(
            low_P[begin:num_pairs], high_P[begin:num_pairs], people, people, rule.strength_range
        )
    kept = slice(0, num_pairs)
    return FormedArea(Pairs(low_P[kept], high_P[kept], type_P[kept], strength_P[kept]), lotteries, num_across)


AcrossPlan = tuple[int, int, dict[str, int]]


def plan_across(
    num_across: Sequence[Mapping[str, int]], num_agents_by_area: np.ndarray, seed: int, config: TieConfig
) -> list[AcrossPlan]:
    """How many ties of each type each pair of areas forms: in proportion to the agents of both, in whole ties.

    With many areas each is tied with MOST_PARTNERS others, its nearest on a ring in random order, so that cost stays
    linear in agents.
    """
    num_areas = len(num_across)
    if num_areas < 2:
        return []
    ring = np.random.default_rng(np.random.SeedSequence((seed, TIES_STREAM, num_areas, 4))).permutation(num_areas)
    steps = np.arange(1, min(MOST_PARTNERS, num_areas - 1) // 2 + 1 if num_areas > MOST_PARTNERS else num_areas)
    ends = np.sort(
        [(ring[place], ring[(place + step) % num_areas]) for place in range(num_areas) for step in steps], axis=1
    )
    first, second = np.unique(ends, axis=0).T
    weight = num_agents_by_area[first].astype(np.float64) * num_agents_by_area[second]
    counts = {}
    for name in config.rules:
        total = sum(area[name] for area in num_across)
        edges = np.floor(np.concatenate([[0.0], np.cumsum(weight)]) / weight.sum() * total + 0.5)
        edges[-1] = total
        counts[name] = np.diff(edges).astype(np.int64)
    return [
        (int(a), int(b), {name: int(counts[name][place]) for name in counts})
        for place, (a, b) in enumerate(zip(first, second, strict=True))
    ]


def form_across(
    own: tuple[People, Mapping[str, Lottery]],
    other: tuple[People, Mapping[str, Lottery]],
    plan: AcrossPlan,
    seed: int,
    config: TieConfig,
) -> Pairs:
    """Ties between two areas: agents and lotteries of both, and how many ties of each type to form."""
    first, second, wanted = plan
    capacity = sum(wanted.values())
    own_P, other_P = np.empty(capacity, np.int32), np.empty(capacity, np.int32)
    type_P, strength_P = np.zeros(capacity, np.uint8), np.empty(capacity, np.float32)
    table = np.full(1 << max(4, int(np.ceil(np.log2(max(capacity, 1) * 1.7)))), kernels.EMPTY)
    state = np.random.SeedSequence((seed, TIES_STREAM, first, second, 3, 0)).generate_state(1, np.uint64)
    num_pairs = 0
    for name, rule in config.rules.items():
        weighing, begin = Weighing.of(rule), num_pairs
        sides = []
        for people, lotteries in (own, other):
            order_N = lotteries[name].order_N
            sides += [lotteries[name].upto_N, lotteries[name].guide_N, order_N]
            sides += [people.code_N, people.age_N, people.household_N]
        num_pairs = kernels.choose_across(
            state, wanted[name], config.num_candidates, *sides, *weighing.choice, table, own_P, other_P, num_pairs
        )
        type_P[begin:num_pairs] = TIE_TYPES.index(name)
        strength_P[begin:num_pairs] = weighing.strengths(
            own_P[begin:num_pairs], other_P[begin:num_pairs], own[0], other[0], rule.strength_range
        )
    kept = slice(0, num_pairs)
    return Pairs(own_P[kept], other_P[kept], type_P[kept], strength_P[kept])


def to_area_ties(
    first: int, num_agents: int, pairs: Pairs, incoming: list[Pairs], followers: tuple[np.ndarray, np.ndarray]
) -> AreaTies:
    """All ties of an area's agents as a CSR.

    Args:
        first: position of the area's first agent in the population.
        num_agents: of the area.
        pairs: ties within the area.
        incoming: ties with other areas: own agents in positions of the area, others in those of the population.
        followers: own agents that follow media, in positions of the area, and the sources.
    """
    columns = [
        np.concatenate([getattr(part, name) for part in incoming])
        for name in ("own_P", "other_P", "type_P", "strength_P")
    ]
    columns = [
        np.concatenate([columns[0], followers[0].astype(np.int32)]),
        np.concatenate([columns[1], followers[1].astype(np.int32)]),
        np.concatenate([columns[2], np.full(len(followers[0]), MEDIA, np.uint8)]),
        np.concatenate([columns[3], np.ones(len(followers[0]), np.float32)]),
    ]
    within = (pairs.own_P, pairs.other_P, pairs.type_P, pairs.strength_P)
    return AreaTies(first, *kernels.to_rows(*[num_agents, np.int32(first), *within, *columns, TYPE_RANK]))


def _rounded(num_agents: int, mean_degree: float) -> int:
    return round(num_agents * mean_degree / 2)


def toward(pairs: Pairs, first_of_other: int, *, is_own: bool) -> Pairs:
    """Pairs of two areas as one of them sees them: own position, and position of the other in the population."""
    own_P, other_P = (pairs.own_P, pairs.other_P) if is_own else (pairs.other_P, pairs.own_P)
    return Pairs(own_P, (other_P + np.int32(first_of_other)).astype(np.int32), pairs.type_P, pairs.strength_P)


def household_ties_across(people: People, edges: list[int], first: int, config: TieConfig) -> list[Pairs]:
    """Ties of households that a cut between areas runs through, for each area: own position, and other's position.

    Args:
        people: agents of several areas in a row.
        edges: first position of each area within `people`, and N.
        first: position of these agents in the population.
        config: whose first rule and household strengths apply.
    """
    pairs = household_pairs(people.household_N)
    area_P2 = np.searchsorted(edges, pairs, side="right") - 1
    pairs, area_P2 = (array[area_P2[:, 0] != area_P2[:, 1]] for array in (pairs, area_P2))
    strength_P = Weighing.of(next(iter(config.rules.values()))).strengths(
        pairs[:, 0], pairs[:, 1], people, people, config.household_strength_range
    )
    found = []
    for area in range(len(edges) - 1):
        sides = [
            (
                pairs[:, side][area_P2[:, side] == area] - edges[area],
                pairs[:, 1 - side][area_P2[:, side] == area] + first,
                strength_P[area_P2[:, side] == area],
            )
            for side in (0, 1)
        ]
        own_P, other_P, own_strength_P = (np.concatenate(column) for column in zip(*sides, strict=True))
        found.append(
            Pairs(own_P.astype(np.int32), other_P.astype(np.int32), np.zeros(len(own_P), np.uint8), own_strength_P)
        )
    return found


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
