"""The appraisal model: how events, peers and memory move the channels of one person, and the answer with them.

Notation: c₀ channels of the person at rest, c channels before the step, ℓ ∈ [−1, 1] the mean option score of the
person's current answer, e events that reached the person, v_e valence, k_e credibility, m remembered pushes.

    trust_e  = clip(speaker(type, party, degree) + 0.25·(c − c₀)[institutional trust] ± partisan channel, 0, 1)
    accept_e = λ^q / (λ^q + |v_e − ℓ|^q)
    push_e   = g · v_e · k_e · (f + (1 − f)·trust_e) · accept_e · novelty_e · (1 − d·max(0, fatigue))
    R(t)     = k / ((log₁₀ minutes)^c + k), the part of a push that is still remembered after time t
    net      = Σ push_e + w·Σ m·R(age), over remembered events that are not met again
    channel  ← channel + rate · (target − channel), target a function of c₀, net, s̄ and ℓ (see `_targets`)
    shift    = 1.2·Δidentity + 1.2·Δfairness + 0.5·Δself_interest + (σ_i / 0.6)·Δsocial_proof, Δ = c − c₀
    logit_o  = logit of the person at rest + score_o · shift

σ_i is the person's weight of other people's stance: to first order in it the answer moves by σ_i of the way to what the
people around say, and what is not heard any more fades, because every channel returns to rest: attachment to the
initial answer as in Friedkin and Johnsen. 0.6 is the variance of scores at which that holds exactly.

Sources: Lazarus (1991), appraisal of relevance and congruence; Hovland & Weiss (1951), source credibility; Petty &
Cacioppo (1986), elaboration; Sherif & Hovland (1961) and Lorenz, Neumann & Schröder (2021), latitude of acceptance;
Lord, Ross & Lepper (1979), biased assimilation; Ebbinghaus (1885), forgetting; Brehm (1966), reactance; Friedkin &
Johnsen (1990), attachment to the initial opinion; Cacioppo & Petty (1979), repetition and tedium. constants.yaml says
of its numbers whether they are estimated, published or ours; rates, targets and weights in this file are ours.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assets.traces.embedded_teacher.constants import number, numbers
from assets.traces.embedded_teacher.person import Person, mean_score, softmax, speaker_trust

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
SHIFT = {"identity_alignment": 1.2, "fairness": 1.2, "self_interest": 0.5}
TYPICAL_SCORE_VARIANCE = 0.6
"""Variance of option scores in a divided answer: 1 for two options, ½ for five equally likely ones."""
MINUTES = {"day": 1_440.0, "week": 10_080.0, "month": 43_830.0, "quarter": 131_490.0, "year": 525_960.0}


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
    """A push remembered from an earlier timestep, and the event behind it; `age` in timesteps, at least one."""

    event: str
    push: float
    age: int


@dataclass(frozen=True)
class Appraisal:
    """The outcome of one step: channels, answer, and what carried them."""

    channels: dict[str, float]
    probabilities: list[float]
    lean: float
    pushes: dict[str, float]
    peer_stance: float | None
    attention: tuple[float, float, float]


def appraise(
    person: Person,
    before: Mapping[str, float] | None,
    events: Sequence[Event],
    peer_stances: Sequence[float],
    memories: Sequence[Memory],
    unit: str = "week",
) -> Appraisal:
    """One step of one person.

    Args:
        person: from `meet`.
        before: channels before the step; None for the initial state, which nothing can have moved.
        events: events that reached the person.
        peer_stances: stances that neighbours stated, −1…1.
        memories: pushes remembered from earlier steps.
        unit: calendar unit of a timestep, a key of `MINUTES`.
    """
    channels = dict(person.rest if before is None else before)
    lean = mean_score(answer(person, channels), person.scores)
    known = {memory.event for memory in memories}
    pushes = {
        event.name: _push(event, person, channels, lean) * (number("novelty_of_known") if event.name in known else 1.0)
        for event in events
    }
    remembered = sum(memory.push * retention(memory.age, unit) for memory in memories if memory.event not in pushes)
    peers = sum(peer_stances) / len(peer_stances) if peer_stances else None
    if before is not None:
        net = sum(pushes.values()) + number("memory_weight") * remembered
        for name, target in _targets(person, channels, events, pushes, net, peers, lean).items():
            channels[name] = _clip(channels[name] + RATES[name] * (target - channels[name]), -1.0, 1.0)
    probabilities = answer(person, channels)
    weights = (
        0.2 + sum(abs(push) for push in pushes.values()) * 4 if events else 0.0,
        person.susceptibility if peer_stances else 0.0,
        0.1 + abs(remembered) if memories else 0.1,
    )
    total = sum(weights)
    attention = (weights[0] / total, weights[1] / total, weights[2] / total)
    return Appraisal(channels, probabilities, mean_score(probabilities, person.scores), pushes, peers, attention)


def retention(age: int, unit: str) -> float:
    """The part of what was met `age` timesteps ago that is still there, 0…1.

    Source: Ebbinghaus (1885), section 29, savings of the saving method, with his constants.
    """
    constants = numbers("forgetting")
    minutes = max(1.0, age * MINUTES[unit])
    return constants["k"] / (math.log10(minutes) ** constants["c"] + constants["k"])


def answer(person: Person, channels: Mapping[str, float], shift: float = 0.0) -> list[float]:
    """Probabilities of the options at given channels.

    Args:
        person: from `meet`.
        channels: channels by name.
        shift: added along the option scores, for noise.
    """
    shift += sum(weight * (channels[name] - person.rest[name]) for name, weight in SHIFT.items())
    others = person.susceptibility / TYPICAL_SCORE_VARIANCE
    shift += others * (channels["social_proof"] - person.rest["social_proof"])
    return softmax([logit + score * shift for logit, score in zip(person.rest_logits, person.scores, strict=True)])


def _push(event: Event, person: Person, channels: Mapping[str, float], lean: float) -> float:
    floor = number("trust_floor")
    weight = floor + (1.0 - floor) * _trust(event, person, channels)
    tired = 1.0 - number("fatigue_discount") * max(0.0, channels["fatigue"])
    strength = number("event_gain") * event.valence * event.credibility
    return strength * weight * acceptance(event.valence - lean) * tired


def acceptance(distance: float) -> float:
    """The part of a message that is accepted at a distance from the own stance, 0…1; one half at the latitude.

    Source: Lorenz, Neumann & Schröder (2021), Individual attitude change and societal dynamics, motivated cognition.
    """
    sharpness = number("acceptance_sharpness")
    near = number("acceptance_latitude") ** sharpness
    return near / (near + abs(distance) ** sharpness)


def _trust(event: Event, person: Person, channels: Mapping[str, float]) -> float:
    base = speaker_trust(event.source_type, person.attributes)
    if event.source_type in ("government", "expert"):
        base += 0.25 * (channels["institutional_trust"] - person.rest["institutional_trust"])
    partisan = PARTISAN_CHANNEL.get(event.channel)
    party = person.attributes.get("party")
    if partisan is not None and party in PARTISAN_CHANNEL.values():
        base += number("partisan_channel_trust") * (1.0 if party == partisan else -1.0)
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


def _clip(value: float, lowest: float, highest: float) -> float:
    return min(highest, max(lowest, value))
