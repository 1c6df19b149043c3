"""The typed social graph in compact form: a destination-sorted CSR per area, and its rows for the table `ties`.

Legend: N agents, E directed ties.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from assets.society import tie_kernels as kernels
from assets.society.pairs import Pairs
from validation.attributes import TIE_TYPES

MEDIA = TIE_TYPES.index("media")
TYPE_RANK = np.array([sorted(TIE_TYPES).index(name) for name in TIE_TYPES], np.uint8)
"""Place of each type in alphabetical order, by which rows of one pair of ids are told apart."""


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

    def imbalance(self) -> int:
        """A number from 0 to 2**64 - 1; those of all areas add up to 0 modulo 2**64 where social ties are mutual.

        Every tie adds a hash of its ends and takes away that of its reverse, so that no area has to know another. A
        one-sided tie goes unnoticed with probability 2**-64.
        """
        is_social_E = self.type_E != MEDIA
        num_by_agent = np.diff(np.concatenate([[0], np.cumsum(is_social_E)])[self.offset_N1])
        dst_E = np.repeat(np.arange(self.first, self.first + len(num_by_agent), dtype=np.uint64), num_by_agent)
        src_E, type_E = self.src_E[is_social_E].astype(np.uint64), self.type_E[is_social_E].astype(np.uint64)
        difference_E = _hash(src_E, dst_E, type_E) - _hash(dst_E, src_E, type_E)
        return int(difference_E.sum(dtype=np.uint64))

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


def _hash(first_E: np.ndarray, second_E: np.ndarray, type_E: np.ndarray) -> np.ndarray:
    """A 64-bit hash per tie: SplitMix64 of its ends, once more with its type."""
    mixed = _mixed((first_E << np.uint64(32)) | second_E)
    return _mixed(mixed + type_E)


def _mixed(value_E: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64, Steele, Lea & Flood (2014)."""
    value_E = value_E + kernels.GOLDEN
    value_E = (value_E ^ (value_E >> kernels.S30)) * kernels.MIX_1
    value_E = (value_E ^ (value_E >> kernels.S27)) * kernels.MIX_2
    return value_E ^ (value_E >> kernels.S31)
