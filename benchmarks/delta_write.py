"""Delta write: trajectories under contract through the table store, against the bytes alone through pyarrow."""

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from benchmarks.timing import Row, median_seconds
from orchestration.table_store import Partition, TableStore

NUM_AGENTS, NUM_TIMESTEPS, NUM_CHANNELS = 10_000, 13, 12


def chunks() -> Iterator[pl.DataFrame]:
    """One rollout of trajectories, one frame per timestep."""
    generator = np.random.default_rng(0)
    for timestep in range(NUM_TIMESTEPS):
        probability_N = generator.random(NUM_AGENTS, dtype=np.float32)
        yield pl.DataFrame(
            {
                "scenario_id": "benchmark",
                "replicate": pl.Series(np.zeros(NUM_AGENTS, np.int32)),
                "engine": "lsm",
                "model_version": pl.Series(np.ones(NUM_AGENTS, np.int64)),
                "agent_id": pl.Series(np.arange(NUM_AGENTS)),
                "timestep": pl.Series(np.full(NUM_AGENTS, timestep, np.int32)),
                "question_id": "support",
                "channels": _lists(generator.random((NUM_AGENTS, NUM_CHANNELS), dtype=np.float32)),
                "latent_summary": _lists(generator.random((NUM_AGENTS, 3), dtype=np.float32)),
                "conviction": pl.Series(probability_N),
                "option_probabilities": _lists(np.stack([probability_N, 1 - probability_N], axis=1)),
                "decision": "support",
                "expression": _lists(generator.random((NUM_AGENTS, 16), dtype=np.float32)),
            }
        )


def _lists(values: np.ndarray) -> pl.Series:
    return pl.Series(values).arr.to_list()


def measure() -> list[Row]:
    """The store's checked, digested, atomic write against one plain Parquet write of the same rows."""
    frames = list(chunks())
    with tempfile.TemporaryDirectory() as folder:
        store = TableStore(Path(folder) / "tables")
        plain = Path(folder) / "plain.parquet"
        counter = itertools.count()
        partition = Partition("benchmark", 0)

        def ours() -> None:
            store.write("trajectories", iter(frames), run_id=f"run {next(counter)}", partition=partition)

        def floor() -> None:
            schema = frames[0].to_arrow().schema
            with pq.ParquetWriter(plain, schema) as writer:
                for frame in frames:
                    writer.write_table(frame.to_arrow().cast(schema))

        seconds = median_seconds({"ours": ours, "floor": floor})
    return [
        Row(
            f"Delta write of {NUM_AGENTS * NUM_TIMESTEPS:,} trajectory rows, under contract",
            seconds["ours"],
            seconds["floor"],
            "plain Parquet write (pyarrow)",
            target=3.0,
            is_speedup=False,
        )
    ]
