"""Forms the ties between areas: how many each two areas share, who has them, and households that a cut runs through.

Legend: N agents, P pairs (undirected).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from assets.society import tie_kernels as kernels
from assets.society.areas import Lottery, People, household_pairs
from assets.society.pairs import TIES_STREAM, Pairs, Weighing
from assets.society.tie_config import TieConfig
from validation.attributes import TIE_TYPES

MOST_PARTNERS = 60
"""Other areas that an area is tied with at most."""

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
    ring = ring_of(num_areas, seed)
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


def ring_of(num_areas: int, seed: int) -> np.ndarray:
    """The areas in the random order in which they stand on a ring; those that are tied stand near each other."""
    return np.random.default_rng(np.random.SeedSequence((seed, TIES_STREAM, num_areas, 4))).permutation(num_areas)


def along_ring(plans: Sequence[AcrossPlan], num_areas: int, seed: int) -> list[tuple[int, list[AcrossPlan]]]:
    """The same plans grouped by the area from which the other lies ahead, in the order of the ring.

    Who forms ties in this order needs few areas at hand at once: the next ones on the ring.
    """
    ring = ring_of(num_areas, seed)
    place_of = np.empty(num_areas, np.int64)
    place_of[ring] = np.arange(num_areas)
    ahead: list[list[tuple[int, AcrossPlan]]] = [[] for _ in range(num_areas)]
    for plan in plans:
        steps = int(place_of[plan[1]] - place_of[plan[0]]) % num_areas
        if 2 * steps <= num_areas:
            ahead[plan[0]].append((steps, plan))
        else:
            ahead[plan[1]].append((num_areas - steps, plan))
    return [(int(area), [plan for _, plan in sorted(ahead[area], key=lambda entry: entry[0])]) for area in ring]


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
