"""Shares with a given mean score that stay as near as possible to given shares; shared by rooms.

Legend: N rows (agents or groups), O options.
"""

import numpy as np

MAX_TILT = 60.0
"""Largest tilt of the log-odds per unit of score: beyond it a probability vector is all but certain."""

NUM_HALVINGS = 48


def tilt_to_stance(probability_NO: np.ndarray, score_O: np.ndarray, stance_N: np.ndarray) -> np.ndarray:
    """The probabilities nearest to the given ones whose mean score is the stance, [N, O].

    They are proportional to p · exp(λ · score); λ is found by bisection, and is exactly 0 where the stance is already
    the mean score. A stance beyond the options' scores is met as closely as they allow.

    Source: Csiszár (1975), I-divergence geometry of probability distributions and minimization problems, theorem 3.1.
    """
    is_met_N = np.abs(probability_NO @ score_O - stance_N) < 1e-12
    low_N = np.where(is_met_N, 0.0, -MAX_TILT)
    high_N = np.where(is_met_N, 0.0, MAX_TILT)
    for _ in range(NUM_HALVINGS):
        middle_N = (low_N + high_N) / 2
        is_below_N = _tilted(probability_NO, score_O, middle_N) @ score_O < stance_N
        low_N, high_N = np.where(is_below_N, middle_N, low_N), np.where(is_below_N, high_N, middle_N)
    return _tilted(probability_NO, score_O, (low_N + high_N) / 2)


def _tilted(probability_NO: np.ndarray, score_O: np.ndarray, tilt_N: np.ndarray) -> np.ndarray:
    exponent_NO = tilt_N[:, None] * score_O
    weight_NO = probability_NO * np.exp(exponent_NO - exponent_NO.max(axis=1, keepdims=True))
    return weight_NO / weight_NO.sum(axis=1, keepdims=True)
