"""Levels of margins as text: values joined by `*`, several values merged into one by `|`."""

from collections.abc import Sequence
from itertools import product

CROSS, MERGE = "*", "|"


def combinations_of_level(level: str) -> list[str]:
    """The combinations of values that a level holds: `SD*black|other` holds `SD*black` and `SD*other`."""
    return [CROSS.join(values) for values in product(*(part.split(MERGE) for part in level.split(CROSS)))]


def index_of_combination(levels: Sequence[str]) -> dict[str, int]:
    """Position in `levels` of the level that each combination of values belongs to.

    Raises:
        ValueError: a combination belongs to two levels; the message names it.
    """
    found: dict[str, int] = {}
    for index, level in enumerate(levels):
        for combination in combinations_of_level(level):
            if combination in found:
                raise ValueError(f"{combination} belongs to {levels[found[combination]]} and to {level}")
            found[combination] = index
    return found
