"""Agents and respondents as records: one number for all attributes and age, so that copies are found at once."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from validation.attributes import ATTRIBUTES

NUM_AGES = 128
OPEN = -1


def level_codes(values: pl.Series, levels: Sequence[str]) -> np.ndarray:
    """Index of each value among the levels, int64; `OPEN` where it is null.

    Raises:
        polars.exceptions.InvalidOperationError: a value is none of the levels.
    """
    return values.cast(pl.Enum(levels)).to_physical().cast(pl.Int64).fill_null(OPEN).to_numpy()


def attribute_codes(rows: pl.DataFrame) -> dict[str, np.ndarray]:
    """Code of every attribute per row, `OPEN` where it is null, and the age in years under "age"."""
    codes = {attribute.name: level_codes(rows[attribute.name], attribute.levels) for attribute in ATTRIBUTES}
    return {**codes, "age": rows["age"].cast(pl.Int64).fill_null(OPEN).to_numpy()}


def record_codes(codes: dict[str, np.ndarray]) -> np.ndarray:
    """One number per combination of all attributes and age; `OPEN` where any of them is open."""
    record = np.zeros(len(codes["age"]), dtype=np.int64)
    is_open = codes["age"] == OPEN
    for attribute in ATTRIBUTES:
        record = record * len(attribute.levels) + codes[attribute.name]
        is_open |= codes[attribute.name] == OPEN
    record = record * NUM_AGES + codes["age"]
    record[is_open] = OPEN
    return record
