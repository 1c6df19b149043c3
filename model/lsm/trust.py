"""Trust that evolves: whoever says what one holds oneself is heard more, whoever contradicts is heard less.

For a tie j → i of type τ, with expressions x and the change of log trust θ (0 at the beginning):

    agreement_ij = x_i · x_j / √((|x_i|² + ε)(|x_j|² + ε))                 −1 … 1, near 0 where one of them is silent
    θ_ij ← (1 − λ_τ) θ_ij + λ_τ κ_τ agreement_ij,    trust_ij = strength_ij · exp(θ_ij)

λ (how fast) and κ (how far) are learned per type of tie; θ stays within ±|κ|, so that trust can neither vanish nor
explode, and a tie forgets what it has not been told lately.

Source: Osgood & Tannenbaum (1955), The principle of congruity in the prediction of attitude change: attitudes towards a
source move with the agreement between what it asserts and what one holds. The leaky average in the logarithm is ours.

Legend: E ties, S speakers, X expression, T tie types, B agents of a block.
"""

import math

import torch
from torch import Tensor, nn

from model.kernels.segments import listeners
from model.lsm.config import LSMConfig
from model.lsm.dense import sigmoid
from model.lsm.inputs import InTies

SILENCE = 1e-2
"""ε per number of an expression: below about this mean square an expression says nothing."""
INITIAL_RATE, FURTHEST = 0.1, 4.0


class Trust(nn.Module):
    """Change of the trust in each tie over one timestep."""

    def __init__(self, config: LSMConfig) -> None:
        super().__init__()
        self.rate_T = nn.Parameter(torch.full((config.num_tie_types,), math.log(INITIAL_RATE / (1 - INITIAL_RATE))))
        self.gain_T = nn.Parameter(torch.ones(config.num_tie_types))

    def forward(self, trust_E: Tensor, in_ties: InTies, own_BX: Tensor, expression_SX: Tensor) -> Tensor:
        """The change of log trust after the timestep, [E] of a block.

        Args:
            trust_E: before the timestep.
            in_ties: ties of the block.
            own_BX: what the block's agents broadcast.
            expression_SX: what all speakers broadcast.
        """
        mine_EX = own_BX.index_select(0, listeners(in_ties.offsets_B1, len(in_ties.src_E)))
        theirs_EX = expression_SX.index_select(0, in_ties.src_E)
        silence = SILENCE * own_BX.shape[1]
        size_E = ((mine_EX * mine_EX).sum(1) + silence) * ((theirs_EX * theirs_EX).sum(1) + silence)
        agreement_E = (mine_EX * theirs_EX).sum(1) / size_E.sqrt()
        kind_E = in_ties.tie_type_E.long()
        rate_E = sigmoid(self.rate_T).index_select(0, kind_E)
        gain_E = (FURTHEST * torch.tanh(self.gain_T / FURTHEST)).index_select(0, kind_E)
        return trust_E + rate_E * (gain_E * agreement_E - trust_E)
