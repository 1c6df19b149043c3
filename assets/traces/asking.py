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

from assets.traces.ledger import Answer, Ledger, request_digest
from assets.traces.plan import find_price
from assets.traces.prompts import answer_schema
from assets.traces.teachers import Teacher

NUM_CONCURRENT = 32
Messages = list[dict[str, str]]


class ElicitationError(RuntimeError):
    """An elicitation cannot go on; the message says why and what to do."""


class BudgetExceeded(ElicitationError):
    """The next request would pass the budget."""


@dataclass
class Asker:
    """Sends requests of one elicitation; counts what was asked and what was known already."""

    teacher: Teacher
    ledger: Ledger
    budget_usd: float
    num_asked: int = 0
    num_known: int = 0
    _gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(NUM_CONCURRENT))

    async def ask(self, custom_id: str, messages: Messages, seed: int, *, is_json: bool) -> Answer:
        """The answer to a request, bought at most once.

        Raises:
            BudgetExceeded: the request could pass the budget.
            openai.APIError: the teacher failed after the client's retries.
        """
        digest = request_digest(messages, seed)
        known = self.ledger.find(custom_id, digest)
        if known is not None:
            self.num_known += 1
            return known
        price = find_price(self.teacher.model)
        async with self._gate:
            expected = price.cost_usd(sum(len(message["content"]) for message in messages) / 4, 600)
            if self.ledger.spent_usd + expected > self.budget_usd:
                raise BudgetExceeded(
                    f"The next request would pass the budget of {self.budget_usd:.2f} USD; {self.ledger.spent_usd:.2f} "
                    "USD are spent. What was bought is kept. Raise POPULACE_TEACHER_BUDGET_USD and run again."
                )
            start = time.perf_counter()
            completion = await self._send(messages, seed, is_json)
            latency_ms = 1000 * (time.perf_counter() - start)
        message, usage = completion["choices"][0]["message"], completion.get("usage") or {}
        prompt_tokens, completion_tokens = int(usage.get("prompt_tokens", 0)), int(usage.get("completion_tokens", 0))
        answer = Answer(
            content=message.get("content"),
            refusal=message.get("refusal"),
            prompt_tokens=prompt_tokens,
            cached_tokens=int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0),
            completion_tokens=completion_tokens,
            cost_usd=price.cost_usd(prompt_tokens, completion_tokens),
            latency_ms=latency_ms,
        )
        self.ledger.add(custom_id, digest, self.teacher.model, answer)
        self.num_asked += 1
        return answer

    async def _send(self, messages: Messages, seed: int, is_json: bool) -> dict[str, Any]:
        """Sends through the client's retries, without its typed models: they cost more than the embedded teacher."""
        arguments: dict[str, Any] = {"model": self.teacher.model, "messages": messages, "seed": seed}
        if is_json:
            arguments["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": answer_schema()},
            }
        response = await self.teacher.client.post("/chat/completions", cast_to=httpx2.Response, body=arguments)
        return json.loads(response.content)


def all_of(answers: Sequence[Answer]) -> dict[str, float]:
    """Tokens, cost and time of several answers together."""
    return {
        "prompt_tokens": sum(answer.prompt_tokens for answer in answers),
        "cached_tokens": sum(answer.cached_tokens for answer in answers),
        "completion_tokens": sum(answer.completion_tokens for answer in answers),
        "cost_usd": sum(answer.cost_usd for answer in answers),
        "latency_ms": sum(answer.latency_ms for answer in answers),
    }
