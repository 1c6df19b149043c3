"""The wire format of the OpenAI API: bodies in, status and body out, for live requests and lines of a batch alike.

RequestRefused   the request cannot be answered; carries the status and the error body that a client reads
"""

import base64
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from assets.traces.embedded_teacher.reading import UnreadablePrompt
from assets.traces.embedded_teacher.teacher import MODEL_FAMILY, EmbeddedTeacher
from assets.traces.prompts import answer_schema
from assets.traces.text_encoder import TEXT_DIMENSIONS, TEXT_ENCODER, encode_texts

CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"
BATCHED_ENDPOINTS = (CHAT, EMBEDDINGS)
CHARACTERS_PER_TOKEN = 4
MOST_TEXTS = 2048
MOST_CHOICES = 128


class RequestRefused(ValueError):
    """A request that gets an error instead of an answer."""

    def __init__(self, status: int, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        kind = "not_found_error" if status == 404 else "invalid_request_error"
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


def respond(teacher: EmbeddedTeacher, endpoint: str, body: Any) -> tuple[int, dict[str, Any]]:
    """Status and body of the answer to one request; whatever is wrong with it becomes an error body.

    Args:
        teacher: who answers.
        endpoint: one of `BATCHED_ENDPOINTS`.
        body: the decoded request.
    """
    try:
        if not isinstance(body, dict):
            raise RequestRefused(400, f"The request must be a JSON object, found {type(body).__name__}.")
        return 200, complete(teacher, body) if endpoint == CHAT else embed(body)
    except RequestRefused as refused:
        return refused.status, refused.body
    except UnreadablePrompt as error:
        return 400, RequestRefused(400, str(error), param="messages").body


def complete(teacher: EmbeddedTeacher, body: Mapping[str, Any]) -> dict[str, Any]:
    """A chat completion.

    Raises:
        RequestRefused: a field is missing or wrong, or the model is another.
        UnreadablePrompt: the conversation is not of this project's form.
    """
    model = _known_model(body.get("model"), (teacher.model,), MODEL_FAMILY)
    messages = _messages(body.get("messages"))
    seed, num_choices = body.get("seed") or 0, body.get("n") or 1
    if not isinstance(seed, int) or not isinstance(num_choices, int) or not 1 <= num_choices <= MOST_CHOICES:
        raise RequestRefused(400, f"seed and n must be whole numbers, n from 1 to {MOST_CHOICES}.", param="seed")
    _check_format(body.get("response_format"))
    contents = [teacher.answer(messages, seed + choice) for choice in range(num_choices)]
    prompt_tokens = sum(len(message["content"]) for message in messages) // CHARACTERS_PER_TOKEN
    completion_tokens = sum(len(content) for content in contents) // CHARACTERS_PER_TOKEN
    return {
        "id": f"chatcmpl-{teacher.num_requests}-{seed}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": content, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
            for index, content in enumerate(contents)
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
    }


def chunks_of(completion: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A completion as the chunks of a stream: one with the whole content, one with the reason why it ends."""
    common = {name: completion[name] for name in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    for choice in completion["choices"]:
        delta = {"role": "assistant", "content": choice["message"]["content"]}
        yield common | {"choices": [{"index": choice["index"], "delta": delta, "finish_reason": None}]}
        yield common | {"choices": [{"index": choice["index"], "delta": {}, "finish_reason": "stop"}]}


def embed(body: Mapping[str, Any]) -> dict[str, Any]:
    """Embeddings by the local text encoder, whose name is the model's.

    Raises:
        RequestRefused: the model is another, or the input is no text or a list of texts that are not blank.
    """
    model = _known_model(body.get("model"), (TEXT_ENCODER,), TEXT_ENCODER)
    given = body.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise RequestRefused(400, "input must be a text or a list of texts; tokens are not understood.", param="input")
    if len(texts) > MOST_TEXTS:
        raise RequestRefused(400, f"input holds {len(texts)} texts, allowed: {MOST_TEXTS}.", param="input")
    if body.get("dimensions") not in (None, TEXT_DIMENSIONS):
        raise RequestRefused(400, f"dimensions must be {TEXT_DIMENSIONS} or absent.", param="dimensions")
    try:
        vectors_nD = encode_texts(texts)
    except ValueError as error:
        raise RequestRefused(400, str(error), param="input") from error
    is_base64 = body.get("encoding_format") == "base64"
    tokens = sum(len(text) for text in texts) // CHARACTERS_PER_TOKEN
    return {
        "object": "list",
        "model": model,
        "data": [
            {"object": "embedding", "index": index, "embedding": _written(vector_D) if is_base64 else vector_D.tolist()}
            for index, vector_D in enumerate(vectors_nD)
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def list_models(teacher: EmbeddedTeacher) -> dict[str, Any]:
    """The models that are served: the teacher and the text encoder."""
    names = (teacher.model, TEXT_ENCODER)
    models = [{"id": name, "object": "model", "created": 0, "owned_by": "populace"} for name in names]
    return {"object": "list", "data": models}


def _written(vector_D: np.ndarray) -> str:
    return base64.b64encode(vector_D.astype("<f4").tobytes()).decode("ascii")


def _known_model(found: Any, served: Sequence[str], alias: str) -> str:
    """The exact name of the model that is meant; the family's name stands for its current version."""
    if found in served:
        return str(found)
    if found == alias:
        return served[0]
    raise RequestRefused(
        404,
        f"The model {found!r} is not served here. Served: {', '.join(served)}, or {alias} for the current version.",
        code="model_not_found",
        param="model",
    )


def _messages(found: Any) -> list[dict[str, str]]:
    if not isinstance(found, list) or not all(isinstance(message, dict) for message in found):
        raise RequestRefused(400, "messages must be a list of objects with role and content.", param="messages")
    return [{"role": str(message.get("role")), "content": _text(message.get("content"))} for message in found]


def _text(content: Any) -> str:
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else None for part in content]
        if all(isinstance(part, str) for part in parts):
            return "\n".join(str(part) for part in parts)
    if not isinstance(content, str):
        raise RequestRefused(400, "The content of a message must be a text.", param="messages")
    return content


def _check_format(found: Any) -> None:
    """A schema that asks for more than the classification holds cannot be kept, so it is refused."""
    if not isinstance(found, dict) or found.get("type") != "json_schema":
        return
    schema = (found.get("json_schema") or {}).get("schema") or {}
    given = set(answer_schema()["properties"])
    unknown = sorted(set(schema.get("required", ())) - given)
    if unknown:
        raise RequestRefused(
            400,
            f"The embedded teacher cannot fill the fields {', '.join(unknown)}; it knows {', '.join(sorted(given))}.",
            param="response_format",
        )
