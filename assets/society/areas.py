"""Cuts a population into areas, the units in which ties are formed, and lines the agents of an area up in circles.

An area is a run of agents who live near each other: a state, several small neighbouring states, or an equal part of a
large one. Which areas there are follows from the numbers of agents per state alone, so that a population built state
by state has the areas of one built at once.

Legend: N agents of a population or of one area, S states, C circles.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import polars as pl

from assets.society.tie_config import TieConfig, TieRule
from assets.society.tie_kernels import guide_of
from validation.attributes import ATTRIBUTES, REGION_OF_STATE, STATES_BY_REGION

SMALLEST_AREA = 1_000
"""Agents below which a state is joined with the next one of its region: fewer could not hold the ties asked for."""

LARGEST_AREA = 250_000
"""Agents above which a state is cut into equal parts, as the population's shards are; bounds memory per area."""

LEVELS = {attribute.name: attribute.levels for attribute in ATTRIBUTES}
WIDTH = {name: max(1, (len(levels) - 1).bit_length()) for name, levels in LEVELS.items()}
SHIFT = dict(zip(WIDTH, accumulate(WIDTH.values(), initial=0), strict=False))
"""Bits of an agent's code that hold each attribute: how many, and from which on."""

assert sum(WIDTH.values()) <= 64, "the attributes no longer fit into one 64-bit code"


@dataclass(frozen=True)
class People:
    """What ties are formed by, one entry per agent, in the order of STATES_BY_REGION and then of agent_id.

    code_N: uint64, levels of all attributes packed; age_N: uint8, years; household_N: int64.
    """

    code_N: np.ndarray
    age_N: np.ndarray
    household_N: np.ndarray

    @classmethod
    def of(cls, agents: pl.DataFrame) -> "People":
        """Reads it from rows of `agents` in the order wanted."""
        code_N = np.zeros(agents.height, np.uint64)
        for name, shift in SHIFT.items():
            code = agents[name].cast(pl.Enum(LEVELS[name])).to_physical().cast(pl.UInt64).to_numpy()
            code_N |= code << np.uint64(shift)
        return cls(code_N, agents["age"].cast(pl.UInt8).to_numpy(), agents["household_id"].to_numpy())

    def part(self, first: int, upto: int) -> "People":
        """The agents from one position up to another."""
        return People(self.code_N[first:upto], self.age_N[first:upto], self.household_N[first:upto])

    def levels(self, name: str) -> np.ndarray:
        """Position of each agent's level of an attribute."""
        return ((self.code_N >> np.uint64(SHIFT[name])) & np.uint64(2 ** WIDTH[name] - 1)).astype(np.int64)

    def __len__(self) -> int:
        return len(self.code_N)


@dataclass(frozen=True)
class Lottery:
    """Agents of an area in the order of circles, each with a chance in proportion to its propensity to form ties.

    order_N: int32, agents by position; upto_N: propensity up to and with each position; guide_N: where to look;
    edge_C1: first position of each circle, and N.
    """

    order_N: np.ndarray
    upto_N: np.ndarray
    guide_N: np.ndarray
    edge_C1: np.ndarray


def cut_areas(num_agents_by_state: Sequence[int]) -> list[int]:
    """First position of each area, and N, for agents lined up in the order of STATES_BY_REGION.

    Args:
        num_agents_by_state: agents of each of STATES_BY_REGION.
    """
    edges, begin, end = [0], 0, 0
    for state, num_agents in zip(STATES_BY_REGION, num_agents_by_state, strict=True):
        end += num_agents
        is_last_of_region = state == [s for s in STATES_BY_REGION if REGION_OF_STATE[s] == REGION_OF_STATE[state]][-1]
        if end - begin >= SMALLEST_AREA:
            parts = -(-(end - begin) // LARGEST_AREA)
            sizes = [(end - begin - part + parts - 1) // parts for part in range(parts)]
            edges += [begin + upto for upto in accumulate(sizes)]
            begin = end
        elif is_last_of_region and len(edges) > 1 and end > begin and edges[-1] - edges[-2] < LARGEST_AREA:
            edges[-1] = begin = end
    if begin < end:
        edges = [*edges, end] if len(edges) == 1 else [*edges[:-1], end]
    return edges if end else [0]


def line_up(agents: pl.DataFrame) -> tuple[np.ndarray, list[int]]:
    """Order of agents (rows sorted by agent_id) by state, and how many live in each of STATES."""
    code_N = agents["state"].cast(pl.Enum(STATES_BY_REGION)).to_physical().to_numpy()
    return np.argsort(code_N, kind="stable"), np.bincount(code_N, minlength=len(STATES_BY_REGION)).tolist()


def sociability(num_agents: int, config: TieConfig, seeds: np.random.SeedSequence) -> np.ndarray:
    """Relative number of ties of each agent of an area, with mean 1.

    A floor and a gamma distribution above it, times a lognormal factor that neighbours share.
    """
    shape, floor, spread = config.sociability_shape, config.sociability_floor, config.neighbourhood_spread
    rng = np.random.default_rng(seeds)
    own_N = floor + (1.0 - floor) * rng.standard_gamma(shape, num_agents) / shape
    num_neighbourhoods = max(1, round(num_agents / config.neighbourhood_size))
    shared = np.exp(spread * rng.standard_normal(num_neighbourhoods) - spread**2 / 2.0)
    return own_N * shared[np.arange(num_agents) * num_neighbourhoods // num_agents]


def lottery_of(people: People, rule: TieRule, sociability_N: np.ndarray, seeds: np.random.SeedSequence) -> Lottery:
    """The circles of one tie type in an area.

    Circles without attributes are neighbourhoods: agents of consecutive ids. Others are cut from districts, within
    which agents are ordered by the attributes blurred by as much noise as they vary.
    """
    num_agents = len(people)
    activity_L = np.array(
        [rule.activity_by_age_group.get(level, 1.0) for level in LEVELS["age_group"]], dtype=np.float64
    )
    order_N = np.arange(num_agents, dtype=np.int32)
    if rule.circle_attributes:
        noise_N = np.random.default_rng(seeds).standard_normal(num_agents) * np.sqrt(len(rule.circle_attributes))
        for name in rule.circle_attributes:
            level_N = people.levels(name).astype(np.float64)
            noise_N += (level_N - level_N.mean()) / max(float(level_N.std()), 1e-9)
        district_N = np.arange(num_agents) * max(1, round(num_agents / rule.district_size)) // num_agents
        order_N = np.lexsort((noise_N, district_N)).astype(np.int32)
    propensity_N = sociability_N * activity_L[people.levels("age_group")]
    upto_N = np.cumsum(np.maximum(propensity_N, 1e-9)[order_N])
    num_circles = max(1, round(num_agents / rule.circle_size))
    edge_C1 = np.linspace(0, num_agents, num_circles + 1).round().astype(np.int64)
    return Lottery(order_N, upto_N, guide_of(upto_N), edge_C1)


def household_pairs(household_N: np.ndarray) -> np.ndarray:
    """All pairs of members of a household, shape [P, 2], positions of agents, the lower first.

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
