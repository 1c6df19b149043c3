"""The table store: atomic replacement, contracts before the write, errors that leave old versions readable."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from orchestration.query import QueryError, run_query
from orchestration.table_store import Partition, TableCorrupt, TableMissing, TableStore
from validation.contracts import ContractError


def margins(share: float = 0.5) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "geography": ["US", "US"],
            "margin": ["sex", "sex"],
            "level": ["female", "male"],
            "share": [share, 1 - share],
            "count": [share * 100, (1 - share) * 100],
            "source": ["Census", "Census"],
            "year": [2016, 2016],
        },
        schema_overrides={"year": pl.Int32},
    )


def profiles(scenario: str, shares: tuple[float, ...] = (0.75, 0.25)) -> Iterator[pl.DataFrame]:
    for cluster, share in enumerate(shares):
        yield pl.DataFrame(
            {
                "scenario_id": [scenario],
                "replicate": [0],
                "cluster": [cluster],
                "size": [3],
                "share": [share],
                "silhouette": [0.1],
                "channel_centroid": [[0.1]],
                "option_probabilities": [[0.5, 0.5]],
                "defining_attributes": [["sex=male"]],
                "exemplar_agents": [[1]],
            },
            schema_overrides={
                "replicate": pl.Int32,
                "cluster": pl.Int32,
                "channel_centroid": pl.List(pl.Float32),
                "option_probabilities": pl.List(pl.Float32),
            },
        )


@pytest.fixture
def store(tmp_path: Path) -> TableStore:
    return TableStore(tmp_path / "tables")


def test_what_is_written_is_read_back_sorted_by_key_with_its_run(store: TableStore) -> None:
    written = store.write("population_margins", margins().reverse(), run_id="first")

    stored = store.read("population_margins")

    assert stored.drop("run_id").equals(margins())
    assert stored["run_id"].unique().to_list() == ["first"]
    assert written.num_rows == 2


def test_equal_content_has_an_equal_digest_whatever_the_run(store: TableStore) -> None:
    first = store.write("population_margins", margins(), run_id="first")
    second = store.write("population_margins", margins(), run_id="second")
    third = store.write("population_margins", margins(0.4), run_id="third")

    assert first.digest == second.digest != third.digest
    assert second.version == first.version + 1


def test_a_broken_row_leaves_the_old_version_in_place(store: TableStore) -> None:
    store.write("population_margins", margins(), run_id="first")

    with pytest.raises(ContractError, match=r"share.*in_range\(0") as caught:
        store.write("population_margins", margins().with_columns(share=pl.lit(1.5)), run_id="second")

    assert "Nothing was written" in str(caught.value)
    assert store.open("population_margins").version() == 0
    assert store.read("population_margins")["run_id"].unique().to_list() == ["first"]


def test_a_broken_last_chunk_aborts_the_whole_partition(store: TableStore) -> None:
    partition = Partition("a", 0)
    store.write("reasoning_profiles", profiles("a"), run_id="first", partition=partition)

    with pytest.raises(ContractError):
        store.write("reasoning_profiles", profiles("a", (0.5, 0.2, 7.0)), run_id="second", partition=partition)

    assert store.read("reasoning_profiles")["run_id"].unique().to_list() == ["first"]


def test_replacing_one_partition_leaves_the_others(store: TableStore) -> None:
    for scenario in ("a", "b"):
        store.write("reasoning_profiles", profiles(scenario), run_id="first", partition=Partition(scenario, 0))

    store.write("reasoning_profiles", profiles("a", (1.0,)), run_id="second", partition=Partition("a", 0))

    rows = store.read("reasoning_profiles").group_by("scenario_id").agg(pl.len(), pl.col("run_id").first())
    assert sorted(rows.rows()) == [("a", 1, "second"), ("b", 2, "first")]


def test_fingerprints_are_kept_per_partition(store: TableStore) -> None:
    for scenario in ("a", "b"):
        store.write(
            "reasoning_profiles",
            profiles(scenario),
            run_id="first",
            partition=Partition(scenario, 0),
            metadata={"fingerprint": f"of {scenario}"},
        )

    assert store.fingerprints("reasoning_profiles") == {"a|0": "of a", "b|0": "of b"}


def test_a_missing_table_says_how_to_make_it(store: TableStore) -> None:
    with pytest.raises(TableMissing, match="populace run"):
        store.read("agents")


def test_a_corrupt_log_is_named_and_other_tables_stay_readable(store: TableStore) -> None:
    store.write("population_margins", margins(), run_id="first")
    store.write("reasoning_profiles", profiles("a"), run_id="first", partition=Partition("a", 0))
    log = store.path("population_margins") / "_delta_log" / "00000000000000000000.json"
    log.write_text("{not json", encoding="utf-8")

    with pytest.raises(TableCorrupt, match="population_margins") as caught:
        store.read("population_margins")
    with pytest.raises(TableCorrupt):
        store.write("population_margins", margins(), run_id="second")

    assert "Restore the folder" in str(caught.value)
    assert log.read_text(encoding="utf-8") == "{not json"
    assert run_query(store, "select count(*) as num_rows from reasoning_profiles").item() == 2


def test_a_partition_that_is_no_slug_is_refused() -> None:
    with pytest.raises(ValueError, match="lower-case"):
        Partition("a' or 1=1 --", 0)


def test_queries_see_tables_by_name_and_nothing_else(store: TableStore) -> None:
    store.write("population_margins", margins(), run_id="first")

    total = run_query(store, "select sum(share) as total from population_margins")

    assert total["total"].to_list() == [1.0]
    for statement in ("select * from read_csv('/etc/hostname')", "select * from nowhere", "copy (select 1) to 'x.csv'"):
        with pytest.raises(QueryError, match="population_margins"):
            run_query(store, statement)
