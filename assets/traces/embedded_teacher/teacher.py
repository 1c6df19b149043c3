"""The embedded teacher itself: one conversation in, the content of one reply out. It is not an LLM."""

import hashlib
import json
import random
from functools import cache
from pathlib import Path

from assets.traces.embedded_teacher.appraisal import appraise
from assets.traces.embedded_teacher.constants import CONSTANTS_PATH
from assets.traces.embedded_teacher.notes import EventNotes
from assets.traces.embedded_teacher.person import meet, softmax
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


def model_name(models: ResponseModels) -> str:
    """Name and version: it changes with the response models and with the code, so that no old answer is re-used."""
    return f"{MODEL_FAMILY}@{hashlib.sha256(f'{models.digest} {_code_digest()}'.encode()).hexdigest()[:8]}"


@cache
def _code_digest() -> str:
    files = sorted([*Path(__file__).parent.glob("*.py"), CONSTANTS_PATH])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


class EmbeddedTeacher:
    """Answers prompts; counts the requests it was asked."""

    def __init__(self, models: ResponseModels, notes: EventNotes) -> None:
        self.models = models
        self.notes = notes
        self.model = model_name(models)
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
        situation = read_situation(messages[1]["content"], question, self.notes)
        average, basis, survey = self._answer_on_average(question, situation)
        identity = {"person": situation.person_id, **situation.attributes}
        person = meet(identity, question.question_id, question.item, survey, question.options, question.scores, average)
        score_of = dict(zip(question.options, question.scores, strict=True))
        peers = [score_of[option] for option in situation.peer_options if option in score_of]
        appraisal = appraise(person, situation.channels, situation.events, peers, situation.memories, question.unit)
        reply = reply_of(person, appraisal, question, situation, basis, random.Random(seed))
        return reaction_text(reply) if not question.is_classification else json.dumps(classification(reply))

    def _answer_on_average(self, question: AskedQuestion, situation: Situation) -> tuple[list[float], str, str]:
        """Probabilities of people of these attributes before any event, what they rest on, and the survey."""
        model = self.models.models.get(question.item or "")
        if model is not None and set(question.options) <= set(model.options):
            shares = model.probabilities(situation.attributes)
            total = sum(shares[option] for option in question.options)
            answers = f"{model.survey} answers to {model.item}"
            return [shares[option] / total for option in question.options], answers, model.survey
        lean = LEANING_BY_IDEOLOGY.get(situation.attributes.get("ideology", ""), 0.0)
        return softmax([score * lean for score in question.scores]), "no survey item: ideology only", ""
