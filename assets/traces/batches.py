"""Requests sent in batches, cheaper and slower: files are uploaded, batches created, polled and collected.

Every step stands in the ledger before the next, so that a killed process buys nothing again: its batches are taken over
by whoever asks next.
"""

import asyncio
import io
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import openai
from openai.types import Batch

from assets.traces.asking import BUSY_SECONDS, ElicitationError, Outcome, TeacherUnusable, Till
from assets.traces.batch_lines import ENDPOINT, Again, read_outcome, request_line
from assets.traces.completions import Answer, Failure, Request, Usage
from assets.traces.ledger import Attempt, Busy, NoRoom, TooDear
from assets.traces.ledger_batches import (
    COLLECTED,
    CREATED,
    CREATING,
    OpenBatch,
    adopt_abandoned,
    attempts_of,
    claim_batch,
    note,
)
from assets.traces.retrying import read_trouble, waiting_seconds, without_secret

MOST_REQUESTS, MOST_BYTES = 50_000, 190_000_000
"""Limits of one batch: requests, and bytes of its file with some room to spare (OpenAI: 50,000 and 200 MB)."""
MOST_ROUNDS = 3
"""How often a request is put into a batch before it is listed as failed."""
MOST_LOOKS = 3
"""How often the server's list is searched for a batch that may have been created."""
RETRIES = 5
FIRST_POLL_SECONDS = 1.0
ENDED = ("completed", "failed", "expired", "cancelled")
METADATA_KEY = "populace_batch"


class Batches:
    """Asks in batches, and brings home those of processes that ended."""

    def __init__(self, till: Till) -> None:
        self._till = till
        self._client = till.teacher.client.with_options(max_retries=RETRIES)
        self._client_once = till.teacher.client.with_options(max_retries=0)

    async def answers(self, requests: Sequence[Request]) -> list[Outcome]:
        """One outcome per request, in their order.

        Raises:
            ElicitationError, LedgerError: something concerns every request; what came back was kept.
        """
        outcomes: dict[str, Outcome] = {}
        rounds = dict.fromkeys((request.custom_id for request in requests), 0)
        waiting = list(requests)
        while waiting:
            num_before = len(outcomes)
            with self._till.stopping():
                chunks = list(_chunks(waiting, self._till))
                for done in await asyncio.gather(*(self._round(chunk) for chunk in chunks), return_exceptions=True):
                    if isinstance(done, BaseException):
                        raise done
                    outcomes |= done
            if len(outcomes) == num_before:
                await asyncio.sleep(BUSY_SECONDS)
            for custom_id, outcome in list(outcomes.items()):
                if isinstance(outcome, Again):
                    rounds[custom_id] += 1
                    if rounds[custom_id] < MOST_ROUNDS:
                        del outcomes[custom_id]
                    else:
                        outcomes[custom_id] = Failure(f"{outcome.reason} ({MOST_ROUNDS} batches)")
            waiting = [request for request in waiting if request.custom_id not in outcomes]
        self._till.counts.num_failed += sum(isinstance(outcome, Failure) for outcome in outcomes.values())
        return [outcomes[request.custom_id] for request in requests]

    async def adopt(self) -> None:
        """Brings home the batches that processes which ended have left at the server.

        Raises:
            ElicitationError, LedgerError: the server or the ledger cannot be used.
        """
        till = self._till
        abandoned = await till.ledger.commit(
            adopt_abandoned(till.ledger.ledger, till.teacher.label, till.teacher.model)
        )
        for batch in abandoned:
            await self._bring_home(batch)

    async def _round(self, requests: Sequence[Request]) -> dict[str, Outcome]:
        """Claims what it can and asks it in one batch; requests that it could not claim are left out."""
        till, ledger = self._till, self._till.ledger
        key = uuid.uuid4().hex
        priced = [(request, till.expected_usd(request)) for request in requests]
        claims = await ledger.commit(
            claim_batch(ledger.ledger, key, till.teacher.label, till.teacher.model, priced, till.options.budget_usd)
        )
        claimed = [
            (request, claim.attempt_id)
            for request, claim in zip(requests, claims, strict=True)
            if isinstance(claim, Attempt)
        ]
        outcomes: dict[str, Outcome] = {
            request.custom_id: claim
            for request, claim in zip(requests, claims, strict=True)
            if isinstance(claim, Answer)
        }
        till.counts.num_known += len(outcomes)
        if claimed:
            attempts = {request.custom_id: attempt_id for request, attempt_id in claimed}
            remote = await self._create(key, [request for request, _ in claimed], attempts)
            remote, collected = await self._collect(key, remote, attempts)
            till.counts.num_asked += sum(isinstance(outcome, Answer) for outcome in collected.values())
            if remote.status in ("failed", "cancelled"):
                raise ElicitationError(self._ended_badly(remote))
            return outcomes | collected
        if not any(isinstance(claim, Busy) for claim in claims):
            for claim in claims:
                if isinstance(claim, TooDear | NoRoom):
                    till.refuse(claim)
        return outcomes

    async def _create(self, key: str, requests: Sequence[Request], attempts: Mapping[str, int]) -> Batch:
        """Uploads the file and creates the batch; ambiguous failures are resolved by looking at the server's list."""
        till, ledger = self._till, self._till.ledger
        file = io.BytesIO(b"\n".join(_line(request, till) for request in requests) + b"\n")
        try:
            uploaded = await self._client.files.create(file=(f"populace-{key}.jsonl", file), purpose="batch")
            await ledger.commit(note(ledger.ledger, key, CREATING))
            remote = await self._create_once(key, uploaded.id)
        except openai.APIError as error:
            trouble = read_trouble(error, till.teacher.client.api_key)
            if trouble.is_unconfirmed:
                raise self._cannot_look(key, error) from None
            await self._fail_all(key, attempts.values(), f"the batch was not taken: {trouble.reason}")
            raise TeacherUnusable(
                f"The teacher {till.teacher.label} takes no batch: {trouble.reason}. Nothing was bought with it. Check "
                "its address, model and key, or set POPULACE_TEACHER_MODE=live, then run again."
            ) from None
        await ledger.commit(note(ledger.ledger, key, CREATED, remote.id))
        return remote

    async def _create_once(self, key: str, file_id: str) -> Batch:
        for attempt in range(1, MOST_LOOKS + 1):
            try:
                return await self._client_once.batches.create(
                    input_file_id=file_id,
                    endpoint=ENDPOINT,
                    completion_window="24h",
                    metadata={METADATA_KEY: key},
                )
            except openai.APIError as error:
                trouble = read_trouble(error, self._till.teacher.client.api_key)
                if not trouble.is_retried:
                    raise
                await asyncio.sleep(waiting_seconds(attempt, trouble.retry_after))
                try:
                    found = await self._find(key)
                except openai.APIError as unlisted:  # the batch may exist: its requests stay open for the next run
                    raise self._cannot_look(key, unlisted) from None
                if found is not None:
                    return found
                if attempt == MOST_LOOKS:
                    raise
        raise AssertionError("unreachable")

    async def _find(self, key: str) -> Batch | None:
        """The batch that carries our key, searched for in the server's list."""
        async for batch in self._client.batches.list(limit=100):
            if (batch.metadata or {}).get(METADATA_KEY) == key:
                return batch
        return None

    async def _bring_home(self, batch: OpenBatch) -> None:
        till, ledger = self._till, self._till.ledger
        attempts = await ledger.commit(attempts_of(batch.key))
        try:
            remote = await self._client.batches.retrieve(batch.remote_id) if batch.remote_id else None
            for look in range(MOST_LOOKS if batch.may_exist and remote is None else 0):
                await asyncio.sleep(min(look, 1) * till.options.poll_seconds / MOST_LOOKS)
                remote = await self._find(batch.key)
                if remote is not None:
                    await ledger.commit(note(ledger.ledger, batch.key, CREATED, remote.id))
                    break
        except openai.APIError as error:
            raise self._cannot_look(batch.remote_id or batch.key, error) from None
        if remote is None:
            await self._fail_all(batch.key, attempts.values(), "its batch was never created")
            return
        await self._collect(batch.key, remote, attempts)

    async def _collect(self, key: str, remote: Batch, attempts: Mapping[str, int]) -> tuple[Batch, dict[str, Outcome]]:
        """Waits for the end of a batch, keeps every answer in it, and says what became of each request."""
        till, ledger = self._till, self._till.ledger
        pause = min(FIRST_POLL_SECONDS, till.options.poll_seconds)
        lines: list[dict[str, Any]] = []
        try:
            while remote.status not in ENDED:
                counts = remote.request_counts
                progress = f" {counts.completed:,} of {counts.total:,} answered" if counts else ""
                till.counts.waiting_for = f"batch {remote.id} is {remote.status}{progress}"
                await asyncio.sleep(pause)
                pause = min(1.5 * pause, till.options.poll_seconds)
                remote = await self._client.batches.retrieve(remote.id)
            for file_id in (remote.output_file_id, remote.error_file_id):
                if file_id:
                    lines += _read_lines((await self._client.files.content(file_id)).content)
        except openai.APIError as error:
            raise self._cannot_look(remote.id, error) from None
        till.counts.waiting_for = ""
        outcomes: dict[str, Outcome] = {}
        operations = []
        for line in lines:
            custom_id = line.get("custom_id")
            if isinstance(custom_id, str) and custom_id in attempts and custom_id not in outcomes:
                outcome, usage = read_outcome(line, till.price, till.teacher.client.api_key)
                outcomes[custom_id] = outcome
                till.counts.cost_usd += usage.cost_usd
                operations.append(self._settle(attempts[custom_id], outcome, usage))
        left = Again(f"the batch ended as {remote.status} without it")
        for custom_id, attempt_id in attempts.items():
            if custom_id not in outcomes:
                outcomes[custom_id] = left
                operations.append(
                    ledger.ledger.fail(attempt_id, left.reason, is_unconfirmed=remote.status == "completed")
                )
        operations.append(note(ledger.ledger, key, COLLECTED, remote.id))
        await ledger.commit(lambda connection: [operation(connection) for operation in operations])
        return remote, outcomes

    def _settle(self, attempt_id: int, outcome: Outcome, usage: Usage):
        ledger = self._till.ledger.ledger
        if isinstance(outcome, Answer):
            return ledger.answer(attempt_id, outcome)
        return ledger.fail(attempt_id, outcome.reason, usage=usage)

    async def _fail_all(self, key: str, attempt_ids: Iterable[int], reason: str) -> None:
        ledger = self._till.ledger
        operations = [ledger.ledger.fail(attempt_id, reason) for attempt_id in attempt_ids]
        operations.append(note(ledger.ledger, key, COLLECTED))
        await ledger.commit(lambda connection: [operation(connection) for operation in operations])

    def _cannot_look(self, batch: str, error: openai.APIError) -> TeacherUnusable:
        reason = read_trouble(error, self._till.teacher.client.api_key).reason
        how = "run again"
        if isinstance(error, openai.NotFoundError | openai.PermissionDeniedError):
            how = "batches are shown only to the key and project that made them: run again with those"
        return TeacherUnusable(
            f"Batch {batch} at {self._till.teacher.label} cannot be looked at: {reason}. It is remembered; {how} "
            "and its answers will be collected, not bought again."
        )

    def _ended_badly(self, remote: Batch) -> str:
        told = "; ".join(
            without_secret(str(error.message), self._till.teacher.client.api_key)
            for error in (remote.errors.data if remote.errors and remote.errors.data else [])[:3]
        )
        return (
            f"Batch {remote.id} at {self._till.teacher.label} ended as {remote.status}{f': {told}' if told else ''}. "
            "Answers that it held are kept. Run again to ask for the rest."
        )


def _line(request: Request, till: Till) -> bytes:
    return request_line(request, till.teacher.model, till.options.most_completion_tokens)


def _chunks(requests: Sequence[Request], till: Till) -> Iterable[list[Request]]:
    """Parts of the requests, each within the limits of one batch."""
    chunk: list[Request] = []
    num_bytes = 0
    for request in requests:
        size = len(_line(request, till)) + 1
        if chunk and (len(chunk) == MOST_REQUESTS or num_bytes + size > MOST_BYTES):
            yield chunk
            chunk, num_bytes = [], 0
        chunk.append(request)
        num_bytes += size
    if chunk:
        yield chunk


def _read_lines(content: bytes) -> list[dict[str, Any]]:
    """Lines of an output file; a line that is no JSON object is skipped, and its request counts as unanswered."""
    found = []
    for line in content.splitlines():
        try:
            read = json.loads(line)
        except ValueError:
            continue
        if isinstance(read, dict):
            found.append(read)
    return found
