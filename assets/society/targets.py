"""What the generated graph has to be like: the targets of `graph_targets.yaml`, and whether a graph meets them.

TargetError   the file of targets cannot be used; the message names the entry
"""

from functools import cache
from pathlib import Path

import polars as pl
import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

TARGETS_FILE = Path(__file__).with_name("graph_targets.yaml")

MIN_AGENTS = 5_000
"""Agents from which on targets must be met. Below, circles and states hold too few agents to choose from."""


class TargetError(ValueError):
    """The file of targets cannot be used; the message names the entry, what was found and what is allowed."""


class RecordedValue(BaseModel):
    """The number measured on a recorded network that a target is taken from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: str
    statistic: str


class GraphTarget(BaseModel):
    """A statistic of one tie type, the value it has to have, how near, and where that comes from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    statistic: str
    tie_type: str
    value: float
    tolerance: float = Field(gt=0)
    source: str = Field(min_length=1)
    is_fitted: bool
    relative_to_chance: bool = False
    recorded: RecordedValue | None = None

    def bounds(self, chance_value: float | None) -> tuple[float, float] | None:
        """Value and tolerance on the statistic's own scale; null where chance is needed and undefined."""
        if not self.relative_to_chance:
            return self.value, self.tolerance
        return None if chance_value is None else (self.value * chance_value, self.tolerance * chance_value)


@cache
def load_targets(path: Path = TARGETS_FILE) -> tuple[GraphTarget, ...]:
    """The targets in the order of the file.

    Raises:
        TargetError: an entry is wrong, or a statistic of a tie type stands there twice.
    """
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))["targets"]
        found = TypeAdapter(tuple[GraphTarget, ...]).validate_python(entries)
    except (ValidationError, KeyError, TypeError, yaml.YAMLError) as error:
        raise TargetError(
            f"{path.name} holds a wrong entry: {error}. Every target has statistic, tie_type, value, tolerance above "
            "zero, is_fitted and source."
        ) from error
    keys = [(target.statistic, target.tie_type) for target in found]
    twice = sorted(
        {f"{statistic} of {tie_type}" for statistic, tie_type in keys if keys.count((statistic, tie_type)) > 1}
    )
    if twice:
        raise TargetError(f"{path.name} states {', '.join(twice)} more than once. Keep one of them.")
    return found


def beside_targets(statistics: pl.DataFrame) -> pl.DataFrame:
    """Adds to rows of statistics the target of each, its tolerance and source, and whether it is met.

    Args:
        statistics: columns statistic, tie_type, value, chance_value.

    Raises:
        TargetError: a target names a statistic that is not measured.
    """
    wanted = {(target.statistic, target.tie_type): target for target in load_targets()}
    keys = list(statistics.select("statistic", "tie_type").iter_rows())
    unknown = [f"{statistic} of {tie_type}" for statistic, tie_type in wanted if (statistic, tie_type) not in keys]
    if unknown:
        raise TargetError(
            f"{TARGETS_FILE.name} names {', '.join(unknown)}, which is not measured. Measured: "
            f"{', '.join(sorted({statistic for statistic, _ in keys}))}."
        )
    rows = []
    for key, value, chance in zip(keys, statistics["value"], statistics["chance_value"], strict=True):
        target = wanted.get(key)
        bounds = target.bounds(chance) if target else None
        is_met = abs(value - bounds[0]) <= bounds[1] if bounds and value is not None else None
        rows.append(
            (*(bounds or (None, None)), is_met, target.is_fitted if target else None, target.source if target else None)
        )
    schema = {
        "reference_value": pl.Float64,
        "tolerance": pl.Float64,
        "is_met": pl.Boolean,
        "is_fitted": pl.Boolean,
        "reference_source": pl.String,
    }
    return statistics.hstack(pl.DataFrame(rows, schema=schema, orient="row"))


def missed(statistics: pl.DataFrame) -> pl.DataFrame:
    """Rows of `graph_statistics` that have a target and do not meet it, undefined ones among them."""
    return statistics.filter(pl.col("reference_source").is_not_null() & ~pl.col("is_met").fill_null(False))
