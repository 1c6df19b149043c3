"""The Delta I/O manager: assets return rows, this writes them under contract and reads them back for the next stage.

Assets return a polars frame or `RowChunks` (a whole table), or `PartitionedRows` (one commit per scenario × replicate).
An input typed `pl.LazyFrame` is scanned lazily, one typed `pl.DataFrame` is read into memory, sorted by the table's
key. Inputs of partitioned tables hold the partitions that Dagster's mapping asks for.
"""

from collections.abc import Iterable

import dagster as dg
import polars as pl

from orchestration.partitions import PartitionedRows, RowChunks, to_partition
from orchestration.resources import Platform
from orchestration.table_assets import links, plot
from orchestration.table_store import Partition, Written
from validation.contracts import CONTRACTS
from validation.report.charts import plot_png
from validation.report.table_plots import draw_table

PREVIEW_ROWS = 5


class DeltaTables(dg.ConfigurableIOManager):
    """Stores each asset as the Delta table of its name."""

    platform: dg.ResourceDependency[Platform]

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Writes the rows that an asset returned; every partition is one atomic commit.

        Raises:
            ContractError: rows break the table's contract; the old version stays.
            TypeError: the asset returned something that is no table.
        """
        table = context.asset_key.path[-1]
        parts: list[Partition] = []
        if isinstance(obj, pl.DataFrame):
            written = [self._write(table, obj, context.run_id)]
        elif isinstance(obj, RowChunks):
            written = [self._write(table, obj.chunks, context.run_id)]
        elif isinstance(obj, PartitionedRows):
            written = []
            for part in obj:
                written.append(self._write(table, part.chunks, context.run_id, part.partition))
                parts.append(part.partition)
                context.log.info(f"{table}: wrote {written[-1].num_rows:,} rows of {part.partition.key}")
        else:
            raise TypeError(
                f"Asset {table} returned {type(obj).__name__}; allowed: polars.DataFrame, RowChunks, PartitionedRows."
            )
        rows = self._last_written(table, parts[-1] if parts else None)
        metadata = {**links(self.platform.settings), **self._metadata(table, written)}
        if "plot" not in context.output_metadata and (chart := draw_table(table, rows)):
            metadata["plot"] = plot(plot_png(chart))
        own = context.output_metadata
        context.add_output_metadata({name: value for name, value in metadata.items() if name not in own})

    def _last_written(self, table: str, partition: Partition | None) -> pl.LazyFrame:
        """The rows of the last partition that was written, or the whole table."""
        rows = self.platform.store.scan(table)
        return rows.filter(partition.expression) if partition else rows

    def _write(
        self,
        table: str,
        rows: pl.DataFrame | Iterable[pl.DataFrame],
        run_id: str,
        partition: Partition | None = None,
    ) -> Written:
        return self.platform.store.write(
            table,
            rows,
            run_id=run_id,
            partition=partition,
            metadata={"fingerprint": self.platform.fingerprint(table, partition), "recipe": self.platform.recipe.name},
        )

    def _metadata(self, table: str, written: list[Written]) -> dict[str, dg.MetadataValue]:
        preview = self.platform.store.scan(table).head(PREVIEW_ROWS).collect()
        return {
            "dagster/row_count": dg.MetadataValue.int(self.platform.store.num_rows(table)),
            "num_rows_written": dg.MetadataValue.int(sum(item.num_rows for item in written)),
            "table_version": dg.MetadataValue.int(written[-1].version if written else -1),
            "content_digest": dg.MetadataValue.text(", ".join(item.digest[:16] for item in written)),
            "recipe": dg.MetadataValue.text(self.platform.recipe.name),
            "dagster/uri": dg.MetadataValue.path(str(self.platform.store.path(table))),
            "preview": dg.MetadataValue.md(_markdown_table(preview)),
        }

    def load_input(self, context: dg.InputContext) -> pl.DataFrame | pl.LazyFrame:
        """Reads an upstream table, or the partitions of it that the mapping asks for."""
        table = context.asset_key.path[-1]
        partitions = None
        if CONTRACTS[table].partition_by and context.has_asset_partitions:
            partitions = [to_partition(key) for key in context.asset_partition_keys]
        if context.dagster_type.typing_type is pl.LazyFrame:
            frame = self.platform.store.scan(table)
            if partitions is not None:
                frame = frame.filter(pl.any_horizontal([item.expression for item in partitions]))
            return frame
        return self.platform.store.read(table, partitions)


def _markdown_table(frame: pl.DataFrame, max_characters: int = 48) -> str:
    """The first rows as a Markdown table; long values are cut."""
    lines = ["| " + " | ".join(frame.columns) + " |", "|" + "---|" * frame.width]
    for row in frame.iter_rows():
        cells = (str(value).replace("|", "\\|").replace("\n", " ") for value in row)
        lines.append(
            "| " + " | ".join(c if len(c) <= max_characters else c[: max_characters - 1] + "…" for c in cells) + " |"
        )
    return "\n".join(lines)
