"""One request to a teacher and what comes back: the body that is sent, and the reading of a chat completion.

The same for requests sent one by one and in batches, so that both give the same rows.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from assets.traces.prices import Price
from assets.traces.prompts import answer_schema

Messages = Sequence[Mapping[str, str]]
CHARACTERS_PER_TOKEN = 4.0
DEFAULT_COMPLETION_TOKENS = 1_200
"""Most completion tokens that a request may take; the budget sets their price aside until the usage is known."""


@dataclass(frozen=True)
class Request:
    """What is asked: known by its `custom_id` and by the digest of what is sent."""

    custom_id: str
    messages: Messages
    seed: int
    is_json: bool

    @cached_property
    def digest(self) -> str:
        """Digest of messages and seed; the same request has the same digest."""
        return request_digest(self.messages, self.seed)

    @cached_property
    def prompt_tokens(self) -> float:
        """Expected tokens of the prompt."""
        return sum(len(message["content"]) for message in self.messages) / CHARACTERS_PER_TOKEN

    def body(self, model: str, most_tokens: int) -> dict[str, Any]:
        """The body of a chat completion."""
        body: dict[str, Any] = {
            "model": model,
            "messages": list(self.messages),
            "seed": self.seed,
            "max_completion_tokens": most_tokens,
        }
        if self.is_json:
            body["response_format"] = _response_format()
        return body


@dataclass(frozen=True)
class Usage:
    """Tokens that the server counted for one attempt, and their price."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0


@dataclass(frozen=True)
class Answer:
    """What a teacher answered to one request, or why it did not; `latency_ms` is None where it was not measured."""

    content: str | None
    refusal: str | None
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    cost_usd: float
    latency_ms: float | None
    finish_reason: str | None = None

    @property
    def is_refusal(self) -> bool:
        """Whether the teacher declined: it says so, its filter cut in, or it says nothing at all."""
        return bool(self.refusal) or self.content is None or self.finish_reason == "content_filter"

    @property
    def usage(self) -> Usage:
        """What the server counted for it."""
        return Usage(self.prompt_tokens, self.cached_tokens, self.completion_tokens, self.cost_usd)

    @property
    def is_truncated(self) -> bool:
        """Whether the answer stops at the most tokens that it was allowed."""
        return self.finish_reason == "length"


@dataclass(frozen=True)
class Failure:
    """Why a request has no answer."""

    reason: str


Outcome = Answer | Failure


class UnreadableReply(ValueError):
    """A reply is no chat completion; `usage` holds what the server counted for it all the same."""

    def __init__(self, message: str, usage: Usage) -> None:
        super().__init__(message)
        self.usage = usage


def request_digest(messages: Messages, seed: int) -> str:
    """Digest of what is sent; the same request has the same digest."""
    return hashlib.sha256(json.dumps([list(messages), seed], sort_keys=True).encode()).hexdigest()


def read_completion(completion: object, price: Price, latency_ms: float | None, *, is_batch: bool) -> Answer:
    """The first choice of a chat completion.

    Args:
        completion: parsed body of the reply.
        price: price of the model.
        latency_ms: time that the request took; None where it was not measured.
        is_batch: whether batch prices hold.

    Raises:
        UnreadableReply: there is no choice with a message.
    """
    usage = read_usage(completion, price, is_batch=is_batch)
    try:
        choice = completion["choices"][0]  # pyright: ignore[reportIndexIssue]
        message = choice["message"]
        content, refusal = message.get("content"), message.get("refusal")
        finish_reason = choice.get("finish_reason")
    except (LookupError, TypeError, AttributeError) as error:
        raise UnreadableReply("the reply is no chat completion: it lacks choices with a message", usage) from error
    return Answer(
        content=None if content is None else str(content),
        refusal=None if refusal is None else str(refusal),
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=usage.cached_tokens,
        completion_tokens=usage.completion_tokens,
        cost_usd=usage.cost_usd,
        latency_ms=latency_ms,
        finish_reason=None if finish_reason is None else str(finish_reason),
    )


def read_usage(completion: object, price: Price, *, is_batch: bool) -> Usage:
    """What the server counted; zero where it says nothing."""
    usage = completion.get("usage") if isinstance(completion, dict) else None
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("prompt_tokens_details")
    prompt, completed = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else 0
    return Usage(prompt, cached, completed, price.cost_usd(prompt, completed, cached, is_batch=is_batch))


def _count(value: object) -> int:
    return max(0, int(value)) if isinstance(value, int | float) and value == value and abs(value) < 1e15 else 0


def _response_format() -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": answer_schema()}}


def all_of(answers: Sequence[Answer]) -> dict[str, float | None]:
    """Tokens, cost and time of several answers together; the time is None where one was not measured."""
    latencies = [answer.latency_ms for answer in answers]
    return {
        "prompt_tokens": sum(answer.prompt_tokens for answer in answers),
        "cached_tokens": sum(answer.cached_tokens for answer in answers),
        "completion_tokens": sum(answer.completion_tokens for answer in answers),
        "cost_usd": sum(answer.cost_usd for answer in answers),
        "latency_ms": None if None in latencies else sum(latency for latency in latencies if latency is not None),
    }
