"""What a persona's text says, as yes-or-no attributes: which of the frequent sentences it holds.

Recorded personas are lists of plain sentences, so a sentence is an attribute, whatever the set of personas. Ages count
by decade. The student and every baseline read the same attributes.

Legend: P personas, F sentences.
"""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

SENTENCE = re.compile(r"(?<=[.!?])\s+")
YEARS = re.compile(r"\b(\d)\d years\b")
SMALLEST_COUNT = 10
"""Sentences that fewer personas hold are left out; nothing can be learned from them."""


def sentences_of(persona: str) -> set[str]:
    """The sentences of one persona, ages rounded down to decades."""
    return {YEARS.sub(r"\g<1>0s", sentence.strip()) for sentence in SENTENCE.split(persona) if sentence.strip()}


def frequent_sentences(personas: Sequence[str]) -> list[str]:
    """Sentences that at least ten personas hold and not all, in alphabetical order."""
    counts = Counter(sentence for persona in personas for sentence in sentences_of(persona))
    return sorted(name for name, count in counts.items() if SMALLEST_COUNT <= count < len(personas))


def persona_codes(personas: Sequence[str], sentences: Sequence[str]) -> np.ndarray:
    """Whether each persona holds each sentence, int64 [P, F] of 0 and 1."""
    held = [sentences_of(persona) for persona in personas]
    return np.array([[int(name in mine) for name in sentences] for mine in held], dtype=np.int64).reshape(len(held), -1)
