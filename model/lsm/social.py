"""What agents hear from one another: learned queries around the attention kernel.

Legend: N agents, E ties, H heads, X expression, T tie types, F message, Z identity, K channels, U latent.
"""

import torch
from torch import Tensor, nn

from model.kernels.social_attention import social_attention
from model.lsm.config import LSMConfig
from model.lsm.dense import Dense
from model.lsm.inputs import SocialGraph


class SocialAttention(nn.Module):
    """Expressions → messages, over in-ties only."""

    def __init__(self, config: LSMConfig) -> None:
        super().__init__()
        self.is_used = config.use_graph
        self.shape = (config.num_heads, config.expression_dim)
        self.size = config.message_dim
        self.is_stored_half = config.expression_storage == "bfloat16"
        width = config.identity_dim + config.num_channels + config.latent_dim
        self.query = Dense(width, config.num_heads * config.expression_dim)
        self.gate_TX = nn.Parameter(torch.ones(config.num_tie_types, config.expression_dim))
        self.bias_HT = nn.Parameter(torch.zeros(config.num_heads, config.num_tie_types))
        self.mix = Dense(config.num_heads * config.expression_dim, config.message_dim, bias=False)

    def forward(self, graph: SocialGraph, expression_NX: Tensor, agents: slice, context_NC: Tensor) -> Tensor:
        """The message [B, F] to a block of B agents; zero for agents without in-ties.

        Args:
            graph: ties of all agents.
            expression_NX: what all agents broadcast.
            agents: the block that listens.
            context_NC: identity, channels and latent of the block.
        """
        if not self.is_used or graph.num_ties == 0:
            return context_NC.new_zeros(len(context_NC), self.size)
        first, last = int(graph.offsets_N1[agents.start]), int(graph.offsets_N1[agents.stop])
        is_everybody = last - first == graph.num_ties
        heard_NHX = social_attention(
            self.query(context_NC).unflatten(1, self.shape) / self.shape[1] ** 0.5,
            expression_NX.bfloat16() if self.is_stored_half else expression_NX,
            self.gate_TX,
            self.bias_HT,
            graph.log_strength_E[first:last].to(expression_NX),
            graph.offsets_N1[agents.start : agents.stop + 1] - first,
            graph.src_E[first:last],
            graph.tie_type_E[first:last],
            by_source=graph.by_source if is_everybody and torch.is_grad_enabled() else None,
        )
        return self.mix(heard_NHX.flatten(1))
