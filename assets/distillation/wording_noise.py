"""Noise on wordings, so that a student learns to heed what tells wordings apart and nothing else about them.

Embeddings have length one. Noise of about that length, in all directions alike, drowns every direction in which the
trained wordings do not differ: there a new wording then counts for little, instead of for something arbitrary.

Legend: D text dimensions.

Source: Bishop (1995), Training with noise is equivalent to Tikhonov regularization.
"""

from dataclasses import replace

import torch
from torch import Tensor

from model.lsm.inputs import Question


def blur(embedding_XD: Tensor, length: float, noise: torch.Generator) -> Tensor:
    """The embeddings, each with a random vector of about that length added."""
    drawn_XD = torch.randn(embedding_XD.shape, generator=noise)
    return embedding_XD + length * drawn_XD / embedding_XD.shape[-1] ** 0.5


def blur_question(question: Question, length: float, noise: torch.Generator) -> Question:
    """The question with its wording and those of its options blurred."""
    return replace(
        question,
        embedding_D=blur(question.embedding_D, length, noise),
        option_embeddings_OD=blur(question.option_embeddings_OD, length, noise),
    )
