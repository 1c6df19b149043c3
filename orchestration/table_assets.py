"""The Dagster face that every table shares: asset options and a blocking check, both taken from its contract."""

import base64
import warnings
from collections.abc import Sequence
from typing import Any

import dagster as dg
import polars as pl

from orchestration.freshness import STAGE_BY_ASSET, code_digest
from orchestration.partitions import SIMULATION_PARTITIONS
from orchestration.resources import Platform
from orchestration.settings import Settings
from orchestration.table_store import Partition
from validation.contracts import CONTRACTS, ContractError, TableContract

OWNERS = ["team:populace"]
CHECKED_AT_ONCE = 4_000_000
"""Rows of an unpartitioned table that a check holds in memory; larger ones are checked in ranges of their first key."""

# Dagster marks backfill policies as beta; its range is pinned in pyproject.toml and tests hold their behaviour.
warnings.filterwarnings("ignore", message="Parameter `backfill_policy`", category=dg.BetaWarning)


def column_schema(contract: TableContract) -> dg.TableSchema:
    """The contract's columns as Dagster shows them."""
    schema = contract.schema(stored=True)
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=name,
                type=str(column.dtype),
                description=column.description,
                constraints=dg.TableColumnConstraints(
                    nullable=column.nullable, other=[str(check.name) for check in column.checks]
                ),
            )
            for name, column in schema.columns.items()
        ],
        constraints=dg.TableConstraints(
            other=[f"key: {', '.join(contract.key)}", *(str(rule.name) for rule in contract.rules)]
        ),
    )


def table_options(table: str, *, kinds: Sequence[str] = ("polars",), pool: str | None = None) -> dict[str, Any]:
    """Options of the asset that writes a table: group, owners, kinds, schema, code version, partitions.

    Args:
        table: name under contract and in the lineage.
        kinds: what the asset computes with; `deltalake` is added.
        pool: concurrency pool that guards a scarce resource.
    """
    contract, stage = CONTRACTS[table], STAGE_BY_ASSET[table]
    options: dict[str, Any] = {
        "name": table,
        "group_name": contract.group,
        "owners": OWNERS,
        "kinds": {*kinds, "deltalake"},
        "code_version": code_digest(stage.room, stage.other_code)[:16],
        "metadata": {"dagster/column_schema": column_schema(contract), "one_row_per": contract.row},
        "io_manager_key": "io_manager",
        "backfill_policy": dg.BackfillPolicy.single_run(),
    }
    if pool:
        options["pool"] = pool
    if stage.is_partitioned:
        options["partitions_def"] = SIMULATION_PARTITIONS
    return options


def table_output(
    table: str, description: str, *, kinds: Sequence[str] = ("numpy",), is_required: bool = True
) -> dg.AssetOut:
    """One table among the outputs of a multi-asset, with the same face as a table of its own.

    Where the multi-asset can make some of its tables alone, none of them is required.
    """
    options = table_options(table, kinds=kinds)
    shared = ("io_manager_key", "metadata", "group_name", "owners", "kinds", "code_version")
    face = {name: options[name] for name in shared if name in options}
    return dg.AssetOut(description=description, is_required=is_required, **face)


def contract_check(table: str) -> dg.AssetChecksDefinition:
    """A blocking check that the stored rows, as written by this run, keep the table's contract."""
    contract = CONTRACTS[table]

    @dg.asset_check(
        asset=table,
        name=f"{table}_contract",
        blocking=True,
        description=f"Every stored row of {table} keeps its contract; downstream assets wait for it.",
    )
    def check(context: dg.AssetCheckExecutionContext, platform: Platform) -> dg.AssetCheckResult:
        stored = platform.store.scan(table)
        written_now = stored.filter(pl.col("run_id") == context.run.run_id)
        rows = written_now if written_now.head(1).collect().height else stored
        num_rows = 0
        try:
            for part in _parts(rows, contract):
                num_rows += contract.validate(part.collect(), stored=True).height
        except ContractError as error:
            return dg.AssetCheckResult(passed=False, metadata={"problem": dg.MetadataValue.md(f"```\n{error}\n```")})
        return dg.AssetCheckResult(passed=True, metadata={"num_rows": num_rows, "columns": len(contract.columns)})

    return check


def _parts(rows: pl.LazyFrame, contract: TableContract) -> list[pl.LazyFrame]:
    """The rows by partition, or in ranges of the first key, so that a check holds one part in memory at a time."""
    if contract.partition_by:
        keys = rows.select(contract.partition_by).unique().sort(contract.partition_by).collect()
        return [rows.filter(Partition(*key).expression) for key in keys.iter_rows()]
    first = pl.col(contract.key[0])
    num_rows, lowest, highest = (
        rows.select(pl.len(), first.min().alias("low"), first.max().alias("high")).collect().row(0)
    )
    if num_rows <= CHECKED_AT_ONCE or not isinstance(lowest, int):
        return [rows]
    step = -(-(highest - lowest + 1) * CHECKED_AT_ONCE // num_rows)
    return [rows.filter(first.is_between(start, start + step - 1)) for start in range(lowest, highest + 1, step)]


def plot(png: bytes) -> dg.MarkdownMetadataValue:
    """A PNG as inline Markdown, so that it shows on the asset's page without a file server."""
    return dg.MetadataValue.md(f"![plot](data:image/png;base64,{base64.b64encode(png).decode()})")


def links(settings: Settings) -> dict[str, dg.MetadataValue]:
    """Where to read on, for every asset's page: the latest validation report, Data Docs and the MLflow interface."""
    return {
        "report": dg.MetadataValue.url((settings.reports_dir / "latest.html").as_uri()),
        "data_docs": dg.MetadataValue.url((settings.data_docs_dir / "all" / "index.html").as_uri()),
        "mlflow": dg.MetadataValue.url(f"http://127.0.0.1:{settings.mlflow_port}"),
    }
