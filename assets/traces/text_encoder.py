"""The local text encoder: turns wordings into vectors, the same on every machine, without a download.

Texts that share words or parts of words lie close; meaning beyond that is not captured, which the name of the encoder
states in every table. A sentence model can take its place under another name.

Legend: n texts, F hashed features, D text dimensions.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer

TEXT_DIMENSIONS = 64
TEXT_ENCODER = f"hashed-ngrams-{TEXT_DIMENSIONS}-v1"
"""Name and version, stored with every embedding; the version moves with anything below that changes a vector."""

_FEATURES_PER_KIND = 2**14
_PROJECTION_SEED = 20_161_108
_WORDS = HashingVectorizer(
    n_features=_FEATURES_PER_KIND, analyzer="word", ngram_range=(1, 2), token_pattern=r"\w+", alternate_sign=False
)
_CHARACTERS = HashingVectorizer(
    n_features=_FEATURES_PER_KIND, analyzer="char_wb", ngram_range=(2, 4), alternate_sign=False
)


def encode_texts(texts: Sequence[str]) -> np.ndarray:
    """Encodes wordings of questions, options and events as unit vectors.

    Word and character n-grams are hashed to F features, then projected to D dimensions by a fixed matrix of random
    signs, which keeps angles approximately. A text's vector depends on that text alone, so any batching gives the same.

    Args:
        texts: wordings, none of them blank; underscores count as spaces, so that survey options read as words.

    Returns:
        float32 [n, D], rows of Euclidean length one.

    Raises:
        ValueError: a text is blank.

    Source: Weinberger et al. (2009), Feature hashing for large scale multitask learning, section 2; Achlioptas (2003),
    Database-friendly random projections, theorem 1.1.
    """
    words = [" ".join(text.replace("_", " ").split()) or text.strip() for text in texts]
    for position, text in enumerate(words):
        if not text:
            raise ValueError(
                f"Text {position} of {len(words)} is blank ({texts[position]!r}); a blank text has no direction. "
                "Every question, option and event needs a wording."
            )
    if not words:
        return np.zeros((0, TEXT_DIMENSIONS), dtype=np.float32)
    features_nF = sparse.hstack([_WORDS.transform(words), _CHARACTERS.transform(words)], format="csr")
    projected_nD = np.asarray(features_nF @ _signs_FD(), dtype=np.float64)
    return (projected_nD / np.linalg.norm(projected_nD, axis=1, keepdims=True)).astype(np.float32)


@cache
def _signs_FD() -> np.ndarray:
    """Random signs, one 64-bit word of the generator's raw stream per feature: that stream never changes with numpy."""
    words_F = np.random.PCG64(_PROJECTION_SEED).random_raw(2 * _FEATURES_PER_KIND).astype("<u8")
    bits_FD = np.unpackbits(words_F.view(np.uint8).reshape(-1, TEXT_DIMENSIONS // 8), axis=1)
    return bits_FD.astype(np.float64) * 2 - 1
