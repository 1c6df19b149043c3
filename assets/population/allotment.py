"""Whole agents instead of weights: controlled rounding per cell, then whole numbers per donor within each cell.

Nothing here grows with the number of agents: the numbers per donor describe any population.

Legend: R respondents (donors), C cells (combinations of margin levels), M margins.
"""

import logging
from collections.abc import Sequence

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_matrix, vstack

from assets.population.errors import RakingNotConverged
from assets.population.laid_margins import OUTSIDE, Cells, Margin
from assets.population.raking import fit_proportionally, worst_levels

logger = logging.getLogger(__name__)

LARGEST_SHORTFALL = 0.01
"""Persons by which the expected number in a margin level may differ from its total."""

HELD_WITHIN = 1e-5
"""Relative error up to which weights count as meeting a margin."""

FURTHER_CYCLES = 1_000

NUM_CANDIDATES = 64
"""Cells tried at once as the one that gives an agent away during the repair; more only costs time."""

LARGEST_GAP = 1.0 - 1e-9
"""Largest difference in persons between a margin level's agents and the expected number that local search may leave."""


def allot_to_donors(
    weight_R: np.ndarray, margins: Sequence[Margin], order_key_R: np.ndarray, num_agents: int, rng: np.random.Generator
) -> np.ndarray:
    """Number of agents that each donor gives, [R], summing to `num_agents`.

    Cells get whole numbers by `allot_to_cells`; within a cell donors get theirs by systematic sampling with probability
    proportional to weight, so that a donor's number is the floor or the ceiling of its expected number in the cell.

    Args:
        weight_R: calibrated weight per donor.
        margins: margins laid over the donors.
        order_key_R: integer per donor; donors with neighbouring keys stand next to one another in the systematic
            sample, which keeps the shares of whatever the key codes close to the expected ones.
        num_agents: number of agents.
        rng: draws the starts of the systematic samples and the order of donors with equal keys.

    Source: systematic sampling with unequal probabilities, Madow (1949), On the theory of systematic sampling II.
    """
    num_donors = len(weight_R)
    cells = Cells.of(margins, num_donors)
    cell_R, num_cells, level_MC = cells.cell_R, cells.num_cells, cells.level_MC - OUTSIDE
    weight_C = np.bincount(cell_R, weights=weight_R, minlength=num_cells)
    expected_C = expect_in_cells(weight_C, margins, cells, num_agents)
    count_C = allot_to_cells(expected_C, level_MC, num_agents, rng)
    if largest_gap(count_C, expected_C, level_MC) > LARGEST_GAP:
        count_C = allot_exactly(expected_C, level_MC, count_C)

    order_R = np.lexsort((rng.random(num_donors), order_key_R, cell_R))
    sorted_cell_R = cell_R[order_R]
    upto_R = np.cumsum(weight_R[order_R])
    below_C = np.concatenate([[0.0], upto_R])[np.searchsorted(sorted_cell_R, np.arange(num_cells))]
    end_R = (upto_R - below_C[sorted_cell_R]) / weight_C[sorted_cell_R] * count_C[sorted_cell_R]
    reached_R = np.clip(np.ceil(end_R - rng.random(num_cells)[sorted_cell_R]), 0, count_C[sorted_cell_R])
    is_last_R = np.append(sorted_cell_R[1:] != sorted_cell_R[:-1], True)
    reached_R[is_last_R] = count_C[sorted_cell_R[is_last_R]]
    is_first_R = np.append(True, is_last_R[:-1])
    given_R = np.diff(reached_R, prepend=0.0)
    given_R[is_first_R] = reached_R[is_first_R]
    count_R = np.zeros(num_donors, dtype=np.int64)
    count_R[order_R] = given_R.astype(np.int64)
    return count_R


def expect_in_cells(weight_C: np.ndarray, margins: Sequence[Margin], cells: Cells, num_agents: int) -> np.ndarray:
    """Expected number of agents per cell, in which margins that the weights meet hold to a hundredth of a person.

    A calibration that is exact to a millionth leaves a hundred persons in a level of a hundred millions; raking the
    cells a little further takes them away. Margins that the weights miss by more, soft ones, are left as they are.

    Args:
        weight_C: calibrated weight per cell.
        margins: margins laid over the donors.
        cells: which cell falls in which level.
        num_agents: number of agents.
    """
    tolerance = LARGEST_SHORTFALL / num_agents
    worst = worst_levels(weight_C, margins, cells)
    held = [index for index, _, error in worst if error <= HELD_WITHIN]
    if max((worst[index][2] for index in held), default=0.0) > tolerance:
        kept = [margins[index] for index in held]
        try:
            weight_C, _, _ = fit_proportionally(
                weight_C, kept, Cells(cells.cell_R, cells.level_MC[held]), tolerance, FURTHER_CYCLES
            )
        except RakingNotConverged as error:
            logger.warning("margins may be off by more than a person per level: %s", error)
    return weight_C * (num_agents / weight_C.sum())


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


def largest_gap(count_C: np.ndarray, expected_C: np.ndarray, level_MC: np.ndarray) -> float:
    """Largest difference between the agents of a margin level and the expected number, in persons."""
    return max(float(np.abs(np.bincount(level_C, weights=count_C - expected_C)).max()) for level_C in level_MC)


def allot_exactly(expected_C: np.ndarray, level_MC: np.ndarray, near_C: np.ndarray) -> np.ndarray:
    """Whole numbers per cell whose every margin level is the floor or the ceiling of the expected one.

    Solved as an integer programme over which cells are rounded up, near a given rounding. With two margins a solution
    always exists; with more it need not, and then the given rounding is returned and the log says so.

    Args:
        expected_C: expected number of agents per cell.
        level_MC: level of each cell in each margin.
        near_C: a rounding of every cell to its floor or ceiling, to stay near to.

    Source: Cox & Ernst (1982), Controlled rounding; solved by HiGHS (Huangfu & Hall 2018) through SciPy.
    """
    floor_C = np.floor(expected_C + 1e-9)
    open_C = np.flatnonzero(expected_C - floor_C > 1e-9)
    rows, lower, upper = [], [], []
    for level_C in level_MC:
        expected_L = np.bincount(level_C, weights=expected_C)
        floor_L = np.bincount(level_C, weights=floor_C)
        shape = (len(expected_L), len(open_C))
        rows.append(csr_matrix((np.ones(len(open_C)), (level_C[open_C], np.arange(len(open_C)))), shape=shape))
        lower.append(np.floor(expected_L + 1e-6) - floor_L)
        upper.append(np.ceil(expected_L - 1e-6) - floor_L)
    num_up = float(near_C.sum() - floor_C.sum())
    rows.append(csr_matrix(np.ones((1, len(open_C)))))
    lowest, highest = np.concatenate([*lower, [num_up]]), np.concatenate([*upper, [num_up]])
    constraint = LinearConstraint(vstack(rows).tocsr(), lowest, highest)  # type: ignore[arg-type]
    is_up_C = near_C[open_C] > floor_C[open_C]
    solved = milp(
        np.where(is_up_C, -1.0, 1.0),
        integrality=np.ones(len(open_C)),
        bounds=Bounds(0, 1),
        constraints=constraint,
        options={"mip_rel_gap": 0.2},
    )
    if solved.x is None:
        logger.warning(
            "no whole numbers of agents meet every margin to the person; the largest gap is %.2f persons",
            largest_gap(near_C, expected_C, level_MC),
        )
        return near_C
    count_C = floor_C.astype(np.int64)
    count_C[open_C] += np.rint(solved.x).astype(np.int64)
    return count_C
