"""Makes agents: draws donors so that whole agents keep the margins, fills open attributes, forms households.

Legend: R respondents, C cells (combinations of margin levels), M margins.
"""

import numpy as np
import polars as pl

from assets.population.errors import SynthesisError
from assets.population.hot_deck import fill_open_attributes
from assets.population.households import assign_households
from assets.population.margins import margins_of
from assets.population.raking import Margin, cell_of_each
from validation.attributes import ATTRIBUTES

NUM_CANDIDATES = 64
"""Cells tried at once as the one that gives an agent away during the repair; more only costs time."""

AGENT_COLUMNS = (
    "agent_id",
    "household_id",
    "respondent_id",
    "geography",
    "age",
    *(attribute.name for attribute in ATTRIBUTES),
    "imputed_attributes",
)


def synthesise_agents(
    respondents: pl.DataFrame, calibrated: pl.DataFrame, margins: pl.DataFrame, num_agents: int, seed: int
) -> pl.DataFrame:
    """Makes the agents of the synthetic population, household by household.

    Donors are drawn with probability proportional to calibrated weight, in numbers per cell that meet the margins as
    closely as whole agents can. One seed gives one population, bit for bit.

    Args:
        respondents: rows of `survey_respondents`.
        calibrated: rows of `calibrated_respondents`; only these respondents become donors.
        margins: rows of `population_margins` that the weights were calibrated on.
        num_agents: number of agents to make.
        seed: any non-negative integer.

    Returns:
        Rows of `agents`; members of a household are adjacent, households are grouped by state.

    Raises:
        SynthesisError: there are no agents to make or no donors, or an attribute is open for every donor.
    """
    if num_agents < 1:
        raise SynthesisError(f"num_agents is {num_agents}; a population needs at least one agent. Raise it.")
    donors = calibrated.select("respondent_id", "calibrated_weight").join(
        respondents, on="respondent_id", how="inner", maintain_order="left"
    )
    if donors.height != calibrated.height or donors.is_empty():
        raise SynthesisError(
            f"Only {donors.height} of {calibrated.height} calibrated respondents are in survey_respondents. "
            "Both tables must come from the same run: materialise them again."
        )
    draw_rng, fill_rng, household_rng = (
        np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(3)
    )
    donor_index = _draw_donors(donors, margins_of(donors, margins), num_agents, draw_rng)
    people = fill_open_attributes(donors[donor_index], donors, fill_rng)
    people = assign_households(people, household_rng)
    return people.with_columns(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("agent_id"), pl.format("US-{}", "state").alias("geography")
    ).select(AGENT_COLUMNS)


def allot_to_cells(
    expected_C: np.ndarray, level_MC: np.ndarray, num_agents: int, rng: np.random.Generator
) -> np.ndarray:
    """Whole numbers of agents per cell whose margins are as close to the expected ones as a local search finds.

    Starts from systematic rounding (each cell gets the floor or the ceiling of its expected number) and then moves
    single agents from a rounded-up to a rounded-down cell while that lowers the sum of squared deviations over all
    margin levels. Every cell keeps the floor or the ceiling of its expected number.

    Args:
        expected_C: expected number of agents per cell, summing to `num_agents`.
        level_MC: level of each cell in each margin.
        num_agents: number of agents.
        rng: draws the start of the systematic rounding.

    Source: controlled rounding, Cox (1987), A constructive procedure for unbiased controlled rounding; here as a local
    search, without its guarantee.
    """
    edges = np.floor(np.concatenate([[0.0], np.cumsum(expected_C)]) + rng.random())
    edges[-1] = edges[0] + num_agents
    count_C = np.diff(edges).astype(np.int64)
    floor_C = np.floor(expected_C + 1e-9).astype(np.int64)
    num_levels_M = level_MC.max(axis=1) + 1
    num_margins = len(level_MC)
    while True:
        gap_C = count_C - expected_C
        pull_C = np.zeros(len(expected_C))
        for level_C, num_levels in zip(level_MC, num_levels_M, strict=True):
            pull_C += np.bincount(level_C, weights=gap_C, minlength=num_levels)[level_C]
        givers = np.flatnonzero(count_C > floor_C)
        takers = np.flatnonzero((count_C <= floor_C) & (expected_C > floor_C))
        if not len(givers) or not len(takers):
            return count_C
        givers = givers[np.argsort(-pull_C[givers], kind="stable")[:NUM_CANDIDATES]]
        takers = takers[np.argsort(pull_C[takers], kind="stable")[: 8 * NUM_CANDIDATES]]
        shared = (level_MC[:, givers, None] == level_MC[:, None, takers]).sum(axis=0)
        change = 2.0 * (num_margins - shared) + 2.0 * (pull_C[takers][None, :] - pull_C[givers][:, None])
        best = int(change.argmin())
        if change.flat[best] > -1e-9:
            return count_C
        count_C[givers[best // len(takers)]] -= 1
        count_C[takers[best % len(takers)]] += 1


def _draw_donors(
    donors: pl.DataFrame, margins: tuple[Margin, ...], num_agents: int, rng: np.random.Generator
) -> np.ndarray:
    """Row of the donor of each agent: systematic sampling within each cell, ordered by state and party."""
    cell_R = cell_of_each([m.level_R for m in margins], [len(m.levels) for m in margins], donors.height)
    num_cells = int(cell_R.max()) + 1
    member_C = np.zeros(num_cells, dtype=np.int64)
    member_C[cell_R] = np.arange(donors.height)
    level_MC = np.stack([np.asarray(margin.level_R)[member_C] for margin in margins])
    weight_R = donors["calibrated_weight"].to_numpy()
    weight_C = np.bincount(cell_R, weights=weight_R, minlength=num_cells)
    count_C = allot_to_cells(weight_C * (num_agents / weight_C.sum()), level_MC, num_agents, rng)

    codes = donors.select(pl.col("state", "party").rank("dense").fill_null(0)).to_numpy()
    order_R = np.lexsort((rng.random(donors.height), codes[:, 1], codes[:, 0], cell_R))
    start_C = np.concatenate([[0], np.cumsum(np.bincount(cell_R, minlength=num_cells))])
    upto_R = np.cumsum(weight_R[order_R])
    below_C = np.concatenate([[0.0], upto_R])[start_C[:-1]]
    cell_N = np.repeat(np.arange(num_cells), count_C)
    rank_N = np.arange(num_agents) - np.repeat(np.cumsum(count_C) - count_C, count_C)
    point_N = (rank_N + rng.random(num_cells)[cell_N]) / count_C[cell_N]
    target_N = below_C[cell_N] + point_N * weight_C[cell_N]
    position_N = np.searchsorted(upto_R, target_N, side="right")
    return order_R[np.clip(position_N, start_C[cell_N], start_C[cell_N + 1] - 1)]
