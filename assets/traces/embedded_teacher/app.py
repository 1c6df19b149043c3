"""An OpenAI-compatible ASGI app around the response models and the appraisal model.

It serves chat completions and the list of models in the wire format of the OpenAI API, so that any client works on it.
It is a statistical stand-in and not an LLM: it understands this project's prompts only and says so in its model's name.
"""

import hashlib
import json
import random
import time
from functools import cache
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from assets.traces.embedded_teacher.appraisal import appraise, meet
from assets.traces.embedded_teacher.reading import (
    AskedQuestion,
    Situation,
    UnreadablePrompt,
    read_question,
    read_situation,
)
from assets.traces.embedded_teacher.replies import classification, reaction_text, reply_of
from assets.traces.embedded_teacher.response_models import ResponseModels

MODEL_FAMILY = "populace-embedded-teacher"
LEANING_BY_IDEOLOGY = {
    "very_liberal": 0.6,
    "liberal": 0.35,
    "moderate": 0.0,
    "conservative": -0.35,
    "very_conservative": -0.6,
}
CHARACTERS_PER_TOKEN = 4


def model_name(models: ResponseModels) -> str:
    """Name and version: it changes with the response models and with the code, so that no old answer is re-used."""
    return f"{MODEL_FAMILY}@{hashlib.sha256(f'{models.digest} {_code_digest()}'.encode()).hexdigest()[:8]}"


@cache
def _code_digest() -> str:
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


class EmbeddedTeacher:
    """Answers prompts; counts the requests it was asked."""

    def __init__(self, models: ResponseModels) -> None:
        self.models = models
        self.num_requests = 0

    def answer(self, messages: list[dict[str, str]], seed: int) -> str:
        """The content of the reply to one conversation.

        Raises:
            UnreadablePrompt: the conversation is not of this project's form.
        """
        self.num_requests += 1
        if len(messages) < 2:
            raise UnreadablePrompt("The embedded teacher needs a system message and a user message.")
        question = read_question(messages[0]["content"])
        situation = read_situation(messages[1]["content"], question)
        rest, basis = self._answer_at_rest(question, situation)
        identity = {"person": situation.person_id, **situation.attributes}
        person = meet(identity, question.question_id, question.options, question.scores, rest)
        score_of = dict(zip(question.options, question.scores, strict=True))
        peers = [score_of[option] for option in situation.peer_options if option in score_of]
        appraisal = appraise(person, situation.channels, situation.events, peers, situation.memories)
        reply = reply_of(appraisal, question, situation, basis, random.Random(seed))
        return reaction_text(reply) if not question.is_classification else json.dumps(classification(reply))

    def _answer_at_rest(self, question: AskedQuestion, situation: Situation) -> tuple[list[float], str]:
        """Probabilities before any event, and what they rest on."""
        model = self.models.models.get(question.item or "")
        if model is not None and set(question.options) <= set(model.options):
            shares = model.probabilities(situation.attributes)
            total = sum(shares[option] for option in question.options)
            return [shares[option] / total for option in question.options], f"{model.survey} answers to {model.item}"
        lean = LEANING_BY_IDEOLOGY.get(situation.attributes.get("ideology", ""), 0.0)
        weights = [2.718281828 ** (score * lean) for score in question.scores]
        return [weight / sum(weights) for weight in weights], "no survey item: ideology only"


def create_app(models: ResponseModels) -> Starlette:
    """The ASGI app; `app.state.teacher` counts requests."""
    teacher = EmbeddedTeacher(models)

    async def complete(request: Request) -> Response:
        try:
            body = await request.json()
            content = teacher.answer(body["messages"], int(body.get("seed") or 0))
        except (ValueError, LookupError, TypeError) as error:
            message = str(error) if isinstance(error, UnreadablePrompt) else f"The request cannot be read: {error!r}"
            return JSONResponse({"error": {"message": message, "type": "invalid_request_error"}}, status_code=400)
        return JSONResponse(_completion(body, content))

    async def list_models(_: Request) -> Response:
        return JSONResponse(
            {"object": "list", "data": [{"id": model_name(models), "object": "model", "owned_by": "populace"}]}
        )

    app = Starlette(
        routes=[
            Route("/v1/chat/completions", complete, methods=["POST"]),
            Route("/v1/models", list_models, methods=["GET"]),
        ]
    )
    app.state.teacher = teacher
    return app


def _completion(body: dict[str, Any], content: str) -> dict[str, Any]:
    prompt_tokens = sum(len(message["content"]) for message in body["messages"]) // CHARACTERS_PER_TOKEN
    completion_tokens = len(content) // CHARACTERS_PER_TOKEN
    return {
        "id": f"chatcmpl-{body.get('seed', 0)}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body["model"],
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
    }
