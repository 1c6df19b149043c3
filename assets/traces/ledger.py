"""The ledger of teachers: everything ever asked, answered and paid, in one SQLite file; nothing is paid for twice.

A request is known by its `custom_id` and by the digest of what is sent. An attempt is committed before it is sent: that
claims the request against every other process and sets its price aside; an answer is committed before it is used. Rows
are only added, never changed (tables in `ledger_schema`).

LedgerError            the ledger cannot be read or written; nothing more is asked
└── LedgerFull         the disk is full; what was under way is kept in space that was set aside for it
"""

import hashlib
import json
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from assets.traces.completions import Answer, Request, Usage
from assets.traces.ledger_schema import OPEN_ATTEMPTS, create_tables
from assets.traces.owners import Owner, forget, is_alive, one_at_a_time

RESERVE_BYTES = 4 * 2**20
"""Space set aside beside the ledger, so that answers under way can still be written when the disk is full."""
LOCK_SECONDS = 60
ROUNDING_USD = 1e-9
DISK_ERRORS = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
LOST = "the process that sent it ended before an answer came"
Result = TypeVar("Result")
Operation = Callable[[sqlite3.Connection], Result]


class LedgerError(RuntimeError):
    """The ledger cannot be used; the message says why and what to do."""


class LedgerFull(LedgerError):
    """The disk that holds the ledger is full."""


@dataclass(frozen=True)
class Attempt:
    """A request that is now this process's to send.

    `num_ended` counts earlier attempts that the server itself ended, up to the first whose answer was lost, in whatever
    process: from that one on it stays the same.
    """

    attempt_id: int
    num_ended: int = 0


@dataclass(frozen=True)
class Busy:
    """Another running process is asking the same request."""

    owner: str


@dataclass(frozen=True)
class TooDear:
    """The request does not fit into the budget; `is_final` where it would not even once all that is under way is known.

    `unconfirmed_usd` is the most that attempts may have cost whose outcome never came.
    """

    spent_usd: float
    unconfirmed_usd: float
    is_final: bool


@dataclass(frozen=True)
class NoRoom:
    """The disk is full: answers under way are still kept, nothing new is asked."""

    message: str


Claim = Answer | Attempt | Busy | TooDear | NoRoom


class Ledger:
    """Open ledger; use as a context manager. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.owners_dir = path.with_name(f"{path.name}.owners")
        self._reserve_path = path.with_name(f"{path.name}.reserve")
        self._lock = threading.RLock()
        self._forget_totals()
        self._alive_until: dict[str, float] = {}
        self.is_full = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._set_aside()
            self._owner = Owner(self.owners_dir)
            with one_at_a_time(self.owners_dir):
                self._connection = sqlite3.connect(
                    path, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False
                )
                self._connection.execute("pragma journal_mode = wal")
                self._connection.execute("pragma synchronous = full")
                self.commit(create_tables)
        except (OSError, sqlite3.Error) as error:
            raise LedgerError(_unusable(path, error)) from error

    def __enter__(self) -> "Ledger":
        """The ledger itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the file and gives up what is still claimed."""
        self._connection.close()
        self._owner.close()

    @property
    def owner(self) -> str:
        """The name under which this process claims requests."""
        return self._owner.name

    @property
    def spent_usd(self) -> float:
        """What the servers' own usage adds up to, in every run so far."""
        with self._lock:
            self._catch_up(self._connection)
            return self._spent_usd

    @property
    def unconfirmed_usd(self) -> float:
        """Most that attempts without a known outcome may have cost: lost on the way, or by a killed process."""
        with self._lock:
            self._catch_up(self._connection)
            return self._unconfirmed_usd

    def commit(self, *operations: Operation) -> list:
        """Carries out operations in one transaction, durably; none of them when one fails.

        Raises:
            LedgerFull: the disk is full and the space set aside is used up.
            LedgerError: the file cannot be written.
        """
        with self._lock:
            try:
                return self._transaction(operations)
            except sqlite3.Error as error:
                if not _is_disk_full(error):
                    raise LedgerError(_unusable(self.path, error)) from error
                self.is_full = True
                if not self._reserve_path.exists():
                    raise LedgerFull(_full(self.path)) from error
            self._reserve_path.unlink()
            try:
                return self._transaction(operations)
            except sqlite3.Error as error:
                raise LedgerFull(_full(self.path)) from error

    def begin(self, operations: Sequence[Operation]) -> list:
        """Carries out operations in a transaction that `end` makes durable, or `undo` takes back."""
        self._connection.execute("begin immediate")
        return [operation(self._connection) for operation in operations]

    def end(self) -> None:
        """Makes durable what `begin` did; this is what waits for the disk, and may be called from another thread."""
        self._connection.execute("commit")

    def undo(self) -> None:
        """Takes back what `begin` did."""
        if self._connection.in_transaction:
            self._connection.execute("rollback")
        self._forget_totals()

    def _transaction(self, operations: Sequence[Operation]) -> list:
        try:
            results = self.begin(operations)
            self.end()
        except BaseException:
            self.undo()
            raise
        return results

    def find(self, custom_id: str, digest: str) -> Answer | None:
        """The answer that was bought for this request, if any."""
        with self._lock:
            return _find(self._connection, custom_id, digest)

    def claim(
        self, request: Request, model: str, expected_usd: float, budget_usd: float, batch_key: str | None = None
    ) -> Operation[Claim]:
        """Operation that makes a request this process's own, unless it is answered, another's, or too dear."""

        def operation(connection: sqlite3.Connection) -> Claim:
            known = _find(connection, request.custom_id, request.digest)
            if known is not None:
                return known
            if self.is_full:
                return NoRoom(_full(self.path))
            for owner, batch in connection.execute(
                f"select owner, batch_key from {OPEN_ATTEMPTS} and custom_id = ? and request_digest = ?",
                (request.custom_id, request.digest),
            ).fetchall():
                if batch is not None or owner == self.owner or self._is_alive(owner):
                    return Busy(owner)
                self._close_attempts(connection, owner)
            self._catch_up(connection)
            reserved_usd = self._expected_usd - self._settled_usd
            needed_usd = self._spent_usd + self._unconfirmed_usd + expected_usd
            if needed_usd + reserved_usd > budget_usd + ROUNDING_USD:
                return TooDear(self._spent_usd, self._unconfirmed_usd, needed_usd > budget_usd + ROUNDING_USD)
            self._add_request(connection, request, model)
            cursor = connection.execute(
                "insert into attempts (custom_id, request_digest, model, owner, batch_key, expected_usd) "
                "values (?, ?, ?, ?, ?, ?)",
                (request.custom_id, request.digest, model, self.owner, batch_key, expected_usd),
            )
            return Attempt(int(cursor.lastrowid or 0), _num_ended(connection, request))

        return operation

    def answer(self, attempt_id: int, answer: Answer) -> Operation[None]:
        """Operation that keeps the answer to an attempt, and its cost."""

        def operation(connection: sqlite3.Connection) -> None:
            connection.execute(
                "insert into answers (custom_id, request_digest, model, content, refusal, prompt_tokens, "
                "cached_tokens, completion_tokens, cost_usd, latency_ms, finish_reason) "
                "select custom_id, request_digest, model, ?, ?, ?, ?, ?, ?, ?, ? from attempts where attempt_id = ? "
                "on conflict (custom_id, request_digest) do nothing",
                (
                    answer.content,
                    answer.refusal,
                    answer.prompt_tokens,
                    answer.cached_tokens,
                    answer.completion_tokens,
                    answer.cost_usd,
                    answer.latency_ms,
                    answer.finish_reason,
                    attempt_id,
                ),
            )
            _add_outcome(connection, attempt_id, None, answer.usage)

        return operation

    def fail(
        self, attempt_id: int, reason: str, *, usage: Usage | None = None, is_unconfirmed: bool = False
    ) -> Operation[None]:
        """Operation that notes why an attempt has no answer.

        Args:
            attempt_id: the attempt.
            reason: why, in a few words.
            usage: what the server counted all the same.
            is_unconfirmed: whether the server may have counted usage that never reached us; its expected price then
                counts against the budget.
        """

        def operation(connection: sqlite3.Connection) -> None:
            _add_outcome(connection, attempt_id, reason, usage or Usage(), is_unconfirmed=is_unconfirmed)

        return operation

    def close_abandoned(self) -> int:
        """Notes that attempts of processes that ended without an outcome are lost; returns how many there were.

        Attempts in a batch are not: the batch goes on at the server and is taken over.
        """

        def operation(connection: sqlite3.Connection) -> int:
            owners = connection.execute(f"select distinct owner from {OPEN_ATTEMPTS} and batch_key is null").fetchall()
            gone = [name for (name,) in owners if name != self.owner and not self._is_alive(name)]
            return sum(self._close_attempts(connection, name) for name in gone)

        return self.commit(operation)[0]

    def is_alive(self, owner: str) -> bool:
        """Whether the process that claimed something under this name still runs."""
        return owner == self.owner or self._is_alive(owner)

    def __len__(self) -> int:
        with self._lock:
            return self._connection.execute("select count(*) from answers").fetchone()[0]

    def _add_request(self, connection: sqlite3.Connection, request: Request, model: str) -> None:
        messages = []
        for message in request.messages:
            digest = _text_digest(message["content"])
            messages.append([message["role"], digest])
            if digest not in self._known_texts:
                self._known_texts.add(digest)
                connection.execute(
                    "insert or ignore into texts (digest, deflated) values (?, ?)",
                    (digest, zlib.compress(message["content"].encode(), 1)),
                )
        connection.execute(
            "insert or ignore into requests (custom_id, request_digest, model, messages, seed, is_json) "
            "values (?, ?, ?, ?, ?, ?)",
            (request.custom_id, request.digest, model, json.dumps(messages), request.seed, request.is_json),
        )

    def _is_alive(self, owner: str) -> bool:
        """Remembers for a second that a process runs: a thousand requests need not ask the kernel a thousand times."""
        now = time.monotonic()
        if self._alive_until.get(owner, 0.0) > now:
            return True
        if not is_alive(self.owners_dir, owner):
            return False
        self._alive_until[owner] = now + 1.0
        return True

    def _close_attempts(self, connection: sqlite3.Connection, owner: str) -> int:
        open_attempts = connection.execute(
            f"select attempt_id from {OPEN_ATTEMPTS} and batch_key is null and owner = ?", (owner,)
        ).fetchall()
        for (attempt_id,) in open_attempts:
            _add_outcome(connection, attempt_id, LOST, Usage(), is_unconfirmed=True)
        forget(self.owners_dir, owner)
        return len(open_attempts)

    def _catch_up(self, connection: sqlite3.Connection) -> None:
        """Adds what any process has committed since the last look."""
        expected, last = connection.execute(
            "select coalesce(sum(expected_usd), 0), max(attempt_id) from attempts where attempt_id > ?",
            (self._last_attempt,),
        ).fetchone()
        self._expected_usd += expected
        self._last_attempt = last or self._last_attempt
        cost, unconfirmed, settled, last = connection.execute(
            "select coalesce(sum(cost_usd), 0), coalesce(sum(unconfirmed_usd), 0), coalesce(sum(expected_usd), 0), "
            "max(outcome_id) from outcomes join attempts using (attempt_id) where outcome_id > ?",
            (self._last_outcome,),
        ).fetchone()
        self._spent_usd += cost
        self._unconfirmed_usd += unconfirmed
        self._settled_usd += settled
        self._last_outcome = last or self._last_outcome

    def _forget_totals(self) -> None:
        """Totals are counted again from the start: a transaction that was undone may have been among them."""
        self._known_texts: set[str] = set()
        self._spent_usd = self._expected_usd = self._settled_usd = self._unconfirmed_usd = 0.0
        self._last_attempt = self._last_outcome = 0

    def _set_aside(self) -> None:
        """Allocates the reserve; the one of an earlier run is used again."""
        if self._reserve_path.exists() and self._reserve_path.stat().st_size >= RESERVE_BYTES:
            return
        try:
            with self._reserve_path.open("wb") as file:
                file.write(b"\0" * RESERVE_BYTES)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self._reserve_path.unlink(missing_ok=True)
            raise LedgerFull(_full(self.path)) from error


def _find(connection: sqlite3.Connection, custom_id: str, digest: str) -> Answer | None:
    row = connection.execute(
        "select content, refusal, prompt_tokens, cached_tokens, completion_tokens, cost_usd, latency_ms, finish_reason "
        "from answers where custom_id = ? and request_digest = ?",
        (custom_id, digest),
    ).fetchone()
    return Answer(*row) if row else None


def _num_ended(connection: sqlite3.Connection, request: Request) -> int:
    ended = connection.execute(
        "select is_unconfirmed from attempts join outcomes using (attempt_id) "
        "where custom_id = ? and request_digest = ? order by attempt_id",
        (request.custom_id, request.digest),
    ).fetchall()
    return next((number for number, (is_lost,) in enumerate(ended) if is_lost), len(ended))


def _add_outcome(
    connection: sqlite3.Connection,
    attempt_id: int,
    reason: str | None,
    usage: Usage,
    *,
    is_unconfirmed: bool = False,
) -> None:
    connection.execute(
        "insert into outcomes (attempt_id, reason, is_unconfirmed, prompt_tokens, cached_tokens, "
        "completion_tokens, cost_usd, unconfirmed_usd) "
        "select attempt_id, ?, ?, ?, ?, ?, ?, iif(?, expected_usd, 0) from attempts where attempt_id = ? "
        "on conflict (attempt_id) do nothing",
        (
            reason,
            is_unconfirmed,
            usage.prompt_tokens,
            usage.cached_tokens,
            usage.completion_tokens,
            usage.cost_usd,
            is_unconfirmed,
            attempt_id,
        ),
    )


def _text_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _is_disk_full(error: sqlite3.Error) -> bool:
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in DISK_ERRORS


def _full(path: Path) -> str:
    return (
        f"The disk that holds the ledger {path} is full, so nothing more is asked; answers under way are kept as far "
        "as they fit. Free some space (or move POPULACE_HOME) and run again: only what is missing will be asked."
    )


def _unusable(path: Path, error: Exception) -> str:
    return (
        f"The ledger {path} cannot be used ({error}). Nothing is asked without it. Check that the file is a ledger and "
        "that this user may write it and its folder, then run again."
    )
