"""DuckDB SQL over every table of the store, by name."""

import re

import duckdb
import polars as pl

from orchestration.table_store import TableStore


class QueryError(ValueError):
    """A query cannot be answered; the message says why and which tables exist."""


def run_query(store: TableStore, sql: str) -> pl.DataFrame:
    """Answers one SQL statement over the current versions of the tables.

    Only the tables that the statement names are opened, so that one corrupt table does not hide the others. Files,
    extensions and the network are out of reach of the statement.

    Raises:
        QueryError: the statement fails, or names a table that does not exist.
        TableError: a named table is corrupt.
    """
    named = set(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", sql))
    with duckdb.connect(":memory:") as connection:
        for table in store.tables():
            if table in named:
                connection.register(table, store.open(table).to_pyarrow_dataset())
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        try:
            relation = connection.sql(sql)
            answer = relation.to_arrow_table() if relation is not None else None
        except duckdb.Error as error:
            raise QueryError(
                f"The query failed: {str(error).strip()}\n"
                f"Tables: {', '.join(store.tables()) or 'none yet (run `populace run` first)'}. "
                '`populace query "describe <table>"` lists a table\'s columns.'
            ) from error
    if answer is None:
        raise QueryError("The statement returns no rows. Write one SELECT.")
    frame = pl.from_arrow(answer)
    assert isinstance(frame, pl.DataFrame)
    return frame
