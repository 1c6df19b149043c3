"""What agents hear from one another: learned queries around the attention kernel.

Legend: N agents, S speakers, E ties, H heads, X expression, T tie types, F message, Z identity, K channels, U latent.
"""

import torch
from torch import Tensor, nn

from model.kernels.social_attention import social_attention
from model.lsm.config import LSMConfig
from model.lsm.dense import Dense
from model.lsm.inputs import InTies, SocialGraph


class SocialAttention(nn.Module):
    """Expressions → messages, over in-ties only."""

    def __init__(self, config: LSMConfig) -> None:
        super().__init__()
        self.is_used = config.use_graph
        self.has_types = config.use_tie_types
        self.shape = (config.num_heads, config.expression_dim)
        self.size = config.message_dim
        self.is_stored_half = config.expression_storage == "bfloat16"
        width = config.identity_dim + config.num_channels + config.latent_dim
        self.query = Dense(width, config.num_heads * config.expression_dim)
        self.gate_TX = nn.Parameter(torch.ones(config.num_tie_types, config.expression_dim))
        self.bias_HT = nn.Parameter(torch.zeros(config.num_heads, config.num_tie_types))
        self.mix = Dense(config.num_heads * config.expression_dim, config.message_dim, bias=False)

    def stored(self, expression_SX: Tensor) -> Tensor:
        """Expressions in the precision in which they travel along ties."""
        return expression_SX.bfloat16() if self.is_stored_half else expression_SX

    def forward(
        self, graph: SocialGraph, in_ties: InTies, stored_SX: Tensor, context_NC: Tensor, trust_E: Tensor | None = None
    ) -> Tensor:
        """The message [B, F] to a block of B agents; zero for agents without in-ties.

        Args:
            graph: ties of all agents.
            in_ties: those of the block.
            stored_SX: what all speakers broadcast, from `stored`.
            context_NC: identity, channels and latent of the block.
            trust_E: change of the logarithm of trust in the block's ties; None for no change.
        """
        if not self.is_used or graph.num_ties == 0:
            return context_NC.new_zeros(len(context_NC), self.size)
        is_everybody = len(in_ties.src_E) == graph.num_ties
        log_strength_E = graph.log_strength_E[in_ties.place].to(context_NC)
        heard_NHX = self.hear(
            self.query(context_NC).unflatten(1, self.shape) / self.shape[1] ** 0.5,
            stored_SX,
            log_strength_E if trust_E is None else log_strength_E + trust_E,
            in_ties,
            graph.by_source if is_everybody and torch.is_grad_enabled() else None,
        )
        return self.mix(heard_NHX.flatten(1))

    def hear(
        self,
        query_NHX: Tensor,
        stored_SX: Tensor,
        log_trust_E: Tensor,
        in_ties: InTies,
        by_source: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """What listeners hear per head, [B, H, X], by their scaled queries; see `social_attention`."""
        return social_attention(
            query_NHX,
            stored_SX,
            self.gate_TX if self.has_types else torch.ones_like(self.gate_TX),
            self.bias_HT if self.has_types else torch.zeros_like(self.bias_HT),
            log_trust_E,
            in_ties.offsets_B1,
            in_ties.src_E,
            in_ties.tie_type_E,
            by_source=by_source,
        )
