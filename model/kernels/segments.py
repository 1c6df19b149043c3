"""Sums over the ties of each listener, in the order of the ties and without atomics.

Legend: N listeners, E ties, X numbers of a tie.
"""

import torch
from torch import Tensor


def listeners(offsets_N1: Tensor, num_ties: int) -> Tensor:
    """The listener of each tie, [E]; the number of ties is given, so that the device need not be asked for it."""
    counts_N = offsets_N1.diff()
    listener_N = torch.arange(len(counts_N), device=counts_N.device)
    return torch.repeat_interleave(listener_N, counts_N, output_size=num_ties)


def segment_sum(values_EX: Tensor, offsets_N1: Tensor) -> Tensor:
    """Sum of the rows of each segment, in order; zero for empty segments."""
    if len(values_EX) == 0:
        return values_EX.new_zeros((len(offsets_N1) - 1, *values_EX.shape[1:]))
    return torch.segment_reduce(values_EX, "sum", offsets=offsets_N1, axis=0, unsafe=True, initial=0)
