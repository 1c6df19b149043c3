"""Requests sent one by one, as fast as the server takes them; every attempt is claimed before and settled after."""

import asyncio
import json
import time
from collections.abc import Sequence

import httpx2
import openai

from assets.traces.asking import BUSY_SECONDS, Outcome, Till
from assets.traces.completions import Answer, Failure, Request, UnreadableReply, Usage, read_completion
from assets.traces.ledger import Attempt, Busy, Claim
from assets.traces.pacing import Pace, Turn
from assets.traces.retrying import MOST_ATTEMPTS, Trouble, read_trouble, waiting_seconds


class Live:
    """Sends chat completions concurrently."""

    def __init__(self, till: Till) -> None:
        options = till.options
        self._till = till
        self._url = f"{str(till.teacher.client.base_url).rstrip('/')}/chat/completions"
        self._pace = Pace(options.most_in_flight, options.requests_per_minute, options.tokens_per_minute)

    async def answers(self, requests: Sequence[Request]) -> list[Outcome]:
        """One outcome per request, in their order.

        Raises:
            ElicitationError, LedgerError: something concerns every request; those under way were waited for.
        """
        outcomes = await asyncio.gather(
            *(self._ask(request) for request in requests),
            return_exceptions=True,  # requests under way are paid for: wait for them, so that the ledger gets them
        )
        if self._till.stopped_by is not None:
            raise self._till.stopped_by
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]

    async def _ask(self, request: Request) -> Outcome:
        """Attempts a request until it is answered, or fails for good."""
        counts = self._till.counts
        num_failed = 0
        while True:
            with self._till.stopping():
                claim, result = await self._attempt(request)
                if isinstance(claim, Answer):
                    counts.num_known += 1
                    return claim
                if isinstance(result, Answer):
                    counts.num_asked += 1
                    return result
                if result is None:
                    await asyncio.sleep(BUSY_SECONDS)
                    continue
                num_failed += 1
                if result.is_fatal or (result.is_unreachable and num_failed == MOST_ATTEMPTS):
                    raise self._till.give_up(result)
            if not result.is_retried or num_failed == MOST_ATTEMPTS:
                counts.num_failed += 1
                tries = f" ({num_failed} attempts)" if num_failed > 1 else ""
                return Failure(f"{result.reason}{tries}")
            await asyncio.sleep(waiting_seconds(num_failed, result.retry_after))

    async def _attempt(self, request: Request) -> tuple[Claim, Answer | Trouble | None]:
        """One attempt, when it is this request's turn; the claim alone where it could not be sent.

        Attempts after one whose answer was lost carry its key again, in this process or the next: a server that honours
        such keys repeats its answer and does not count it twice. After an error of the server the key is a new one.
        """
        till, ledger = self._till, self._till.ledger
        turn = await self._pace.turn(request.prompt_tokens + till.options.most_completion_tokens)
        tokens_used: float | None = 0.0
        try:
            with till.stopping():
                claim = await ledger.commit(
                    ledger.ledger.claim(
                        request, till.teacher.model, till.expected_usd(request), till.options.budget_usd
                    )
                )
                if isinstance(claim, Answer | Busy):
                    return claim, None
                if not isinstance(claim, Attempt):
                    till.refuse(claim)
                    return claim, None
            buying = asyncio.ensure_future(self._buy(request, claim, turn))
            try:
                result, usage = await asyncio.shield(buying)
            except asyncio.CancelledError:
                await asyncio.wait({buying})  # an interrupted run still gets what it has paid for
                raise
            tokens_used = usage.prompt_tokens + usage.completion_tokens if isinstance(result, Answer) else None
            return claim, result
        finally:
            self._pace.done(turn, tokens_used)

    async def _buy(self, request: Request, attempt: Attempt, turn: Turn) -> tuple[Answer | Trouble, Usage]:
        """Sends, and commits what came of it."""
        till, ledger = self._till, self._till.ledger
        key = f"{request.custom_id[:24]}{request.digest[:24]}-{attempt.num_ended}"
        result, usage = await self._send(request, key, turn)
        if isinstance(result, Answer):
            await ledger.commit(ledger.ledger.answer(attempt.attempt_id, result))
        else:
            await ledger.commit(
                ledger.ledger.fail(attempt.attempt_id, result.reason, usage=usage, is_unconfirmed=result.is_unconfirmed)
            )
        till.counts.cost_usd += usage.cost_usd
        return result, usage

    async def _send(self, request: Request, key: str, turn: Turn) -> tuple[Answer | Trouble, Usage]:
        """Sends through the client without its typed models: they cost more than the embedded teacher."""
        till = self._till
        start = time.monotonic()
        try:
            async with asyncio.timeout(till.options.timeout_seconds):
                response = await till.teacher.client.post(
                    self._url,
                    cast_to=httpx2.Response,
                    body=request.body(till.teacher.model, till.options.most_completion_tokens),
                    options={"headers": {"Idempotency-Key": key}},
                )
        except (openai.APIError, TimeoutError) as error:
            trouble = read_trouble(error, till.teacher.client.api_key)
            if trouble.is_refusal:
                self._pace.refused(turn, trouble.retry_after)
            elif trouble.is_overload:
                self._pace.overloaded(turn, trouble.retry_after)
            return trouble, Usage()
        self._pace.went_through(turn, response.headers)
        latency_ms = 1000 * (time.monotonic() - start)
        try:
            answer = read_completion(json.loads(response.content), till.price, latency_ms, is_batch=False)
        except UnreadableReply as error:
            return Trouble(str(error)), error.usage
        except (ValueError, RecursionError):
            return Trouble("the reply is no JSON", is_retried=True, is_unconfirmed=True), Usage()
        return answer, answer.usage
