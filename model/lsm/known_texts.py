"""Texts that a student was trained on: another text is read as far as it resembles one of them.

What a network makes of a wording that is unlike everything it was trained on is arbitrary, and worse than not to read
it: the position of options on their scale, and an event's valence, credibility and speaker, are understood without.
With the cosine c of a text and the known text that is nearest to it, the text's embedding is multiplied by

    familiarity = exp(−(1 − c) / τ),     τ = 0.1

which is exactly 1 for a known text, 0.37 at a cosine of 0.9 and below 0.01 at one half. With the local encoder texts on
other matters lie at 0.3 to 0.67. An encoder that gives unrelated texts a cosine of 0.8 has them read by a seventh.
While a student is trained every text is read as it is; a student that knows no text reads every text as it is, too.

Legend: T texts, D text dimensions, Q known texts.
"""

import torch
from torch import Tensor, nn

REACH = 0.1
"""τ: distance, one minus the cosine, at which a text is read by 1/e."""
ROUNDING = 1e-5
"""Distance within which two texts are the same."""


class KnownTexts(nn.Module):
    """Embeddings of the texts that a student was trained on."""

    known_QD: Tensor

    def __init__(self, num_known: int, text_dim: int) -> None:
        super().__init__()
        self.register_buffer("known_QD", torch.zeros(num_known, text_dim))

    def know(self, embedding_QD: Tensor) -> None:
        """Sets the known texts.

        Raises:
            ValueError: their number is not that of the config.
        """
        if embedding_QD.shape != self.known_QD.shape:
            raise ValueError(
                f"Known texts have shape {list(embedding_QD.shape)}; allowed: {list(self.known_QD.shape)}, as the "
                "config says."
            )
        self.known_QD.copy_(embedding_QD)

    def familiarity(self, embedding_TD: Tensor) -> Tensor:
        """How far each text is read, 0 … 1, [T]; differentiable."""
        if self.training or not len(self.known_QD):
            return embedding_TD.new_ones(len(embedding_TD))
        known_QD = nn.functional.normalize(self.known_QD.to(embedding_TD), dim=1)
        cosine_T = (nn.functional.normalize(embedding_TD, dim=1) @ known_QD.T).amax(1)
        return torch.exp((cosine_T - (1 - ROUNDING)).clamp(max=0) / REACH)

    def read(self, embedding_TD: Tensor) -> Tensor:
        """The embeddings as far as they are read, [T, D]."""
        return embedding_TD * self.familiarity(embedding_TD)[:, None]
