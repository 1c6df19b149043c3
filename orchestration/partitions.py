"""Scenario × replicate partitions: scenarios are dynamic (one per valid file), replicates come from the recipe.

Agents are never partitioned: one rollout simulates everybody.
"""

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import dagster as dg
import polars as pl

from orchestration.recipes import find_recipe
from orchestration.settings import Settings
from orchestration.table_store import Partition

SCENARIO_PARTITIONS = dg.DynamicPartitionsDefinition(name="scenario")
REPLICATE_PARTITIONS = dg.StaticPartitionsDefinition(
    [str(replicate) for replicate in range(find_recipe(Settings().recipe).num_replicates)]
)
SIMULATION_PARTITIONS = dg.MultiPartitionsDefinition(
    {"replicate": REPLICATE_PARTITIONS, "scenario": SCENARIO_PARTITIONS}
)

with warnings.catch_warnings():
    # Dagster marks this mapping as beta; its range is pinned in pyproject.toml and a test holds its behaviour.
    warnings.simplefilter("ignore", dg.BetaWarning)
    EVERY_SCENARIO_SAME_REPLICATE = dg.MultiPartitionMapping(
        {
            "scenario": dg.DimensionPartitionMapping("scenario", dg.AllPartitionMapping()),
            "replicate": dg.DimensionPartitionMapping("replicate", dg.IdentityPartitionMapping()),
        }
    )
"""For comparisons of a scenario with its baseline, which is another scenario of the same replicate."""


@dataclass(frozen=True)
class PartitionRows:
    """Rows of one partition, in chunks that may still have to be computed."""

    partition: Partition
    chunks: Iterable[pl.DataFrame]


@dataclass(frozen=True)
class RowChunks:
    """Rows of a whole table in chunks, none of which shares a key with another; one commit, bounded memory."""

    chunks: Iterable[pl.DataFrame]


class PartitionedRows:
    """Rows of several partitions, computed and committed one partition after another."""

    def __init__(self, parts: Iterable[PartitionRows]) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[PartitionRows]:
        return iter(self._parts)


def to_partition(key: str) -> Partition:
    """The partition that a Dagster partition key names."""
    dimensions = SIMULATION_PARTITIONS.get_partition_key_from_str(key).keys_by_dimension
    return Partition(dimensions["scenario"], int(dimensions["replicate"]))


def to_partition_key(partition: Partition) -> dg.MultiPartitionKey:
    """The Dagster partition key of a partition."""
    return dg.MultiPartitionKey({"scenario": partition.scenario_id, "replicate": str(partition.replicate)})
