"""What went wrong with one attempt: whether to try again, how long to wait, and what it may have cost.

The client's own retries are switched off, so that every attempt stands in the ledger.
"""

import email.utils
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import aiohttp
import httpx2
import openai

from assets.traces.allowances import read_duration

MOST_ATTEMPTS = 8
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 30.0
LONGEST_RETRY_AFTER_SECONDS = 600.0
"""A server that asks for more patience than this is not waited for; the request is listed as failed."""
RETRIED_STATUSES = (408, 409, 429)
FATAL_STATUSES = (401, 403, 404)
NO_MONEY = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
MOST_SAID = 200
NO_KEYS = ("none", "embedded")
"""What the client carries where there is no key."""
_NOT_CONNECTED = (
    httpx2.ConnectError,
    httpx2.UnsupportedProtocol,
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
)
_BROKEN = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientPayloadError)
"""Errors of the transport itself: the client passes some of them on as timeouts."""
_KEYS = re.compile(r"\bsk-[\w*-]{4,}")


@dataclass(frozen=True)
class Trouble:
    """Why an attempt brought no answer.

    Attributes:
        reason: in a few words, without secrets.
        is_retried: whether the same request may be sent again.
        is_refusal: whether the server said that it is asked too fast.
        is_overload: whether the server did not cope.
        is_fatal: whether it concerns every request to come.
        is_unreachable: whether the request never reached the server.
        is_unconfirmed: whether the server may have counted usage for it.
        retry_after: seconds that the server wants to be left alone.
    """

    reason: str
    is_retried: bool = False
    is_refusal: bool = False
    is_overload: bool = False
    is_fatal: bool = False
    is_unreachable: bool = False
    is_unconfirmed: bool = False
    retry_after: float | None = None


def read_trouble(error: openai.APIError | TimeoutError, secret: str | None) -> Trouble:
    """What an error of the client means.

    Args:
        error: what the client raised, or the end of our own patience.
        secret: the key, which servers like to repeat in their messages; it is never passed on.
    """
    causes = list(_causes(error))
    if any(isinstance(cause, _NOT_CONNECTED) for cause in causes):
        return Trouble("the server cannot be reached", is_retried=True, is_overload=True, is_unreachable=True)
    if any(isinstance(cause, _BROKEN) for cause in causes):
        return Trouble("the connection broke", is_retried=True, is_overload=True, is_unconfirmed=True)
    if isinstance(error, TimeoutError | openai.APITimeoutError):
        return Trouble("no answer in time", is_retried=True, is_overload=True, is_unconfirmed=True)
    if isinstance(error, openai.APIConnectionError):
        return Trouble("the connection broke", is_retried=True, is_overload=True, is_unconfirmed=True)
    if not isinstance(error, openai.APIStatusError):
        return Trouble(type(error).__name__)
    status = error.status_code
    reason = f"HTTP {status}{_said(error, secret)}"
    if status in FATAL_STATUSES or getattr(error, "code", None) in NO_MONEY:
        return Trouble(reason, is_fatal=True)
    retry_after = read_retry_after(error.response.headers)
    is_retried = status in RETRIED_STATUSES or status >= 500
    wish = error.response.headers.get("x-should-retry")
    is_retried = wish == "true" or (is_retried and wish != "false")
    if retry_after is not None and retry_after > LONGEST_RETRY_AFTER_SECONDS:
        is_retried, retry_after = False, None
        reason = f"{reason}; the server asks to be left alone for more than {LONGEST_RETRY_AFTER_SECONDS:.0f} s"
    return Trouble(
        reason,
        is_retried=is_retried,
        is_refusal=status == 429,
        is_overload=status == 408 or status >= 500,
        retry_after=retry_after,
    )


def waiting_seconds(num_failed: int, retry_after: float | None) -> float:
    """How long to wait before the next attempt: what the server asks for, or a random time below a doubling bound.

    Args:
        num_failed: attempts so far, 1 or more.
        retry_after: what the server asked for.

    Source: Brooker (2015), Exponential backoff and jitter, "full jitter".
    """
    bound = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** (num_failed - 1))
    if retry_after is not None:
        return retry_after + random.uniform(0.0, min(1.0, 0.25 * retry_after))
    return random.uniform(0.0, bound)


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait; a date is read against the server's own clock, never against ours."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        seconds = read_duration(headers[name]) if name in headers else None
        if seconds is not None:
            return seconds * unit
    then, now = (_date(headers.get(name)) for name in ("retry-after", "date"))
    return None if then is None or now is None else max(0.0, then - now)


def without_secret(text: str, secret: str | None) -> str:
    """A server's message without the key in it, and short."""
    text = " ".join(text.split())
    if secret and secret not in NO_KEYS:
        text = text.replace(secret, "…")
    return _KEYS.sub("…", text)[:MOST_SAID]


def _said(error: openai.APIStatusError, secret: str | None) -> str:
    body = error.body if isinstance(error.body, dict) else {}
    message = body.get("message")
    return f" ({without_secret(message, secret)})" if isinstance(message, str) and message.strip() else ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _date(text: str | None) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text).timestamp() if text else None
    except ValueError:
        return None
