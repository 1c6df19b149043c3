"""What the embedded teacher replies: one draw of a person's answer, told in prose and as a classification.

Both passes of a request tell the same draw, so they never contradict each other. Conviction, salience, attention and
the will to speak follow from the appraisal by rules of this project; docs/concepts/embedded-teacher.md lists them.
"""

import random
from dataclasses import dataclass
from typing import Any

from assets.traces.embedded_teacher import phrases
from assets.traces.embedded_teacher.appraisal import Appraisal, answer
from assets.traces.embedded_teacher.person import Person, mean_score
from assets.traces.embedded_teacher.phrases import pick, sureness_of
from assets.traces.embedded_teacher.reading import AskedQuestion, Situation
from assets.traces.wordings import load_wordings, nearest
from validation.channels import channel_names

CHANNEL_NOISE = 0.04
"""Standard deviation of a channel between redraws; ours."""
TRUST_RATE = 0.05
"""Largest change of trust in a neighbour in one step, reached at full agreement."""
SOFTENING = 0.4
"""How much of a stance somebody without any efficacy keeps to themselves."""
NOTICEABLE = 0.05
"""Pushes below this are not mentioned as reasons in prose."""


@dataclass(frozen=True)
class Reply:
    """One draw: the person's state and answer with this draw's noise, and the reasons behind it."""

    question: AskedQuestion
    situation: Situation
    appraisal: Appraisal
    basis: str
    channels: list[float]
    probabilities: list[float]
    option: str
    stance: float
    conviction: float
    courage: float
    will_share: bool
    tone: int

    @property
    def strongest(self) -> str | None:
        """The event with the largest push, if any."""
        pushes = self.appraisal.pushes
        return max(pushes, key=lambda name: abs(pushes[name]), default=None)

    @property
    def likeliest(self) -> str:
        """The option with the highest probability."""
        return self.question.options[max(range(len(self.probabilities)), key=self.probabilities.__getitem__)]

    @property
    def statement(self) -> str:
        """What the person says aloud; empty when they keep it to themselves."""
        if not self.will_share:
            return ""
        reason = pick(phrases.REASONS, self.tone // 7).format(event=self.strongest) if self.strongest else ""
        return f"{pick(phrases.STATEMENTS, self.tone).format(option=self.likeliest)}{reason}."


def reply_of(
    person: Person,
    appraisal: Appraisal,
    question: AskedQuestion,
    situation: Situation,
    basis: str,
    draw: random.Random,
) -> Reply:
    """Draws a reply; equal arguments and an equally seeded `draw` give the same one.

    Args:
        person: who answers, with their own noise between redraws.
        appraisal: outcome of the step.
        question: what was asked.
        situation: what the prompt said of the person.
        basis: what the answer at rest was estimated on.
        draw: source of this draw's noise.
    """
    channels = [
        round(min(1.0, max(-1.0, appraisal.channels[name] + draw.gauss(0.0, CHANNEL_NOISE))), 3)
        for name in channel_names()
    ]
    probabilities = answer(person, appraisal.channels, person.redraw_noise * draw.gauss(0.0, 1.0))
    option = draw.choices(question.options, probabilities)[0]
    uniform = 1.0 / len(probabilities)
    conviction = (max(probabilities) - uniform) / (1.0 - uniform)
    courage = 0.5 + 0.5 * appraisal.channels["efficacy"]
    return Reply(
        question,
        situation,
        appraisal,
        basis,
        channels,
        probabilities,
        option,
        stance=mean_score(probabilities, question.scores),
        conviction=conviction,
        courage=courage,
        will_share=draw.random() < 0.25 + 0.5 * conviction + 0.2 * courage,
        tone=draw.randrange(1_000),
    )


def reaction_text(reply: Reply) -> str:
    """The reply as prose: what the person thinks, then what they say."""
    subject, tone = reply.question.question_id.replace("_", " "), reply.tone
    sureness = sureness_of(reply.conviction)
    parts = [pick(phrases.STANDS, tone).format(subject=subject, option=reply.likeliest, sureness=sureness)]
    if reply.strongest and abs(reply.appraisal.pushes[reply.strongest]) >= NOTICEABLE:
        event = _in_words(reply.strongest)
        words = pick(phrases.MOVED, tone // 3)
        parts.append(words.format(event=event, Event=event.capitalize(), push=_push_in_words(reply)))
    elif reply.situation.timestep == 0:
        parts.append(pick(phrases.LONG_HELD, tone // 3))
    if reply.appraisal.peer_stance is not None:
        agrees = reply.appraisal.peer_stance * reply.appraisal.lean > 0
        parts.append(pick(phrases.AGREES if agrees else phrases.DIFFERS, tone // 9))
    return f"Thinks: {' '.join(parts)}\nSays: {reply.statement or 'nothing'}"


def classification(reply: Reply) -> dict[str, Any]:
    """The reply by the answer schema."""
    score_of = dict(zip(reply.question.options, reply.question.scores, strict=True))
    pushes = reply.appraisal.pushes
    salience = min(1.0, 0.1 + 2.0 * sum(abs(push) for push in pushes.values()))
    heard = [
        round(TRUST_RATE * (1.0 - abs(score_of[peer] - reply.stance)), 3) if peer in score_of else 0.0
        for peer in reply.situation.peer_options
    ]
    attention = reply.appraisal.attention
    return {
        "channels": reply.channels,
        "channel_confidence": [round(0.6 + 0.3 * abs(value), 3) for value in reply.channels],
        "channel_evidence": "appraisal model of the embedded teacher",
        "option_probabilities": [round(p, 5) for p in reply.probabilities],
        "option": reply.option,
        "conviction": round(reply.conviction, 4),
        "private_stance": round(reply.stance, 4),
        "public_stance": round(reply.stance * (1.0 - SOFTENING + SOFTENING * reply.courage), 4),
        "statement": reply.statement,
        "will_share": reply.will_share,
        "attention_events": round(attention[0], 4),
        "attention_peers": round(attention[1], 4),
        "attention_memory": round(attention[2], 4),
        "memory_write": f"{reply.question.unit} {reply.situation.timestep}: {reply.strongest} {_push_in_words(reply)}"
        if reply.strongest
        else "",
        "memory_salience": round(salience, 4),
        "trust_deltas": heard,
        "rationale": _rationale(reply),
    }


def _push_in_words(reply: Reply) -> str:
    """How the strongest event moved the person, as the reader of memories understands it."""
    push = reply.appraisal.pushes[str(reply.strongest)]
    strength = nearest(load_wordings().push, abs(push))
    return f'moved me {strength} {"towards" if push >= 0 else "away from"} "{reply.question.favoured}"'


def _rationale(reply: Reply) -> str:
    """Reasons in sentences: the answer at rest and its source, events, people around."""
    favoured, tone = reply.question.favoured, reply.tone
    reasons = [pick(phrases.RESTS, tone).format(basis=reply.basis)]
    scale = load_wordings().push
    for index, (name, push) in enumerate(reply.appraisal.pushes.items()):
        words = pick(phrases.PUSHED, tone // 3 + index)
        strength, way = nearest(scale, abs(push)), "towards" if push >= 0 else "away from"
        event = _in_words(name)
        reasons.append(
            words.format(event=event, Event=event.capitalize(), strength=strength, way=way, favoured=favoured)
        )
    stance = reply.appraisal.peer_stance
    if stance is not None:
        side = "are divided" if abs(stance) < 0.15 else f'lean {"towards" if stance > 0 else "away from"} "{favoured}"'
        reasons.append(pick(phrases.AROUND, tone // 9).format(side=side))
    return " ".join(reasons)


def _in_words(event: str) -> str:
    return event.replace("-", " ").replace("_", " ")
