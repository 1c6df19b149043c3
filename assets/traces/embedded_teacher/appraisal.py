"""The appraisal model: how events, peers and memory move the channels of one person, and the answer with them.

Notation: c₀ channels of the person at rest, c channels before the step, lean ∈ [−1, 1] the mean option score of the
person's current answer, e events that reached the person, s stances that neighbours stated, m remembered pushes.

    trust_e      = clip(base(source type, institutional trust) + 0.4·align(party, channel), 0, 1)
    congruence_e = valence_e · lean
    push_e       = valence_e · credibility_e · (0.4 + 0.6·trust_e) · accept(congruence_e) · novelty_e
                   · (1 − 0.4·max(0, fatigue))
    novelty_e    = 1 at the first meeting, 0.4 once the event is remembered
    accept(g)    = 1 for g ≥ 0; 1 − 1.2·|g| down to 0.1 below (the latitude of acceptance)
    net          = Σ push_e + 0.5·Σ m·0.8^age, over remembered events that are not met again
    channel      ← channel + rate · (target − channel), target a function of c₀, net, s̄ and lean (see `_targets`)
    shift        = κ·ε + 1.2·Δidentity_alignment + 1.2·Δfairness + 0.5·Δsocial_proof + 0.5·Δself_interest, Δ = c − c₀
    logit_o      = log p₀(o | attributes) + score_o · shift

ε is the person's own deviation from the response model, drawn once per person and question, and κ its scale; p₀ comes
from the response models.

Sources: Lazarus (1991), appraisal of relevance and congruence; Hovland & Weiss (1951), source credibility; Petty &
Cacioppo (1986), elaboration; Sherif & Hovland (1961), latitude of acceptance; Brehm (1966), reactance; Friedkin &
Johnsen (1990), social influence with attachment to the initial opinion; Cacioppo & Petty (1979), repetition and tedium.
The forms and constants are this project's; they are documented, not estimated.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from validation.channels import channel_names

CHANNELS = channel_names()
PERSON_SCALE = 0.8
"""κ: spread of individual deviations in logits per unit of option score."""

BASE_TRUST = {
    "government": 0.35,
    "expert": 0.55,
    "media": 0.4,
    "activist": 0.35,
    "company": 0.3,
    "peer": 0.55,
    "other": 0.4,
}
PARTISAN_CHANNEL = {"cable_news_left": "democrat", "cable_news_right": "republican"}
RATES = {
    "institutional_trust": 0.15,
    "source_trust": 0.4,
    "fairness": 0.5,
    "social_proof": 0.4,
    "self_interest": 0.25,
    "identity_alignment": 0.25,
    "perceived_risk": 0.3,
    "efficacy": 0.15,
    "moral_conviction": 0.15,
    "curiosity": 0.4,
    "reactance": 0.5,
    "fatigue": 0.3,
}
SHIFT = {"identity_alignment": 1.2, "fairness": 1.2, "social_proof": 0.5, "self_interest": 0.5}
MEMORY_WEIGHT, MEMORY_DECAY = 0.5, 0.8
NOVELTY_OF_KNOWN = 0.4


@dataclass(frozen=True)
class Event:
    """An event as the person met it."""

    name: str
    source_type: str
    channel: str
    valence: float
    credibility: float


@dataclass(frozen=True)
class Memory:
    """A push remembered from an earlier timestep, and the event behind it."""

    event: str
    push: float
    age: int


@dataclass(frozen=True)
class Person:
    """What does not change: attributes, the answer at rest, own deviation, channels at rest."""

    attributes: Mapping[str, str]
    options: Sequence[str]
    scores: Sequence[float]
    rest_probabilities: Sequence[float]
    deviation: float
    rest: Mapping[str, float]


@dataclass(frozen=True)
class Appraisal:
    """The outcome of one step: channels, answer, and what carried them."""

    channels: dict[str, float]
    probabilities: list[float]
    lean: float
    pushes: dict[str, float]
    peer_stance: float | None
    attention: tuple[float, float, float]


def meet(
    attributes: Mapping[str, str],
    question: str,
    options: Sequence[str],
    scores: Sequence[float],
    rest_probabilities: Sequence[float],
) -> Person:
    """The person behind a persona: the same persona and question always give the same person."""
    own = random.Random(f"{sorted(attributes.items())}/{question}")
    deviation = own.gauss(0.0, 1.0)
    lean = _lean(answer_probabilities(rest_probabilities, scores, PERSON_SCALE * deviation), scores)
    party = {"democrat": 1.0, "republican": -1.0}.get(attributes.get("party", ""), 0.0)
    has_degree = attributes.get("education") == "college_degree"
    devout = {"very": 1.0, "somewhat": 0.4}.get(attributes.get("religion_importance", ""), 0.0)
    centre = {
        "institutional_trust": 0.1 * party + (0.15 if has_degree else -0.1),
        "source_trust": 0.05 * party,
        "fairness": 0.7 * lean,
        "social_proof": 0.35 * lean,
        "self_interest": 0.3 * lean,
        "identity_alignment": 1.1 * lean,
        "perceived_risk": -0.2 * lean,
        "efficacy": 0.2 if has_degree else -0.05,
        "moral_conviction": 0.3 * devout + 0.5 * abs(lean) - 0.2,
        "curiosity": 0.2 if has_degree else 0.0,
        "reactance": -0.5,
        "fatigue": -0.6,
    }
    rest = {name: math.tanh(centre[name] + 0.18 * own.gauss(0.0, 1.0)) for name in CHANNELS}
    return Person(attributes, options, scores, rest_probabilities, deviation, rest)


def appraise(
    person: Person,
    before: Mapping[str, float] | None,
    events: Sequence[Event],
    peer_stances: Sequence[float],
    memories: Sequence[Memory],
) -> Appraisal:
    """One step of one person.

    Args:
        person: from `meet`.
        before: channels before the step; None for the initial state, which nothing can have moved.
        events: events that reached the person.
        peer_stances: stances that neighbours stated, −1…1.
        memories: pushes remembered from earlier steps.
    """
    channels = dict(person.rest if before is None else before)
    lean = _lean(_answer(person, channels), person.scores)
    known = {memory.event for memory in memories}
    pushes = {
        event.name: _push(event, person, channels, lean) * (NOVELTY_OF_KNOWN if event.name in known else 1.0)
        for event in events
    }
    remembered = sum(memory.push * MEMORY_DECAY**memory.age for memory in memories if memory.event not in pushes)
    peers = sum(peer_stances) / len(peer_stances) if peer_stances else None
    if before is not None:
        net = sum(pushes.values()) + MEMORY_WEIGHT * remembered
        for name, target in _targets(person, channels, events, pushes, net, peers, lean).items():
            channels[name] = _clip(channels[name] + RATES[name] * (target - channels[name]), -1.0, 1.0)
    probabilities = _answer(person, channels)
    weights = (
        0.2 + sum(abs(push) for push in pushes.values()) * 4 if events else 0.0,
        0.3 if peer_stances else 0.0,
        0.1 + abs(remembered) if memories else 0.1,
    )
    total = sum(weights)
    attention = (weights[0] / total, weights[1] / total, weights[2] / total)
    return Appraisal(channels, probabilities, _lean(probabilities, person.scores), pushes, peers, attention)


def answer_probabilities(rest: Sequence[float], scores: Sequence[float], shift: float) -> list[float]:
    """Probabilities at rest, shifted along the option scores: p_o ∝ p₀_o · exp(score_o · shift)."""
    logits = [math.log(max(p, 1e-6)) + score * shift for p, score in zip(rest, scores, strict=True)]
    highest = max(logits)
    weights = [math.exp(logit - highest) for logit in logits]
    total = sum(weights)
    return [weight / total for weight in weights]


def _answer(person: Person, channels: Mapping[str, float]) -> list[float]:
    shift = PERSON_SCALE * person.deviation
    shift += sum(weight * (channels[name] - person.rest[name]) for name, weight in SHIFT.items())
    return answer_probabilities(person.rest_probabilities, person.scores, shift)


def _push(event: Event, person: Person, channels: Mapping[str, float], lean: float) -> float:
    congruence = event.valence * lean
    accepted = 1.0 if congruence >= 0 else max(0.1, 1.0 - 1.2 * abs(congruence))
    trust = _trust(event, person, channels)
    tired = 1.0 - 0.4 * max(0.0, channels["fatigue"])
    return event.valence * event.credibility * (0.4 + 0.6 * trust) * accepted * tired


def _trust(event: Event, person: Person, channels: Mapping[str, float]) -> float:
    base = BASE_TRUST.get(event.source_type, BASE_TRUST["other"])
    if event.source_type in ("government", "expert"):
        base += 0.25 * channels["institutional_trust"]
    partisan = PARTISAN_CHANNEL.get(event.channel)
    party = person.attributes.get("party")
    if partisan is not None and party in PARTISAN_CHANNEL.values():
        base += 0.4 if party == partisan else -0.4
    return _clip(base, 0.0, 1.0)


def _targets(
    person: Person,
    channels: Mapping[str, float],
    events: Sequence[Event],
    pushes: Mapping[str, float],
    net: float,
    peers: float | None,
    lean: float,
) -> dict[str, float]:
    """Where each channel is drawn to; alone, all are drawn back to rest, curiosity once fatigue is gone."""
    rest = person.rest
    trusts = [_trust(event, person, channels) for event in events]
    contrary = sum(max(0.0, -event.valence * lean) * (1.0 - trust) for event, trust in zip(events, trusts, strict=True))
    danger = sum(max(0.0, -event.valence) * event.credibility for event in events)
    official = sum(pushes[event.name] for event in events if event.source_type in ("government", "expert"))
    return {
        "institutional_trust": rest["institutional_trust"] + 0.3 * abs(official) - 0.3 * contrary,
        "source_trust": 2.0 * (sum(trusts) / len(trusts)) - 0.8 if trusts else rest["source_trust"],
        "fairness": rest["fairness"] + 1.4 * net,
        "social_proof": rest["social_proof"] if peers is None else 0.3 * rest["social_proof"] + 0.7 * peers,
        "self_interest": rest["self_interest"] + 0.6 * net,
        "identity_alignment": rest["identity_alignment"] + 0.6 * net,
        "perceived_risk": rest["perceived_risk"] + 0.6 * danger,
        "efficacy": rest["efficacy"] + (0.0 if peers is None else 0.3 * peers * lean),
        "moral_conviction": rest["moral_conviction"] + 0.4 * abs(net),
        "curiosity": rest["curiosity"] + 0.35 * min(len(events), 2) - 0.3 * max(0.0, channels["fatigue"]),
        "reactance": rest["reactance"] + 1.5 * contrary,
        "fatigue": rest["fatigue"] + 0.4 * min(len(events), 3),
    }


def _lean(probabilities: Sequence[float], scores: Sequence[float]) -> float:
    return sum(p * score for p, score in zip(probabilities, scores, strict=True))


def _clip(value: float, lowest: float, highest: float) -> float:
    return min(highest, max(lowest, value))
