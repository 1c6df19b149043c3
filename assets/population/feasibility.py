"""Says whether any weights at all meet the margins together, and where they do not, how near weights can come.

Legend: K constraints (margin levels), U units.
"""

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_matrix, hstack, identity

LEAST_MISS = 1e-9
"""Relative misses below this are the solver's rounding."""


def smallest_misses(membership_KU: csr_matrix, total_K: np.ndarray) -> np.ndarray:
    """Relative misses, [K], of weights of zero or more that meet the margins as nearly as any can.

    Nearest by the sum of relative misses over all levels. All zero where some weights meet every margin. A level's miss
    is one of possibly many ways to spread what is missing, the sum is not.

    Args:
        membership_KU: 1 where a unit belongs to a level.
        total_K: control totals, all above zero.

    Source: feasibility by linear programming, phase one of the simplex method; solved by HiGHS (Huangfu & Hall 2018).
    """
    num_levels, num_units = membership_KU.shape  # pyright: ignore[reportGeneralTypeIssues]
    scaled_KU = csr_matrix(membership_KU.multiply(1 / total_K[:, None]))
    either_KK = identity(num_levels, format="csr")
    solved = linprog(
        np.concatenate([np.zeros(num_units), np.ones(2 * num_levels)]),
        A_eq=hstack([scaled_KU * total_K.mean(), either_KK, -either_KK]).tocsr(),
        b_eq=np.ones(num_levels),
        method="highs",
    )
    assert solved.x is not None, "missing every level altogether is always possible"
    short_K, over_K = solved.x[num_units : num_units + num_levels], solved.x[num_units + num_levels :]
    miss_K = over_K - short_K
    return np.where(np.abs(miss_K) > LEAST_MISS, miss_K, 0.0)
