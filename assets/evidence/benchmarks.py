"""Holds the agents and their households against published figures that were declared beforehand in `benchmarks.yaml`.

    BenchmarkError   the file of published figures is wrong; the message names the entry

A figure that cannot be computed (too few agents) falls short; it is not left out.
"""

from functools import cache
from pathlib import Path
from typing import Any, Literal

import polars as pl
import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from validation.attributes import ATTRIBUTE_BY_NAME
from validation.contracts import CONTRACTS
from validation.predicates import compile_predicate

FILE = Path(__file__).with_name("benchmarks.yaml")
MIN_AGENTS = 50
"""Figures over fewer agents are missing: their sampling error would be larger than any tolerance declared."""

SCHEMA = CONTRACTS["benchmark_scores"].polars_schema()


class BenchmarkError(ValueError):
    """The file of published figures cannot be used; the message names the entry, what was found and what is allowed."""


class Benchmark(BaseModel):
    """One published figure, its tolerance and how ours is computed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    benchmark: str
    slice: str
    quantity: Literal["attribute_share", "attribute_share_ratio", "household_size_share", "tie_agreement"]
    target: float
    tolerance: float = Field(ge=0)
    is_calibrated: bool
    source: str
    where: str | None = None
    attribute: str | None = None
    levels: tuple[str, ...] = ()
    among: tuple[str, ...] = ()
    size: int | None = None
    tie_type: str | None = None


@cache
def load_benchmarks(path: Path = FILE) -> tuple[Benchmark, ...]:
    """The published figures in the order of the file.

    Raises:
        BenchmarkError: an entry is wrong, names an unknown attribute or level, or stands in the file twice.
    """
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))["benchmarks"]
    try:
        found = TypeAdapter(tuple[Benchmark, ...]).validate_python(entries)
    except ValidationError as error:
        raise BenchmarkError(f"{path.name} holds a wrong entry: {error}") from error
    seen: set[tuple[str, str]] = set()
    for entry in found:
        place = f"{path.name}, {entry.benchmark} / {entry.slice}"
        if (entry.benchmark, entry.slice) in seen:
            raise BenchmarkError(f"{place} stands there twice. Give one of them another slice.")
        seen.add((entry.benchmark, entry.slice))
        if entry.attribute is not None and entry.attribute not in ATTRIBUTE_BY_NAME:
            raise BenchmarkError(f"{place}: attribute {entry.attribute!r}; allowed: {', '.join(ATTRIBUTE_BY_NAME)}.")
        allowed = ATTRIBUTE_BY_NAME[entry.attribute].levels if entry.attribute else ()
        unknown = [level for level in (*entry.levels, *entry.among) if level not in allowed]
        if unknown:
            raise BenchmarkError(f"{place}: levels {', '.join(unknown)}; allowed: {', '.join(allowed)}.")
    return found


def score_benchmarks(agents: pl.DataFrame, ties: pl.DataFrame) -> pl.DataFrame:
    """Computes every published figure on our agents and ties, and says whether it is met.

    A figure is met when |ours − target| ≤ tolerance.

    Returns:
        The `benchmark_scores` table, in the order of the file.
    """
    rows: list[dict[str, Any]] = []
    for entry in load_benchmarks():
        value = _value(entry, agents, ties)
        is_met = value is not None and abs(value - entry.target) <= entry.tolerance
        rows.append(
            {
                "benchmark": entry.benchmark,
                "slice": entry.slice,
                "value": value,
                "target": entry.target,
                "tolerance": entry.tolerance,
                "is_calibrated": entry.is_calibrated,
                "verdict": "met" if is_met else "falls short",
                "source": entry.source,
            }
        )
    return CONTRACTS["benchmark_scores"].validate(pl.DataFrame(rows, schema=SCHEMA))


def _value(entry: Benchmark, agents: pl.DataFrame, ties: pl.DataFrame) -> float | None:
    if entry.quantity == "household_size_share":
        sizes = agents.group_by("household_id").len()["len"]
        return float((sizes == entry.size).mean())  # pyright: ignore[reportArgumentType]
    if entry.quantity == "tie_agreement":
        return _tie_agreement(entry, agents, ties)
    return _attribute_share(entry, agents)


def _attribute_share(entry: Benchmark, agents: pl.DataFrame) -> float | None:
    assert entry.attribute is not None
    chosen = agents.filter(compile_predicate(entry.where))
    if entry.quantity == "attribute_share_ratio":
        chosen = chosen.filter(pl.col(entry.attribute).is_in(entry.among))
    if len(chosen) < MIN_AGENTS:
        return None
    return float(chosen[entry.attribute].is_in(entry.levels).mean())  # pyright: ignore[reportArgumentType]


def _tie_agreement(entry: Benchmark, agents: pl.DataFrame, ties: pl.DataFrame) -> float | None:
    """Share of ties whose two ends have the same level."""
    assert entry.attribute is not None
    chosen = ties.filter(pl.col("tie_type") == entry.tie_type)
    if len(chosen) < MIN_AGENTS:
        return None
    level_N = agents.sort("agent_id")[entry.attribute].to_numpy()
    return float((level_N[chosen["src"].to_numpy()] == level_N[chosen["dst"].to_numpy()]).mean())
