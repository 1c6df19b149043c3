"""The numbers of the appraisal model: a data file in which each has an origin, a source and a meaning."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

CONSTANTS_PATH = Path(__file__).with_name("constants.yaml")
ORIGINS = ("estimated", "published", "ours")


@dataclass(frozen=True)
class Constant:
    """One constant: a number, or numbers by key."""

    name: str
    value: Any
    origin: str
    source: str
    meaning: str


@cache
def load_constants(path: Path = CONSTANTS_PATH) -> dict[str, Constant]:
    """Every constant by name, in the file's order.

    Raises:
        ValueError: a constant lacks an entry or has an unknown origin.
    """
    found: dict[str, Constant] = {}
    for name, entry in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        missing = [key for key in ("value", "origin", "source", "meaning") if key not in entry]
        if missing or entry["origin"] not in ORIGINS:
            lacking = ", ".join(missing) or "a known origin"
            raise ValueError(f"{path}: constant {name} lacks {lacking}; origins: {', '.join(ORIGINS)}.")
        found[name] = Constant(name, **entry)
    return found


@cache
def number(name: str) -> float:
    """A constant that is one number."""
    return float(load_constants()[name].value)


@cache
def numbers(name: str) -> dict[str, float]:
    """A constant that is numbers by key."""
    return {str(key): float(value) for key, value in load_constants()[name].value.items()}
