"""Commits to the ledger from an event loop: whatever has gathered while the disk was busy shares the next commit.

A durable commit waits for the disk; one per answer would be slower than the answers come. Only that wait happens in
another thread: statements are many and short, and would each wait for the interpreter's lock there.
"""

import asyncio
import sqlite3

from assets.traces.ledger import Ledger, LedgerError, Operation, Result

MOST_PER_COMMIT = 512
Waiting = tuple[Operation, asyncio.Future]


class LedgerQueue:
    """One writer in front of a ledger; use as an asynchronous context manager."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._waiting: list[Waiting] = []
        self._is_closing = False

    async def __aenter__(self) -> "LedgerQueue":
        """Starts writing."""
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._writer = asyncio.create_task(self._write())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Commits what waits, then stops."""
        self._is_closing = True
        self._news.set()
        await self._writer

    async def commit(self, operation: Operation[Result]) -> Result:
        """The result of an operation, once it is committed.

        Raises:
            LedgerError: it could not be committed.
        """
        future: asyncio.Future[Result] = self._loop.create_future()
        self._waiting.append((operation, future))
        self._news.set()
        return await asyncio.shield(future)

    async def _write(self) -> None:
        while not self._is_closing or self._waiting:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                group, self._waiting = self._waiting[:MOST_PER_COMMIT], self._waiting[MOST_PER_COMMIT:]
                await self._commit(group)

    async def _commit(self, group: list[Waiting]) -> None:
        try:
            results = self.ledger.begin([operation for operation, _ in group])
            await self._loop.run_in_executor(None, self.ledger.end)
        except sqlite3.Error:
            self.ledger.undo()
            for operation, future in group:  # what fits is kept, even where the whole does not
                self._commit_alone(operation, future)
        except Exception as error:
            self.ledger.undo()
            for _, future in group:
                _tell_error(future, error)
        else:
            for (_, future), result in zip(group, results, strict=True):
                if not future.done():
                    future.set_result(result)

    def _commit_alone(self, operation: Operation, future: asyncio.Future) -> None:
        try:
            (result,) = self.ledger.commit(operation)
        except LedgerError as error:
            _tell_error(future, error)
        else:
            if not future.done():
                future.set_result(result)


def _tell_error(future: asyncio.Future, error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
