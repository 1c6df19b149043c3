"""How channels, latent, conviction and expression change once events, peers and memories have been taken in.

Legend: N agents, I inputs, K channels, U latent, X expression.
"""

import torch
from torch import Tensor, nn

from model.lsm.config import LSMConfig
from model.lsm.dense import Dense, DenseBlock, sigmoid

INITIAL_GATE = -3.0
"""Bias of the gates before training: sigmoid(−3) ≈ 0.05, so that an untrained student mostly keeps its state."""


class Transition(nn.Module):
    """The residual change of channels and latent.

    Δ = gate ⊙ (tanh(target) − value) with gate and target from a dense block: values stay within −1 … 1 for ever,
    nothing saturates for good, and a closed gate is persistence. An agent is moved as far as it was reached: one whom
    nothing reached stays as it is, to the bit.
    """

    def __init__(self, config: LSMConfig, num_inputs: int) -> None:
        super().__init__()
        self.num_channels = config.num_channels
        self.has_latent = config.use_latent
        size = config.num_channels + config.latent_dim
        self.change = DenseBlock(num_inputs, config.hidden_dim, 2 * size)
        with torch.no_grad():
            self.change.out.bias[:size] += INITIAL_GATE

    def forward(
        self, taken_in_NI: Tensor, channels_NK: Tensor, latent_NU: Tensor, reached_N: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The next channels [N, K] and latent [N, U]; `reached_N`, 0 … 1, is how far anything reached the agent."""
        gate_NC, target_NC = self.change(taken_in_NI).chunk(2, 1)
        value_NC = torch.cat([channels_NK, latent_NU], 1)
        next_NC = value_NC + reached_N[:, None] * sigmoid(gate_NC) * (torch.tanh(target_NC) - value_NC)
        next_NU = next_NC[:, self.num_channels :].clamp(-1, 1) if self.has_latent else latent_NU
        return next_NC[:, : self.num_channels].clamp(-1, 1), next_NU


class Expression(nn.Module):
    """What agents hold firmly, and what of it they broadcast: few numbers, scaled by their willingness to speak."""

    def __init__(self, config: LSMConfig) -> None:
        super().__init__()
        width = config.num_channels + config.latent_dim
        self.has_conviction = config.use_conviction
        self.conviction = DenseBlock(width, config.hidden_dim // 2, 1)
        self.words = Dense(width + 1, config.expression_dim)
        self.willingness = Dense(width + 1, 1)
        self.stance = Dense(config.expression_dim, 1)

    def forward(self, channels_NK: Tensor, latent_NU: Tensor) -> tuple[Tensor, Tensor]:
        """Conviction [N] and expression [N, X]."""
        mind_NC = torch.cat([channels_NK, latent_NU], 1)
        conviction_N1 = sigmoid(self.conviction(mind_NC)) if self.has_conviction else mind_NC.new_zeros(len(mind_NC), 1)
        voice_NC = torch.cat([mind_NC, conviction_N1], 1)
        expression_NX = sigmoid(self.willingness(voice_NC)) * torch.tanh(self.words(voice_NC))
        return conviction_N1[:, 0], expression_NX

    def public_stance(self, expression_NX: Tensor) -> Tensor:
        """The stance others read from an expression, −1 … 1, [N]."""
        return torch.tanh(self.stance(expression_NX))[:, 0]
