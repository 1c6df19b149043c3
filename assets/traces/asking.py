"""Asks a teacher one request at a time, through the ledger: known answers are read, new ones are committed before use.

ElicitationError
└── BudgetExceeded   the next request would pass the budget; what was bought is in the ledger
"""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2
import openai

from assets.traces.ledger import Answer, Ledger, request_digest
from assets.traces.plan import CHARACTERS_PER_TOKEN, Price, find_price
from assets.traces.prompts import answer_schema
from assets.traces.teachers import Teacher

NUM_CONCURRENT = 32
COMPLETION_TOKENS_RESERVED = 600
"""Completion tokens that the budget sets aside for a request until its usage is known."""
Messages = list[dict[str, str]]


class ElicitationError(RuntimeError):
    """An elicitation cannot go on; the message says why and what to do."""


class BudgetExceeded(ElicitationError):
    """The next request would pass the budget."""


def is_fatal(error: BaseException) -> bool:
    """Whether an error concerns every request to come, not just the one that met it."""
    if isinstance(error, openai.APIConnectionError):
        return not isinstance(error, openai.APITimeoutError)
    return isinstance(
        error, ElicitationError | openai.AuthenticationError | openai.PermissionDeniedError | openai.NotFoundError
    )


@dataclass
class Asker:
    """Sends requests of one elicitation; counts what was asked and what was known already.

    After a fatal error nothing more is sent; requests under way are still answered and committed.
    """

    teacher: Teacher
    ledger: Ledger
    budget_usd: float
    num_asked: int = 0
    num_known: int = 0
    _reserved_usd: float = 0.0
    _stopped_by: Exception | None = None
    _gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(NUM_CONCURRENT))

    async def ask(self, custom_id: str, messages: Messages, seed: int, *, is_json: bool) -> Answer:
        """The answer to a request, bought at most once.

        Raises:
            BudgetExceeded: the request could pass the budget.
            openai.APIError: the teacher failed after the client's retries, or its reply is no chat completion.
        """
        digest = request_digest(messages, seed)
        known = self.ledger.find(custom_id, digest)
        if known is not None:
            self.num_known += 1
            return known
        async with self._gate:
            if self._stopped_by is not None:
                raise self._stopped_by
            try:
                answer = await self._buy(messages, seed, is_json)
            except Exception as error:
                if is_fatal(error):
                    self._stopped_by = error
                raise
            self.ledger.add(custom_id, digest, self.teacher.model, answer)
        self.num_asked += 1
        return answer

    async def _buy(self, messages: Messages, seed: int, is_json: bool) -> Answer:
        """Asks within the budget; what requests under way may cost counts as spent."""
        price = find_price(self.teacher.model)
        characters = sum(len(message["content"]) for message in messages)
        expected_usd = price.cost_usd(characters / CHARACTERS_PER_TOKEN, COMPLETION_TOKENS_RESERVED)
        if self.ledger.spent_usd + self._reserved_usd + expected_usd > self.budget_usd:
            raise BudgetExceeded(
                f"The next request could pass the budget of {self.budget_usd:.2f} USD; {self.ledger.spent_usd:.2f} "
                "USD are spent. What was bought is kept. Raise POPULACE_TEACHER_BUDGET_USD and run again."
            )
        self._reserved_usd += expected_usd
        try:
            start = time.perf_counter()
            response = await self._send(messages, seed, is_json)
            return _read_completion(response, price, 1000 * (time.perf_counter() - start))
        finally:
            self._reserved_usd -= expected_usd

    async def _send(self, messages: Messages, seed: int, is_json: bool) -> httpx2.Response:
        """Sends through the client's retries, without its typed models: they cost more than the embedded teacher."""
        arguments: dict[str, Any] = {"model": self.teacher.model, "messages": messages, "seed": seed}
        if is_json:
            arguments["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": answer_schema()},
            }
        return await self.teacher.client.post("/chat/completions", cast_to=httpx2.Response, body=arguments)


def _read_completion(response: httpx2.Response, price: Price, latency_ms: float) -> Answer:
    """The first choice of a chat completion."""
    try:
        completion = json.loads(response.content)
        message, usage = completion["choices"][0]["message"], completion.get("usage") or {}
        prompt_tokens = int(usage.get("prompt_tokens") or 0)
        completion_tokens = int(usage.get("completion_tokens") or 0)
        return Answer(
            content=message.get("content"),
            refusal=message.get("refusal"),
            prompt_tokens=prompt_tokens,
            cached_tokens=int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0),
            completion_tokens=completion_tokens,
            cost_usd=price.cost_usd(prompt_tokens, completion_tokens),
            latency_ms=latency_ms,
        )
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise openai.APIResponseValidationError(
            response, None, message="The reply is no chat completion: it lacks choices with a message."
        ) from error


def all_of(answers: Sequence[Answer]) -> dict[str, float]:
    """Tokens, cost and time of several answers together."""
    return {
        "prompt_tokens": sum(answer.prompt_tokens for answer in answers),
        "cached_tokens": sum(answer.cached_tokens for answer in answers),
        "completion_tokens": sum(answer.completion_tokens for answer in answers),
        "cost_usd": sum(answer.cost_usd for answer in answers),
        "latency_ms": sum(answer.latency_ms for answer in answers),
    }
