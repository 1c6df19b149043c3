"""Agents and respondents as records: one number for all attributes and age, so that copies are found at once."""

import numpy as np
import polars as pl

from validation.attributes import ATTRIBUTES

NUM_AGES = 128
OPEN = -1


def attribute_codes(rows: pl.DataFrame) -> dict[str, np.ndarray]:
    """Code of every attribute per row, `OPEN` where it is null, and the age in years under "age"."""
    codes = {
        a.name: rows[a.name].cast(pl.Enum(a.levels)).to_physical().cast(pl.Int64).fill_null(OPEN).to_numpy()
        for a in ATTRIBUTES
    }
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
