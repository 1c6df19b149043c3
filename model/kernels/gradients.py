"""What every backend of social attention hands back from its backward pass."""

from typing import NamedTuple

from torch import Tensor


class Gradients(NamedTuple):
    """Gradients of the five float inputs, in their order. Legend: N listeners, S speakers, E ties, T tie types."""

    query_NHX: Tensor
    expression_SX: Tensor
    gate_TX: Tensor
    bias_HT: Tensor
    log_strength_E: Tensor
