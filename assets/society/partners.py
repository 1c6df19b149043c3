"""Chooses who is tied with whom: candidates from circles or anywhere, or ties of ties, weighed by likeness.

An agent that looks for a tie weighs up a handful of candidates and takes one with probability proportional to
exp(utility), utility being the log odds of what the two have in common. Agents look, and are looked at, in proportion
to their sociability, so that degrees follow it.

Source: tie formation as discrete choice over sampled candidates, Overgoor, Benson & Ugander (2019), Choosing to grow a
graph; triadic closure by two-step random walks, Holme & Kim (2002); circles after the foci of Feld (1981).

Legend: N agents, C circles, P proposed ties, K candidates.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import sparse

from assets.society.tie_config import TieRule
from validation.attributes import ATTRIBUTE_BY_NAME

PROPOSALS_PER_CHUNK = 200_000
"""Proposals weighed up at once; bounds memory. It is part of the recipe: another value draws other ties."""

CLOSURE_CANDIDATES = 4
"""Ties of ties that an agent weighs up when it closes a triangle; few agents have many to choose from."""

SMALLEST_DRAW = np.float32(1e-12)
"""Keeps the logarithm of an exponential draw finite: in single precision one in millions is zero."""


@dataclass(frozen=True)
class Likeness:
    """What ties are chosen by: codes of attributes, shape [attributes, N], and ages."""

    codes: Mapping[str, np.ndarray]
    age_N: np.ndarray

    @classmethod
    def of(cls, agents: pl.DataFrame) -> "Likeness":
        """Reads it from rows of `agents`, sorted by agent_id."""
        codes = {
            name: agents[name]
            .replace_strict({level: code for code, level in enumerate(attribute.levels)}, return_dtype=pl.UInt8)
            .to_numpy()
            for name, attribute in ATTRIBUTE_BY_NAME.items()
        }
        return cls(codes, agents["age"].to_numpy().astype(np.float32))

    def utility(self, ego: np.ndarray, alter: np.ndarray, rule: TieRule) -> np.ndarray:
        """Log odds of what ego and alter have in common; arrays of ids of shapes that broadcast."""
        gap = np.abs(self.age_N[ego] - self.age_N[alter])
        total = gap * np.float32(-rule.log_odds_per_decade / 10.0)
        for name, log_odds in rule.log_odds.items():
            code_N = self.codes[name]
            total += np.float32(log_odds) * (code_N[ego] == code_N[alter])
        return total

    def similarity(self, ego: np.ndarray, alter: np.ndarray, rule: TieRule) -> np.ndarray:
        """Utility as a fraction: 1 with every attribute of the rule and age shared, 0 with none, 50 years apart."""
        highest = sum(rule.log_odds.values())
        lowest = -rule.log_odds_per_decade * 5.0
        if highest <= lowest:
            return np.ones(len(ego), dtype=np.float32)
        return np.clip((self.utility(ego, alter, rule) - lowest) / (highest - lowest), 0.0, 1.0).astype(np.float32)


class Circles:
    """Agents cut into circles, with a lottery in which each has a chance in proportion to its propensity.

    Agents lie on a line in the order of circles, each on a stretch as long as its propensity: a uniform point within a
    circle's stretch, or on the whole line, draws an agent.
    """

    def __init__(self, order_N: np.ndarray, propensity_N: np.ndarray, circle_size: int) -> None:
        num_agents = len(order_N)
        num_circles = max(1, round(num_agents / circle_size))
        first_C1 = np.linspace(0, num_agents, num_circles + 1).round().astype(np.int64)
        self._order_N = order_N
        self._end_N = np.cumsum(propensity_N[order_N])
        edge_C1 = np.concatenate([[0.0], self._end_N])[first_C1]
        circle_of_place_N = np.repeat(np.arange(num_circles), np.diff(first_C1))
        self._circle_N = np.empty(num_agents, dtype=np.int64)
        self._circle_N[order_N] = circle_of_place_N
        self._low_C, self._high_C = edge_C1[:-1], edge_C1[1:]

    def anyone(self, shape: int | tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Draws agents from the whole population."""
        return self._at(rng.random(shape) * self._end_N[-1])

    def candidates(self, ego_P: np.ndarray, num_candidates: int, share: float, rng: np.random.Generator) -> np.ndarray:
        """Candidates for each ego, shape [P, K]: all from its circle with probability `share`, or all from anywhere."""
        is_near_P = rng.random(len(ego_P)) < share
        circle_P = self._circle_N[ego_P]
        low_P = np.where(is_near_P, self._low_C[circle_P], 0.0)
        high_P = np.where(is_near_P, self._high_C[circle_P], self._end_N[-1])
        return self._at(low_P[:, None] + rng.random((len(ego_P), num_candidates)) * (high_P - low_P)[:, None])

    def _at(self, point: np.ndarray) -> np.ndarray:
        place = np.searchsorted(self._end_N, point.ravel(), side="right")
        return self._order_N[np.minimum(place, len(self._order_N) - 1)].reshape(point.shape)


def circle_order(agents: pl.DataFrame, attributes: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """Order of agents, shape [N], from which circles are cut: by region and state, then by likeness or by household.

    Args:
        agents: rows of `agents`, sorted by agent_id.
        attributes: ordinal attributes that, together and blurred by as much noise as they vary, order the agents of a
            state; without any, households are shuffled within the state and stay together.
        rng: source of randomness.
    """
    if attributes:
        within_state_N = rng.standard_normal(agents.height) * np.sqrt(len(attributes))
        for name in attributes:
            code_N = _codes(agents, name).astype(np.float64)
            within_state_N += (code_N - code_N.mean()) / max(float(code_N.std()), 1e-9)
    else:
        household_N = agents["household_id"].to_numpy()
        within_state_N = rng.random(int(household_N.max()) + 1)[household_N]
    return np.lexsort((within_state_N, _codes(agents, "state"), _codes(agents, "region")))


def propose_choices(
    num_proposals: int,
    circles: Circles,
    likeness: Likeness,
    rule: TieRule,
    num_candidates: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Ego and alter of proposed ties, shape [P] each; may hold agents with themselves and pairs that are tied."""
    egos, alters = [], []
    for chunk in _chunks(num_proposals):
        ego_P = circles.anyone(chunk, rng)
        candidate_PK = circles.candidates(ego_P, num_candidates, rule.circle_share, rng)
        egos.append(ego_P)
        alters.append(_choose(ego_P, candidate_PK, likeness, rule, rng))
    return np.concatenate(egos), np.concatenate(alters)


def propose_closures(
    num_proposals: int,
    adjacency: sparse.csr_array,
    circles: Circles,
    likeness: Likeness,
    rule: TieRule,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Ego and alter of ties that would close a triangle, shape [at most P] each; agents without ties propose none."""
    offset_N1, neighbour_E = adjacency.indptr.astype(np.int64), adjacency.indices
    degree_N = np.diff(offset_N1)
    egos, alters = [], []
    for chunk in _chunks(num_proposals):
        ego_P = circles.anyone(chunk, rng)
        ego_P = ego_P[degree_N[ego_P] > 0]
        between_PK = _neighbours(np.repeat(ego_P[:, None], CLOSURE_CANDIDATES, axis=1), offset_N1, neighbour_E, rng)
        candidate_PK = _neighbours(between_PK, offset_N1, neighbour_E, rng)
        egos.append(ego_P)
        alters.append(_choose(ego_P, candidate_PK, likeness, rule, rng))
    return np.concatenate(egos), np.concatenate(alters)


def _choose(
    ego_P: np.ndarray, candidate_PK: np.ndarray, likeness: Likeness, rule: TieRule, rng: np.random.Generator
) -> np.ndarray:
    """One candidate each, with probability proportional to exp(utility), by the Gumbel-max trick."""
    utility_PK = likeness.utility(ego_P[:, None], candidate_PK, rule)
    utility_PK -= np.log(np.maximum(rng.standard_exponential(candidate_PK.shape, dtype=np.float32), SMALLEST_DRAW))
    utility_PK[candidate_PK == ego_P[:, None]] = -np.inf
    return candidate_PK[np.arange(len(ego_P)), utility_PK.argmax(axis=1)]


def _neighbours(
    agent: np.ndarray, offset_N1: np.ndarray, neighbour_E: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """A random neighbour of each agent, all of whom have one."""
    first = offset_N1[agent]
    step = (rng.random(agent.shape) * (offset_N1[agent + 1] - first)).astype(np.int64)
    return neighbour_E[first + step].astype(np.int64)


def _codes(agents: pl.DataFrame, name: str) -> np.ndarray:
    levels = ATTRIBUTE_BY_NAME[name].levels
    code_of = {level: code for code, level in enumerate(levels)}
    return agents[name].replace_strict(code_of, return_dtype=pl.Int64).to_numpy()


def _chunks(total: int) -> list[int]:
    """Sizes of chunks that add up to the total; one empty chunk for nothing, so that results keep their types."""
    full, rest = divmod(total, PROPOSALS_PER_CHUNK)
    return [PROPOSALS_PER_CHUNK] * full + ([rest] if rest or not full else [])
