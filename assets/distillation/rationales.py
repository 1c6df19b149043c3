"""A teacher's reasons as short vectors, which the student's free latent is trained to tell.

Words and pairs of words are hashed and projected by a fixed random matrix: nothing is fitted, so no answer of held-out
agents can leak through it, and the same reasons give the same vector in every run.

Legend: n texts, F hashed features, R dimensions.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer

NUM_FEATURES = 2**12
NUM_DIMENSIONS = 16
SEED = 7
_WORDS = HashingVectorizer(n_features=NUM_FEATURES, ngram_range=(1, 2), token_pattern=r"\w+", alternate_sign=False)


def encode_rationales(texts: Sequence[str]) -> np.ndarray:
    """Reasons as float32 [n, R] with entries of mean square about 1 / R; zeros for a text without words.

    Source: Weinberger et al. (2009), Feature hashing for large scale multitask learning, section 2.
    """
    if not texts:
        return np.zeros((0, NUM_DIMENSIONS), dtype=np.float32)
    return np.asarray(_WORDS.transform(texts) @ _projection_FR(), dtype=np.float32)


@cache
def _projection_FR() -> np.ndarray:
    return np.random.default_rng(SEED).normal(size=(NUM_FEATURES, NUM_DIMENSIONS)) / NUM_DIMENSIONS**0.5
