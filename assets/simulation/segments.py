"""Means over segments of agents, with intervals that know that agents were copied from donors.

Agents are synthesised from survey respondents, so agents of one donor resemble one another and carry less information
than as many strangers. Variances are therefore taken over donors, the clusters of this sample, and not over agents.

Legend: N agents, L levels of an attribute, G groups (donor × level), O columns averaged together.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

SEGMENT_ATTRIBUTES: tuple[str, ...] = (
    "sex",
    "age_group",
    "race_ethnicity",
    "education",
    "region",
    "party",
    "ideology",
)
"""Attributes whose levels are reported beside the whole population."""

MIN_SEGMENT_SIZE = 30
"""Segments with fewer agents are left out: their intervals would say more about the approximation than the segment."""

NORMAL_QUANTILE = 1.959963984540054
"""97.5 % quantile of the standard normal distribution, for two-sided 95 % intervals."""


@dataclass(frozen=True)
class SegmentMean:
    """Mean of O columns over one segment, with the standard error of each mean; NaN where it is not identified."""

    segment: str
    num_agents: int
    mean_O: np.ndarray
    standard_error_O: np.ndarray

    def interval(self, lowest: float, highest: float) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the 95 % interval, clipped; the whole range where the standard error is not identified."""
        margin_O = NORMAL_QUANTILE * self.standard_error_O
        is_known_O = np.isfinite(margin_O)
        lower_O = np.where(is_known_O, np.clip(self.mean_O - margin_O, lowest, highest), lowest)
        upper_O = np.where(is_known_O, np.clip(self.mean_O + margin_O, lowest, highest), highest)
        return np.minimum(lower_O, self.mean_O), np.maximum(upper_O, self.mean_O)


@dataclass(frozen=True)
class SegmentAxis:
    """One partition of the agents into segments: everybody, or the levels of one attribute."""

    segments: tuple[str, ...]
    group_N: np.ndarray
    level_of_group_G: np.ndarray
    size_of_group_G: np.ndarray
    size_L: np.ndarray
    num_donors_L: np.ndarray

    def means(self, values_NO: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard error per level and column, both [L, O]; NaN for empty levels and single donors.

        The variance of a segment's mean is C/(C−1) · Σ_c (Σ_{i∈c} (y_i − ȳ))² / n², over its C donors c.

        Source: Cochran (1977), Sampling Techniques, chapter 9A: ratio estimates from clusters of unequal size.
        """
        num_groups, num_levels = len(self.size_of_group_G), len(self.segments)
        sum_GO = _sum_by(self.group_N, values_NO, num_groups)
        with np.errstate(divide="ignore", invalid="ignore"):
            size_L1 = self.size_L[:, None].astype(np.float64)
            mean_LO = _sum_by(self.level_of_group_G, sum_GO, num_levels) / size_L1
            residual_GO = sum_GO - self.size_of_group_G[:, None] * mean_LO[self.level_of_group_G]
            squares_LO = _sum_by(self.level_of_group_G, residual_GO**2, num_levels)
            correction_L1 = self.num_donors_L[:, None] / (self.num_donors_L[:, None] - 1.0)
            variance_LO = np.where(self.num_donors_L[:, None] > 1, correction_L1 * squares_LO / size_L1**2, np.nan)
        return mean_LO, np.sqrt(variance_LO)


@dataclass(frozen=True)
class Segmentation:
    """Every partition that is reported, prepared once for a fixed, ordered set of agents."""

    agent_id_N: np.ndarray
    axes: tuple[SegmentAxis, ...]

    def means(self, values_NO: np.ndarray) -> list[SegmentMean]:
        """Means over every segment that is large enough; "all" always comes first, whatever its size.

        Args:
            values_NO: one row per agent, in the order of `agent_id_N`.
        """
        found: list[SegmentMean] = []
        for axis in self.axes:
            mean_LO, error_LO = axis.means(values_NO)
            found.extend(
                SegmentMean(segment, int(axis.size_L[level]), mean_LO[level], error_LO[level])
                for level, segment in enumerate(axis.segments)
                if segment == "all" or axis.size_L[level] >= MIN_SEGMENT_SIZE
            )
        return found


def segment_agents(agents: pl.DataFrame, agent_id_N: np.ndarray) -> Segmentation:
    """Prepares the segments of the given agents.

    Args:
        agents: the agents table; ids are dense, so that agent i is found whatever the order of rows.
        agent_id_N: agents to segment, at least one.

    Raises:
        ValueError: an id is not in the agents table, or no id is given.
    """
    if len(agent_id_N) == 0:
        raise ValueError("No agent to segment. The scenario's population predicate selects nobody; widen it.")
    by_id = agents.sort("agent_id")
    if agent_id_N.max() >= len(by_id) or agent_id_N.min() < 0:
        raise ValueError(
            f"Rows name agent {int(agent_id_N.max())}, but the agents table ends at {len(by_id) - 1}. "
            "The rows come from another population; simulate again on this one."
        )
    chosen = by_id[agent_id_N]
    donor_N = _codes(chosen["respondent_id"])[1]
    everybody_N = np.zeros(len(chosen), dtype=np.int64)
    axes = [_axis(("all",), everybody_N, donor_N)]
    for attribute in SEGMENT_ATTRIBUTES:
        levels, level_N = _codes(chosen[attribute])
        axes.append(_axis(tuple(f"{attribute}={level}" for level in levels), level_N, donor_N))
    return Segmentation(agent_id_N=agent_id_N, axes=tuple(axes))


def _axis(segments: tuple[str, ...], level_N: np.ndarray, donor_N: np.ndarray) -> SegmentAxis:
    cell_G, group_N, size_G = np.unique(donor_N * len(segments) + level_N, return_inverse=True, return_counts=True)
    level_G = cell_G % len(segments)
    return SegmentAxis(
        segments=segments,
        group_N=group_N,
        level_of_group_G=level_G,
        size_of_group_G=size_G,
        size_L=np.bincount(level_N, minlength=len(segments)),
        num_donors_L=np.bincount(level_G, minlength=len(segments)),
    )


def _codes(values: pl.Series) -> tuple[list[str], np.ndarray]:
    """Distinct values in alphabetical order, and the code of each row."""
    levels, code_N = np.unique(values.to_numpy().astype(str), return_inverse=True)
    return levels.tolist(), code_N.astype(np.int64)


def _sum_by(code_N: np.ndarray, values_NO: np.ndarray, num_codes: int) -> np.ndarray:
    """Sums of each column by code, in a fixed order of addition."""
    columns = [np.bincount(code_N, weights=values_NO[:, o], minlength=num_codes) for o in range(values_NO.shape[1])]
    return np.stack(columns, axis=1)
