"""Lines of the Batch API: how a request is written, and what a line of an output or error file means."""

import json
from collections.abc import Mapping
from typing import Any

from assets.traces.completions import Failure, Outcome, Request, UnreadableReply, Usage, read_completion
from assets.traces.prices import Price
from assets.traces.retrying import RETRIED_STATUSES, without_secret

ENDPOINT = "/v1/chat/completions"


class Again(Failure):
    """A request that may be put into another batch."""


def request_line(request: Request, model: str, most_completion_tokens: int) -> bytes:
    """The line of an input file that asks for a request, without its line break."""
    body = request.body(model, most_completion_tokens)
    return json.dumps({"custom_id": request.custom_id, "method": "POST", "url": ENDPOINT, "body": body}).encode()


def read_outcome(line: Mapping[str, Any], price: Price, secret: str | None) -> tuple[Outcome, Usage]:
    """What a line of an output or error file says of its request, and what the server counted for it.

    Args:
        line: the parsed line.
        price: price of the model.
        secret: the key, which is never passed on in reasons.
    """
    response = line.get("response")
    response = response if isinstance(response, dict) else {}
    status = response.get("status_code")
    if status == 200:
        try:
            answer = read_completion(response.get("body"), price, None, is_batch=True)
        except UnreadableReply as error:
            return Failure(str(error)), error.usage
        return answer, answer.usage
    body = response.get("body")
    error = line.get("error") or (body.get("error") if isinstance(body, dict) else None) or {}
    said = error.get("message") or error.get("code") if isinstance(error, dict) else error
    code = error.get("code") if isinstance(error, dict) else None
    told = without_secret(str(said), secret) if said else "no reason given"
    reason = f"HTTP {status} ({told})" if status else told
    is_retried = code == "batch_expired" or status in RETRIED_STATUSES or (status or 0) >= 500
    return (Again(reason) if is_retried else Failure(reason)), Usage()
