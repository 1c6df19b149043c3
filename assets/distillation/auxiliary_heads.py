"""Targets that only training reads: what the teacher says about its reasons, its attention and its will to speak.

Linear heads read them from the student's state, so that the state must hold them: the reasons from the free latent, the
attention to events, peers and memories from latent and running summary, the will to speak from what is broadcast. The
heads are thrown away with the training; a target that the traces do not hold counts nothing.

Legend: T timesteps, N stacked agents, U latent, S memory, X expression, R dimensions of a rationale.
"""

import torch
from torch import Tensor, nn

from assets.distillation.losses import Window
from assets.distillation.rationales import NUM_DIMENSIONS
from assets.distillation.stacking import StackedPanel
from model.lsm.config import LSMConfig

NUM_ATTENDED = 3
"""Events, peers, memories."""


class AuxiliaryHeads(nn.Module):
    """Latent, summary and expression → rationale, attention and will to speak."""

    def __init__(self, config: LSMConfig) -> None:
        super().__init__()
        self.rationale = nn.Linear(config.latent_dim, NUM_DIMENSIONS)
        self.attention = nn.Linear(config.latent_dim + config.memory_dim, NUM_ATTENDED)
        self.will_share = nn.Linear(config.expression_dim, 1)

    def losses(self, stack: StackedPanel, window: Window, counts_N: Tensor) -> dict[str, Tensor]:
        """One loss per target: squares on the rationale, cross-entropy on attention and will to speak.

        Args:
            stack: targets.
            window: what the student did.
            counts_N: bool, agents whose targets count.
        """
        rows = window.timesteps
        told_TNR = self.rationale(window.latent_TNU)
        seen_TN3 = self.attention(torch.cat([window.latent_TNU, window.memory_TNS], 2))
        willing_TN = self.will_share(window.expression_TNX)[..., 0]
        targets = (stack.rationale_TNR[rows], stack.attention_TN3[rows], stack.will_share_TN[rows])
        rationale_TNR, attention_TN3, will_share_TN = (target.nan_to_num() for target in targets)
        errors = {
            "rationale": ((told_TNR - rationale_TNR) ** 2).sum(2),
            "attention": -(attention_TN3 * seen_TN3.log_softmax(2)).sum(2),
            "will_share": nn.functional.binary_cross_entropy_with_logits(willing_TN, will_share_TN, reduction="none"),
        }
        is_known = [~targets[0].isnan().any(2), ~targets[1].isnan().any(2), ~targets[2].isnan()]
        found = {}
        for (name, error_TN), known_TN in zip(errors.items(), is_known, strict=True):
            is_counted_TN = known_TN & counts_N
            found[name] = (error_TN * is_counted_TN).sum() / is_counted_TN.sum().clamp(min=1)
        return found
