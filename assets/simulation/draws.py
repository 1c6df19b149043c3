"""Random numbers that depend on what they are for, not on the order in which they are asked for.

A draw is a hash of its address (seed, replicate, question, timestep, agent). It is the same whatever the chunking, and
the same in a scenario and its baseline, because the scenario is no part of the address: differences between the two are
then free of sampling noise (common random numbers).

Legend: N agents, O options.
"""

import hashlib

import numpy as np

_INCREMENT = 0x9E3779B97F4A7C15
_MASK = 0xFFFF_FFFF_FFFF_FFFF


def replicate_seed(seed: int, replicate: int) -> int:
    """Seed of everything random in one replicate, 0 ≤ seed < 2⁶³; near seeds and replicates give unrelated ones."""
    return _address(seed, replicate) >> 1


def uniform_draws(agent_id_N: np.ndarray, *, seed: int, replicate: int, question_id: str, timestep: int) -> np.ndarray:
    """One uniform number in [0, 1) per agent, float64 [N].

    Source: Steele, Lea & Flood (2014), Fast splittable pseudorandom number generators (SplitMix64's mixing function);
    Salmon et al. (2011), Parallel random numbers: as easy as 1, 2, 3 (counter-based generation).
    """
    question = int.from_bytes(hashlib.sha256(question_id.encode()).digest()[:8], "little")
    key = np.uint64(_address(seed, replicate, question, timestep))
    hashed_N = _mix(_mix(agent_id_N.astype(np.uint64) + np.uint64(_INCREMENT)) ^ key)
    return (hashed_N >> np.uint64(11)).astype(np.float64) * 2.0**-53


def sample_options(probability_NO: np.ndarray, uniform_N: np.ndarray) -> np.ndarray:
    """Index of the option drawn per agent by inverting the cumulative probabilities, int64 [N]."""
    cumulative_NO = np.cumsum(probability_NO.astype(np.float64), axis=1)
    threshold_N = uniform_N * cumulative_NO[:, -1]
    return np.minimum((cumulative_NO <= threshold_N[:, None]).sum(axis=1), probability_NO.shape[1] - 1)


def _address(*words: int) -> int:
    state = np.zeros(1, dtype=np.uint64)
    for word in words:
        state = _mix(state + np.uint64(_INCREMENT) ^ _mix(np.array([word & _MASK], dtype=np.uint64)))
    return int(state[0])


def _mix(word: np.ndarray) -> np.ndarray:
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))
