"""One contract test per table: what a run stored keeps the contract, and broken rows are refused before the write."""

from pathlib import Path

import pandera.polars as pa
import polars as pl
import pytest

from orchestration.table_store import Partition, TableStore
from validation.contracts import CONTRACTS, ContractError

pytestmark = pytest.mark.slow


@pytest.fixture
def home(table: str, request: pytest.FixtureRequest):
    """A home in which the table has rows: tables that need outside files are filled by a run on the mirror."""
    return request.getfixturevalue("mirror_home" if CONTRACTS[table].may_be_empty else "smoke_home")


@pytest.mark.parametrize("table", sorted(name for name, contract in CONTRACTS.items() if contract.may_be_empty))
def test_tables_without_sources_are_empty_and_readable(table: str, smoke_home) -> None:
    assert set(CONTRACTS[table].columns) <= set(smoke_home.store.read(table).columns)


@pytest.mark.parametrize("table", sorted(CONTRACTS))
def test_stored_rows_keep_the_contract(table: str, home) -> None:
    rows = home.store.read(table)

    assert rows.height > 0
    CONTRACTS[table].validate(rows, stored=True)
    assert rows["run_id"].null_count() == 0


@pytest.mark.parametrize("table", sorted(CONTRACTS))
def test_rows_that_break_the_contract_are_never_written(table: str, home, tmp_path: Path) -> None:
    contract = CONTRACTS[table]
    good = home.store.read(table).drop("run_id").head(50)
    good = good.drop([name for name in good.columns if name not in contract.columns])
    if any("counts 0" in str(rule.name) for rule in contract.rules):
        good = good.sort(contract.key)
    store = TableStore(tmp_path / "tables")
    partition = Partition(*good.row(0, named=False)[:2]) if contract.partition_by else None
    if partition:
        good = good.filter(partition.expression)
    store.write(table, good, run_id="good", partition=partition)
    broken = {
        "a missing column": good.drop(next(iter(contract.columns))),
        "an unknown column": good.with_columns(pl.lit(1).alias("surprise")),
        "a repeated key": pl.concat([good, good.head(1)]),
        "a null in the key": good.with_columns(pl.lit(None, good.schema[contract.key[0]]).alias(contract.key[0])),
    }

    for rows in broken.values():
        with pytest.raises(ContractError, match=f"Table {table} breaks its contract"):
            store.write(table, rows, run_id="broken", partition=partition)
    assert store.read(table)["run_id"].unique().to_list() == ["good"]


def value_beyond(check: pa.Check, dtype: pl.DataType | type[pl.DataType]) -> object | None:
    """A value that the check of a column forbids; None where the check states no bounds or levels."""
    found = check.statistics or {}
    if "allowed_values" in found:
        return -99 if dtype.is_integer() else "no such level"
    if "min_value" in found:
        return found["min_value"] - 1
    return found["max_value"] + 1 if "max_value" in found else None


@pytest.mark.parametrize("table", sorted(CONTRACTS))
def test_one_forbidden_value_in_any_column_is_caught_by_the_rule_of_that_column(table: str, home) -> None:
    contract = CONTRACTS[table]
    good = home.store.read(table).drop("run_id").sort(contract.key)
    good = good.select(name for name in good.columns if name in contract.columns)
    good = good if any("counts 0" in str(rule.name) for rule in contract.rules) else good.head(50)
    is_first = pl.int_range(pl.len()) == 0
    caught = 0
    for name, column in contract.columns.items():
        for check in column.checks:
            value = value_beyond(check, good.schema[name]) if name in good.columns else None
            if value is None or (good.schema[name].is_unsigned_integer() and value == -1):
                continue
            broken = pl.when(is_first).then(pl.lit(value).cast(good.schema[name])).otherwise(pl.col(name)).alias(name)
            with pytest.raises(ContractError, match=rf"(?s)Table {table} breaks its contract.*column {name}: rule"):
                contract.validate(good.with_columns(broken))
            caught += 1
    for rule in contract.rules if table == "calibration_diagnostics" else ():
        assert rule.name == "lower ≤ value ≤ upper"
        upside_down = good.with_columns(pl.lit(1.0).alias("lower"), pl.lit(0.0).alias("value"))
        with pytest.raises(ContractError, match="lower ≤ value ≤ upper"):
            contract.validate(upside_down)
        caught += 1
    assert caught > 0, "a table without any rule on its values cannot tell a corruption"
