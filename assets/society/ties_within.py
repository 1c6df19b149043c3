"""Forms the ties within one area: members of households, choices within circles and beyond, closed triangles.

Legend: N agents of the area, P pairs (undirected).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from assets.society import tie_kernels as kernels
from assets.society.areas import Lottery, People, household_pairs, lottery_of, sociability
from assets.society.pairs import TIES_STREAM, Pairs, Weighing
from assets.society.tie_config import TieConfig
from validation.attributes import TIE_TYPES

CLOSURE_WAVES = 4
"""Closure happens in waves: ties closed in one make triangles possible for the next."""

CLOSURE_CANDIDATES = 4
"""Ties of ties that an agent weighs up when it closes a triangle; few agents have many to choose from."""


@dataclass(frozen=True)
class FormedArea:
    """Ties within an area, and per rule the lottery and how many ties are to be formed with other areas."""

    pairs: Pairs
    lotteries: Mapping[str, Lottery]
    num_across: Mapping[str, int]


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
        order_N, found = lottery.order_N, (*weighing.choice, table, low_P, high_P)
        lined_up = (people.code_N[order_N], people.age_N[order_N], people.household_N[order_N])
        circles = (order_N, lottery.upto_N, lottery.guide_N, lottery.edge_C1, *lined_up, *found)
        ends = (people.code_N, people.age_N, people.household_N, *found)

        def choose(wanted: int, num_pairs: int, circle_share: float, state=state, circles=circles) -> int:
            return kernels.choose(*[state, wanted, config.num_candidates, circle_share, *circles, num_pairs])

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


def _rounded(num_agents: int, mean_degree: float) -> int:
    return round(num_agents * mean_degree / 2)
