"""Random numbers that depend on what they are for, not on the order in which they are asked for.

A draw is a hash of its address (seed, replicate, question, timestep, agent). It is the same whatever the chunking, and
the same in a scenario and its baseline, because the scenario is no part of the address: differences between the two are
then free of sampling noise (common random numbers).

Legend: N agents, O options.
"""

import hashlib

import numpy as np

from validation.exposure import uniform_per_agent


def replicate_seed(seed: int, replicate: int) -> int:
    """Seed of the engine and of reach draws in one replicate, 0 ≤ seed < 2⁶²; near inputs give unrelated seeds."""
    digest = hashlib.sha256(f"{seed}/replicate/{replicate}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 2


def uniform_draws(agent_id_N: np.ndarray, *, seed: int, replicate: int, question_id: str, timestep: int) -> np.ndarray:
    """One uniform number in [0, 1) per agent with which its decision is drawn, float64 [N]."""
    return uniform_per_agent(f"decision/{replicate}/{question_id}/{timestep}", agent_id_N, seed)


def sample_options(probability_NO: np.ndarray, uniform_N: np.ndarray) -> np.ndarray:
    """Index of the option drawn per agent by inverting the cumulative probabilities, int64 [N]."""
    cumulative_NO = np.cumsum(probability_NO.astype(np.float64), axis=1)
    threshold_N = uniform_N * cumulative_NO[:, -1]
    return np.minimum((cumulative_NO <= threshold_N[:, None]).sum(axis=1), probability_NO.shape[1] - 1)
