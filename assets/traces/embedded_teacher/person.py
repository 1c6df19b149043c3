"""The person behind a persona: where they stand before anything happens, and how they differ from their like.

Notation: p₀ the response model's probabilities for people of these attributes, s option scores, κ the item's spread
between such people, ρ its stability, θ the person's standard normal trait, shared by all items of one survey.

    p(o | θ)  ∝ exp(b_o + s_o·κ√ρ·θ),   b such that E_θ[p(o | θ)] = p₀(o)
    noise_i   = redraw_share · κ·√(1 − ρ) · education_i · exp(h·N(0, 1))

b is found by iterative proportional fitting over Gauss–Hermite nodes, so that people differ without moving the shares
that were estimated. Legend: K nodes of the trait, O options.

Sources: Rasch-type models with a person trait (De Boeck & Wilson 2004, Explanatory Item Response Models, chapter 2);
Zeger, Liang & Albert (1988), population-averaged against subject-specific models; Friedkin & Johnsen (1990).
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.polynomial.hermite_e import hermegauss

from assets.traces.embedded_teacher.constants import number, numbers
from validation.channels import channel_names

CHANNELS = channel_names()
NUM_NODES, MOST_SWEEPS, CLOSE_ENOUGH = 15, 200, 1e-3
NODES_K, _WEIGHTS_K = hermegauss(NUM_NODES)
WEIGHTS_K = _WEIGHTS_K / _WEIGHTS_K.sum()
REST_SPREAD = 0.18
"""Standard deviation of a channel at rest between people of equal attributes and lean; ours."""


@dataclass(frozen=True)
class Person:
    """What does not change: attributes, the answer at rest, channels at rest, and how easily they are moved."""

    attributes: Mapping[str, str]
    options: Sequence[str]
    scores: Sequence[float]
    rest_logits: Sequence[float]
    rest: Mapping[str, float]
    susceptibility: float
    redraw_noise: float


def person_scale(item: str | None) -> float:
    """κ of a survey item, or the usual one."""
    return numbers("person_scale").get(item or "", number("usual_person_scale"))


def meet(
    attributes: Mapping[str, str],
    question: str,
    item: str | None,
    survey: str,
    options: Sequence[str],
    scores: Sequence[float],
    average_probabilities: Sequence[float],
) -> Person:
    """The person behind a persona: the same persona and question always give the same person.

    Args:
        attributes: who they are, with the persona's number.
        question: question id; channels at rest differ between questions.
        item: survey item that asks the question, if any.
        survey: survey of the response model; its items share the person's trait.
        options: options in order.
        scores: their scores, 1 to −1.
        average_probabilities: answer of people of these attributes, on average.
    """
    identity = str(sorted(attributes.items()))
    trait = random.Random(f"{identity}/{survey}").gauss(0.0, 1.0)
    own = random.Random(f"{identity}/{question}")
    scale = person_scale(item)
    stability = number("trait_stability")
    stable = scale * math.sqrt(stability)
    base = centred_logits(tuple(average_probabilities), tuple(scores), stable)
    logits = [logit + score * stable * trait for logit, score in zip(base, scores, strict=True)]
    lean = mean_score(softmax(logits), scores)
    noise = number("redraw_share") * scale * math.sqrt(1.0 - stability)
    noise *= numbers("redraw_noise_of_education").get(attributes.get("education", ""), 1.0)
    noise *= math.exp(number("redraw_heterogeneity") * own.gauss(0.0, 1.0))
    susceptibility = min(1.0, max(0.0, own.gauss(number("susceptibility"), number("susceptibility_spread"))))
    rest = {
        name: math.tanh(centre + REST_SPREAD * own.gauss(0.0, 1.0))
        for name, centre in _centre(attributes, lean).items()
    }
    return Person(attributes, options, scores, logits, rest, susceptibility, noise)


@lru_cache(maxsize=4096)
def centred_logits(average: tuple[float, ...], scores: tuple[float, ...], scale: float) -> tuple[float, ...]:
    """Logits b whose probabilities, averaged over a standard normal trait that shifts them by score · scale, are given.

    Args:
        average: probabilities to be met on average, positive.
        scores: option scores.
        scale: shift per unit of score and standard deviation of the trait.
    """
    wanted_O = np.log(np.maximum(np.array(average), 1e-6))
    base_O = wanted_O.copy()
    shift_KO = scale * NODES_K[:, None] * np.array(scores)
    for _ in range(MOST_SWEEPS if scale > 0 else 0):
        weight_KO = np.exp(base_O + shift_KO - (base_O + shift_KO).max(axis=1, keepdims=True))
        met_O = WEIGHTS_K @ (weight_KO / weight_KO.sum(axis=1, keepdims=True))
        step_O = wanted_O - np.log(np.maximum(met_O, 1e-12))
        base_O += step_O
        if np.abs(step_O).max() < CLOSE_ENOUGH:
            break
    return tuple(base_O.tolist())


def softmax(logits: Sequence[float]) -> list[float]:
    """Probabilities of logits."""
    highest = max(logits)
    weights = [math.exp(logit - highest) for logit in logits]
    total = sum(weights)
    return [weight / total for weight in weights]


def mean_score(probabilities: Sequence[float], scores: Sequence[float]) -> float:
    """The stance of an answer, −1…1: its mean option score."""
    return sum(p * score for p, score in zip(probabilities, scores, strict=True))


def speaker_trust(source_type: str, attributes: Mapping[str, str]) -> float:
    """Trust in a kind of speaker by who the person is, 0…1, before anything that the person went through."""
    base = numbers("source_trust").get(source_type)
    if base is None:
        return number("source_trust_otherwise")
    party = {"democrat": 1.0, "republican": -1.0}.get(attributes.get("party", ""), 0.0)
    base += party * numbers("source_trust_of_party")[source_type]
    if attributes.get("education") == "college_degree":
        base += numbers("source_trust_of_degree")[source_type]
    return min(1.0, max(0.0, base))


def _centre(attributes: Mapping[str, str], lean: float) -> dict[str, float]:
    """Channels at rest, before the person's own deviation; institutional trust is estimated, the others are ours."""
    has_degree = attributes.get("education") == "college_degree"
    devout = {"very": 1.0, "somewhat": 0.4}.get(attributes.get("religion_importance", ""), 0.0)
    trust = speaker_trust("government", attributes)
    centre = {
        "institutional_trust": 2.0 * trust - 1.0,
        "source_trust": 0.0,
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
    return {name: centre[name] for name in CHANNELS}
