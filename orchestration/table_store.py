"""The Delta tables under one root: contracts checked before each write, every write one atomic commit.

    TableError
    ├── TableMissing     the table, or the partition, has not been written yet
    └── TableCorrupt     the table's log cannot be read
    (ContractError       of validation.contracts: the rows break the contract; nothing was written)

Dagster is not known here; the I/O manager and the commands share this class.
"""

import hashlib
import itertools
import random
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from validation.contracts import CONTRACTS, TableContract

COMMIT_ATTEMPTS = 6


class TableError(RuntimeError):
    """A table cannot be read or written; the message names the table and the next step."""


class TableMissing(TableError):
    """The table, or the asked partition, has not been written yet."""


class TableCorrupt(TableError):
    """The table's Delta log cannot be read."""


@dataclass(frozen=True)
class Partition:
    """One scenario and one replicate: the unit in which simulation tables are replaced."""

    scenario_id: str
    replicate: int

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", self.scenario_id) or self.replicate < 0:
            raise ValueError(
                f"Partition {self.scenario_id!r} × {self.replicate} is not allowed: a scenario id has lower-case "
                "letters, digits and hyphens, a replicate is 0 or more."
            )

    @property
    def key(self) -> str:
        """Readable key, also kept in the commit's metadata."""
        return f"{self.scenario_id}|{self.replicate}"

    @property
    def predicate(self) -> str:
        """SQL condition on the partition columns."""
        return f"scenario_id = '{self.scenario_id}' AND replicate = {self.replicate}"

    @property
    def expression(self) -> pl.Expr:
        """The same condition for polars."""
        return (pl.col("scenario_id") == self.scenario_id) & (pl.col("replicate") == self.replicate)


@dataclass(frozen=True)
class Written:
    """What one commit left behind: version of the table, rows, and a digest of their content without `run_id`."""

    table: str
    version: int
    num_rows: int
    digest: str


class TableStore:
    """Reads and writes the tables of the lineage under one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, table: str) -> Path:
        """Folder of a table, whether or not it exists."""
        return self.root / table

    def exists(self, table: str) -> bool:
        """Whether the table has a Delta log."""
        return (self.path(table) / "_delta_log").is_dir()

    def open(self, table: str) -> DeltaTable:
        """The Delta table.

        Raises:
            TableMissing: it has not been written.
            TableCorrupt: its log cannot be read.
        """
        if not self.exists(table):
            raise TableMissing(
                f"Table {table} is not in {self.root}. Allowed: tables that a run has written. "
                "Run `populace run`, or materialise the asset of that name."
            )
        try:
            return DeltaTable(str(self.path(table)))
        except (DeltaError, TableNotFoundError, ValueError, OSError) as error:
            raise TableCorrupt(
                f"The Delta log of table {table} in {self.path(table) / '_delta_log'} cannot be read "
                f"({_first_line(error)}). Allowed: JSON commits as Delta writes them. Restore the folder from a "
                "backup, or move it away and run `populace run` to build the table again; other tables are untouched."
            ) from error

    def scan(self, table: str) -> pl.LazyFrame:
        """The table's current rows, lazily."""
        return pl.scan_delta(self.open(table))

    def read(self, table: str, partitions: Iterable[Partition] | None = None) -> pl.DataFrame:
        """The table's current rows in memory, sorted by the table's key; of some partitions only where given."""
        frame = self.scan(table)
        if partitions is not None:
            frame = frame.filter(pl.any_horizontal([partition.expression for partition in partitions]))
        rows, key = frame.collect(), CONTRACTS[table].key
        return rows if _is_sorted(rows, key) else rows.sort(*key)

    def write(
        self,
        table: str,
        rows: pl.DataFrame | Iterable[pl.DataFrame],
        *,
        run_id: str,
        partition: Partition | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Written:
        """Replaces the table, or one partition of it, by one atomic commit after checking every chunk.

        Chunks are checked and written one by one, so memory is bounded by the largest chunk. A chunk that breaks the
        contract aborts the commit: the old version stays in place.

        Args:
            table: name of a table under contract.
            rows: one frame, or frames of equal columns.
            run_id: run that wrote the rows; becomes a column.
            partition: what is replaced; None for the whole table.
            metadata: kept in the commit, for example a fingerprint of the inputs.

        Raises:
            ContractError: the rows break the contract.
            TableCorrupt: the existing table cannot be read.
        """
        contract = CONTRACTS[table]
        if self.exists(table):
            self.open(table)
        chunks = [rows] if isinstance(rows, pl.DataFrame) else rows
        stream = _CheckedStream(contract, chunks, run_id)
        commit = {"run_id": run_id, "partition": partition.key if partition else "", **(metadata or {})}
        self._commit(contract, stream, partition, commit)
        opened = self.open(table)
        return Written(table, opened.version(), stream.num_rows, stream.digest)

    def _commit(
        self,
        contract: TableContract,
        stream: "_CheckedStream",
        partition: Partition | None,
        metadata: dict[str, str],
    ) -> None:
        predicate = partition.predicate if partition and self.exists(contract.name) else None
        for attempt in range(COMMIT_ATTEMPTS):
            try:
                write_deltalake(
                    str(self.path(contract.name)),
                    stream.reader(),
                    mode="overwrite",
                    schema_mode="merge" if predicate else "overwrite",
                    partition_by=list(contract.partition_by) or None,
                    predicate=predicate,
                    commit_properties=CommitProperties(custom_metadata=metadata),
                )
                return
            except CommitFailedError:
                if attempt + 1 == COMMIT_ATTEMPTS or not stream.is_repeatable:
                    raise
                time.sleep(random.uniform(0.05, 0.2) * 2**attempt)
            except Exception:
                if stream.failure is not None:
                    raise stream.failure from None
                raise

    def num_rows(self, table: str) -> int:
        """Rows of the table's current version, from its log."""
        return self.open(table).count()

    def commits(self, table: str, limit: int | None = None) -> list[dict]:
        """The table's commits, newest first, with the metadata they were written with."""
        return self.open(table).history(limit) if self.exists(table) else []

    def fingerprints(self, table: str) -> dict[str, str]:
        """The newest fingerprint per partition key ('' for whole tables), from the commits' metadata."""
        found: dict[str, str] = {}
        for commit in self.commits(table):
            found.setdefault(commit.get("partition", ""), commit.get("fingerprint", ""))
        return found

    def tables(self) -> list[str]:
        """Names of the tables that exist, in the contracts' order."""
        return [name for name in CONTRACTS if self.exists(name)]


class _CheckedStream:
    """Chunks that are checked against the contract, stamped with the run, counted and digested as they are read."""

    def __init__(self, contract: TableContract, chunks: Iterable[pl.DataFrame], run_id: str) -> None:
        self.contract = contract
        self.chunks = chunks
        self.run_id = run_id
        self.is_repeatable = isinstance(chunks, list)
        self.failure: Exception | None = None
        self.num_rows = 0
        self.digest = ""

    def reader(self) -> pa.RecordBatchReader:
        """A fresh reader; the first chunk is checked at once, since it gives the schema."""
        frames = self._frames()
        first = next(frames)
        batches = (batch for frame in itertools.chain([first], frames) for batch in frame.to_arrow().to_batches())
        return pa.RecordBatchReader.from_batches(first.to_arrow().schema, batches)

    def _frames(self) -> Iterator[pl.DataFrame]:
        hasher = hashlib.sha256()
        self.num_rows = 0
        columns: list[str] | None = None
        try:
            for chunk in self.chunks:
                columns = columns or chunk.columns
                frame = self.contract.validate(chunk.select(columns))
                self.num_rows += frame.height
                hasher.update(frame.write_ipc(None, compression="uncompressed").getvalue())
                yield frame.with_columns(pl.lit(self.run_id).alias("run_id"))
        except Exception as error:
            self.failure = error
            raise
        if columns is None:
            self.failure = TableError(f"Table {self.contract.name} was given no chunk, not even an empty one.")
            raise self.failure
        self.digest = hasher.hexdigest()


def _is_sorted(rows: pl.DataFrame, key: tuple[str, ...]) -> bool:
    """Whether the rows come in the order of the key, which spares large tables a sort that would move nothing."""
    in_order = pl.lit(True)
    for name in reversed(key):
        before = pl.col(name).shift(1)
        in_order = (before < pl.col(name)) | ((before == pl.col(name)) & in_order)
    return bool(rows.select(in_order.slice(1).all()).item())


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
