"""An OpenAI-compatible ASGI app around the response models and the appraisal model.

It serves chat completions and the list of models in the wire format of the OpenAI API, so that any client works on it.
It is a statistical stand-in and not an LLM: it understands this project's prompts only and says so in its model's name.
"""

import json
import random
import time
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from assets.traces.embedded_teacher.appraisal import Appraisal, appraise, meet
from assets.traces.embedded_teacher.reading import (
    AskedQuestion,
    Situation,
    UnreadablePrompt,
    read_question,
    read_situation,
)
from assets.traces.embedded_teacher.response_models import ResponseModels
from validation.channels import channel_names

MODEL_FAMILY = "populace-embedded-teacher"
CHANNEL_NOISE = 0.04
ANSWER_NOISE = 0.12
LEANING_BY_IDEOLOGY = {
    "very_liberal": 0.6,
    "liberal": 0.35,
    "moderate": 0.0,
    "conservative": -0.35,
    "very_conservative": -0.6,
}
CHARACTERS_PER_TOKEN = 4


def model_name(models: ResponseModels) -> str:
    """Name and version: the version changes when the response models do, so that old answers are not re-used."""
    return f"{MODEL_FAMILY}@{models.digest[:8]}"


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
        situation = read_situation(messages[1]["content"])
        rest, basis = self._answer_at_rest(question, situation)
        identity = {"person": situation.person_id, **situation.attributes}
        person = meet(identity, question.question_id, question.options, question.scores, rest)
        score_of = dict(zip(question.options, question.scores, strict=True))
        peers = [score_of[option] for option in situation.peer_options if option in score_of]
        appraisal = appraise(person, situation.channels, situation.events, peers, situation.memories)
        if not question.is_classification:
            return _say(appraisal, question, situation)
        return json.dumps(_classify(appraisal, question, situation, basis, random.Random(seed)))

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


def _say(appraisal: Appraisal, question: AskedQuestion, situation: Situation) -> str:
    """The free-text reaction."""
    likeliest = question.options[max(range(len(question.options)), key=appraisal.probabilities.__getitem__)]
    parts = [f"On {question.question_id.replace('_', ' ')} I say {likeliest}."]
    if appraisal.pushes:
        name, push = max(appraisal.pushes.items(), key=lambda pair: abs(pair[1]))
        parts.append(f"{name.replace('-', ' ').capitalize()} {_strength(push)} me.")
    if appraisal.peer_stance is not None:
        agreement = "agree with" if appraisal.peer_stance * appraisal.lean > 0 else "see it differently from"
        parts.append(f"I {agreement} most people around me.")
    if situation.timestep == 0:
        parts.append("That is how I have long seen it.")
    return " ".join(parts)


def _strength(push: float) -> str:
    if abs(push) < 0.05:
        return "did not really move"
    return "moved" if abs(push) < 0.2 else "strongly moved"


def _classify(
    appraisal: Appraisal,
    question: AskedQuestion,
    situation: Situation,
    basis: str,
    draw: random.Random,
) -> dict[str, Any]:
    """The classification, with the noise of this draw."""
    channels = [
        round(min(1.0, max(-1.0, appraisal.channels[name] + draw.gauss(0.0, CHANNEL_NOISE))), 3)
        for name in channel_names()
    ]
    weights = [p * 2.718281828 ** (ANSWER_NOISE * draw.gauss(0.0, 1.0)) for p in appraisal.probabilities]
    probabilities = [weight / sum(weights) for weight in weights]
    option = draw.choices(question.options, probabilities)[0]
    stance = sum(p * score for p, score in zip(probabilities, question.scores, strict=True))
    uniform = 1.0 / len(probabilities)
    conviction = (max(probabilities) - uniform) / (1.0 - uniform)
    courage = 0.5 + 0.5 * appraisal.channels["efficacy"]
    salience = min(1.0, 0.1 + 2.0 * sum(abs(push) for push in appraisal.pushes.values()))
    strongest = max(appraisal.pushes, key=lambda name: abs(appraisal.pushes[name]), default=None)
    likeliest = question.options[max(range(len(probabilities)), key=probabilities.__getitem__)]
    score_of = dict(zip(question.options, question.scores, strict=True))
    trust = [
        round(0.05 * (1.0 - abs(score_of[peer] - stance)), 3) if peer in score_of else 0.0
        for peer in situation.peer_options
    ]
    reasons = [f"at rest from {basis}"]
    reasons += [f"{name} pushed {push:+.2f}" for name, push in appraisal.pushes.items()]
    if appraisal.peer_stance is not None:
        reasons.append(f"people around stand at {appraisal.peer_stance:+.2f}")
    return {
        "channels": channels,
        "channel_confidence": [round(0.6 + 0.3 * abs(value), 3) for value in channels],
        "channel_evidence": "appraisal model of the embedded teacher",
        "option_probabilities": [round(p, 5) for p in probabilities],
        "option": option,
        "conviction": round(conviction, 4),
        "private_stance": round(stance, 4),
        "public_stance": round(stance * (0.6 + 0.4 * courage), 4),
        "statement": f"I say {likeliest}." if strongest is None else f"I say {likeliest}, because of {strongest}.",
        "will_share": draw.random() < 0.25 + 0.5 * conviction + 0.2 * courage,
        "attention_events": round(appraisal.attention[0], 4),
        "attention_peers": round(appraisal.attention[1], 4),
        "attention_memory": round(appraisal.attention[2], 4),
        "memory_write": f"week {situation.timestep}: {strongest} moved me {appraisal.pushes[strongest]:+.2f}"
        if strongest
        else "",
        "memory_salience": round(salience, 4),
        "trust_deltas": trust,
        "rationale": f"I lean {appraisal.lean:+.2f}: " + "; ".join(reasons) + ".",
    }


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
