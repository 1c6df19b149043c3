"""Pairs of agents that a tie joins, and how a rule weighs what two agents have in common.

Legend: N agents, P pairs (undirected), A attributes.
"""

from dataclasses import dataclass

import numpy as np

from assets.society import tie_kernels as kernels
from assets.society.areas import SHIFT, WIDTH, People
from assets.society.tie_config import TieRule

TIES_STREAM = 1
"""Keeps the draws of ties apart from those of other steps that are given the same seed."""

LONGEST_GAP = 256


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


def toward(pairs: Pairs, first_of_other: int, *, is_own: bool) -> Pairs:
    """Pairs of two areas as one of them sees them: own position, and position of the other in the population."""
    own_P, other_P = (pairs.own_P, pairs.other_P) if is_own else (pairs.other_P, pairs.own_P)
    return Pairs(own_P, (other_P + np.int32(first_of_other)).astype(np.int32), pairs.type_P, pairs.strength_P)
