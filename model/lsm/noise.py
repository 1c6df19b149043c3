"""Standard normal numbers per agent by counter: fixed by seed, agent and channel alone, whatever else is drawn.

Legend: N agents, K channels.
"""

import numpy as np
import torch
from torch import Tensor

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def standard_normal(seed: int, agent_id_N: Tensor, num_channels: int) -> Tensor:
    """Independent standard normal numbers, float64 [N, K].

    Args:
        seed: 0 or more; names the stream.
        agent_id_N: int64, 0 or more; equal ids get equal numbers.
        num_channels: numbers per agent.

    Raises:
        ValueError: the seed is negative.

    Source: Steele, Lea & Flood (2014), Fast splittable pseudorandom number generators, figure 15 (SplitMix64), read at
    counters; normal numbers by inversion.
    """
    if seed < 0:
        raise ValueError(f"Seed {seed} is negative; seeds are 0 or more.")
    with np.errstate(over="ignore"):
        stream = _mix(np.array([seed % 2**64], dtype=np.uint64) + _GOLDEN)
        agent_N = _mix(agent_id_N.cpu().numpy().astype(np.uint64) * _GOLDEN + stream)
        counter_K = np.arange(1, num_channels + 1, dtype=np.uint64) * _GOLDEN
        bits_NK = _mix(agent_N[:, None] + counter_K) >> np.uint64(11)
    uniform_NK = (bits_NK.astype(np.float64) + 0.5) * 2.0**-53
    return torch.special.ndtri(torch.from_numpy(uniform_NK))


def _mix(word: np.ndarray) -> np.ndarray:
    word = (word ^ (word >> np.uint64(30))) * _MIX_1
    word = (word ^ (word >> np.uint64(27))) * _MIX_2
    return word ^ (word >> np.uint64(31))
