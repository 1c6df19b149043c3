"""Commits to the ledger from an event loop: a thread writes, and whatever has gathered meanwhile shares one commit.

A durable commit waits for the disk; one per answer would be slower than the answers come.
"""

import asyncio
import queue
import threading
from collections.abc import Callable

from assets.traces.ledger import Ledger, LedgerError, Operation, Result

Waiting = tuple[Operation, asyncio.Future]
MOST_PER_COMMIT = 512


class LedgerQueue:
    """One writer thread in front of a ledger; use as an asynchronous context manager."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._waiting: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()

    async def __aenter__(self) -> "LedgerQueue":
        """Starts the thread."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._write, name="teacher-ledger", daemon=True)
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Commits what waits, then ends the thread."""
        self._waiting.put(None)
        await self._loop.run_in_executor(None, self._thread.join)

    async def commit(self, operation: Operation[Result]) -> Result:
        """The result of an operation, once it is committed.

        Raises:
            LedgerError: it could not be committed.
        """
        future: asyncio.Future[Result] = self._loop.create_future()
        self._waiting.put((operation, future))
        return await asyncio.shield(future)

    def _write(self) -> None:
        is_open = True
        while is_open:
            taken = self._waiting.get()
            group: list[Waiting] = []
            while taken is not None:
                group.append(taken)
                if len(group) == MOST_PER_COMMIT or self._waiting.empty():
                    break
                taken = self._waiting.get()
            is_open = taken is not None
            if group:
                self._commit(group)

    def _commit(self, group: list[Waiting]) -> None:
        try:
            results = self.ledger.commit(*(operation for operation, _ in group))
        except LedgerError as error:
            if len(group) == 1:
                self._tell([(group[0][1].set_exception, error)])
            else:
                for waiting in group:  # what fits is kept, even where the whole does not
                    self._commit([waiting])
        except BaseException as error:
            self._tell([(future.set_exception, error) for _, future in group])
        else:
            self._tell([(future.set_result, result) for (_, future), result in zip(group, results, strict=True)])

    def _tell(self, news: list[tuple[Callable, object]]) -> None:
        def deliver() -> None:
            for tell, content in news:
                if not tell.__self__.done():  # pyright: ignore[reportFunctionMemberAccess]
                    tell(content)

        self._loop.call_soon_threadsafe(deliver)
