"""DuckDB SQL over every table of the store, by name."""

import re

import duckdb
import polars as pl

from orchestration.table_store import TableStore


class QueryError(ValueError):
    """A query cannot be answered; the message says why and which tables exist."""


class QuerySession:
    """Answers statements over one connection, so that a report of a hundred statements opens each table once.

    Every table is read in the version that it had when a statement first named it. Files, extensions and the network
    are out of reach of statements.
    """

    def __init__(self, store: TableStore) -> None:
        self.store = store
        self._registered: set[str] = set()
        self._connection = duckdb.connect(":memory:")
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET lock_configuration = true")

    def __enter__(self) -> "QuerySession":
        """The session itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the connection."""
        self._connection.close()

    def answer(self, sql: str) -> pl.DataFrame:
        """Answers one SQL statement over the tables that it names.

        Only those are opened, so that one corrupt table does not hide the others.

        Raises:
            QueryError: the statement fails, or names a table that does not exist.
            TableError: a named table is corrupt.
        """
        named = set(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", sql)) - self._registered
        for table in self.store.tables() if named else ():
            if table in named:
                self._connection.register(table, self.store.open(table).to_pyarrow_dataset())
                self._registered.add(table)
        try:
            relation = self._connection.sql(sql)
            answer = relation.to_arrow_table() if relation is not None else None
        except duckdb.Error as error:
            raise QueryError(
                f"The query failed: {str(error).strip()}\n"
                f"Tables: {', '.join(self.store.tables()) or 'none yet (run `populace run` first)'}. "
                '`populace query "describe <table>"` lists a table\'s columns.'
            ) from error
        if answer is None:
            raise QueryError("The statement returns no rows. Write one SELECT.")
        frame = pl.from_arrow(answer)
        assert isinstance(frame, pl.DataFrame)
        return frame


def run_query(store: TableStore, sql: str) -> pl.DataFrame:
    """Answers one SQL statement over the current versions of the tables; see `QuerySession.answer`."""
    with QuerySession(store) as session:
        return session.answer(sql)
