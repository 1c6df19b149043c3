"""What the ledger knows of batches: whose they are, how far they came, which requests they hold.

A batch is written down before anything is sent, and each step before the next, so that whoever comes after a killed
process knows what the server may hold. `CREATING` without `CREATED` means that only the server can tell.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from assets.traces.completions import Request
from assets.traces.ledger import Attempt, Claim, Ledger, Operation
from assets.traces.ledger_schema import OPEN_ATTEMPTS

CLAIMED, CREATING, CREATED, ADOPTED, COLLECTED = "claimed", "creating", "created", "adopted", "collected"


@dataclass(frozen=True)
class OpenBatch:
    """A batch with requests that nothing is known of yet.

    `remote_id` is the server's name for it, None where it may not have been created.
    """

    key: str
    owner: str
    remote_id: str | None
    may_exist: bool


def claim_batch(
    ledger: Ledger,
    key: str,
    teacher: str,
    model: str,
    requests: Sequence[tuple[Request, float]],
    budget_usd: float,
) -> Operation[list[Claim]]:
    """Operation that claims requests for a new batch; the batch exists only where at least one could be claimed.

    Args:
        ledger: the ledger.
        key: name of the batch, chosen by us.
        teacher: label of the teacher.
        model: model that is asked.
        requests: requests and their expected prices.
        budget_usd: most that the ledger may add up to.
    """

    def operation(connection: sqlite3.Connection) -> list[Claim]:
        claims = [
            ledger.claim(request, model, expected_usd, budget_usd, key)(connection)
            for request, expected_usd in requests
        ]
        if any(isinstance(claim, Attempt) for claim in claims):
            connection.execute(
                "insert into batches (batch_key, teacher, model) values (?, ?, ?)", (key, teacher, model)
            )
            note(ledger, key, CLAIMED)(connection)
        return claims

    return operation


def note(ledger: Ledger, key: str, event: str, remote_id: str | None = None) -> Operation[None]:
    """Operation that writes down a step of a batch."""

    def operation(connection: sqlite3.Connection) -> None:
        connection.execute(
            "insert into batch_events (batch_key, owner, event, remote_id) values (?, ?, ?, ?)",
            (key, ledger.owner, event, remote_id),
        )

    return operation


def adopt_abandoned(ledger: Ledger, teacher: str, model: str) -> Operation[list[OpenBatch]]:
    """Operation that takes over the batches of processes that ended; they are this process's from then on."""

    def operation(connection: sqlite3.Connection) -> list[OpenBatch]:
        abandoned = [batch for batch in _open(connection, teacher, model) if not ledger.is_alive(batch.owner)]
        for batch in abandoned:
            note(ledger, batch.key, ADOPTED, batch.remote_id)(connection)
        return abandoned

    return operation


def attempts_of(key: str) -> Operation[dict[str, int]]:
    """Operation that reads the open attempts of a batch, by custom_id."""

    def operation(connection: sqlite3.Connection) -> dict[str, int]:
        return dict(
            connection.execute(
                f"select custom_id, attempt_id from {OPEN_ATTEMPTS} and batch_key = ?", (key,)
            ).fetchall()
        )

    return operation


def open_batch_attempt(request: Request) -> Operation[int | None]:
    """Operation that reads the attempt of a request that is in a batch and has no outcome yet."""

    def operation(connection: sqlite3.Connection) -> int | None:
        row = connection.execute(
            f"select attempt_id from {OPEN_ATTEMPTS} and custom_id = ? and request_digest = ? "
            "and batch_key is not null",
            (request.custom_id, request.digest),
        ).fetchone()
        return row[0] if row else None

    return operation


def note_settled(ledger: Ledger) -> Operation[None]:
    """Operation that closes the batches all of whose requests have an outcome: nobody needs to look for them."""

    def operation(connection: sqlite3.Connection) -> None:
        settled = connection.execute(
            "select batch_key from batches where not exists (select 1 from batch_events as seen "
            "where seen.batch_key = batches.batch_key and event = ?) and not exists (select 1 from attempts "
            "left join outcomes using (attempt_id) where attempts.batch_key = batches.batch_key "
            "and outcome_id is null)",
            (COLLECTED,),
        ).fetchall()
        for (key,) in settled:
            note(ledger, key, COLLECTED)(connection)

    return operation


def _open(connection: sqlite3.Connection, teacher: str, model: str) -> list[OpenBatch]:
    rows = connection.execute(
        "select batch_key, (select owner from batch_events as latest where latest.batch_key = batches.batch_key "
        "order by event_id desc limit 1), max(remote_id), max(event = ?) from batches "
        "join batch_events using (batch_key) where teacher = ? and model = ? group by batch_key "
        "having max(event = ?) = 0",
        (CREATING, teacher, model, COLLECTED),
    ).fetchall()
    return [OpenBatch(key, owner, remote_id, bool(may_exist)) for key, owner, remote_id, may_exist in rows]
