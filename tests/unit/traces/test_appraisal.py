"""The appraisal model on cases worked out by hand; its laws are in tests/property/test_elicitation_laws.py."""

import math
from dataclasses import replace

import pytest

from assets.traces.embedded_teacher.appraisal import (
    PERSON_SCALE,
    RATES,
    SHIFT,
    Event,
    Memory,
    Person,
    answer_probabilities,
    appraise,
    meet,
)
from validation.channels import channel_names

NEUTRAL = Person({}, ["yes", "no"], [1.0, -1.0], [0.5, 0.5], 0.0, dict.fromkeys(channel_names(), 0.0))
DEMOCRAT = replace(NEUTRAL, attributes={"party": "democrat"})
NEWS = Event("news", "media", "broadcast", 0.5, 0.8)
PUSH = 0.5 * 0.8 * (0.4 + 0.6 * 0.4)
"""valence × credibility × (0.4 + 0.6 × trust in media); a neutral person accepts fully and is not tired."""


def test_constants_cover_the_channels() -> None:
    assert set(RATES) == set(channel_names())
    assert set(SHIFT) <= set(RATES)


def test_a_push_is_the_product_of_its_factors() -> None:
    after = appraise(NEUTRAL, NEUTRAL.rest, [NEWS], [], [])
    assert after.pushes == {"news": pytest.approx(PUSH)}
    assert after.channels["fairness"] == pytest.approx(RATES["fairness"] * 1.4 * PUSH)
    shift = (1.2 * 0.5 * 1.4 + 1.2 * 0.25 * 0.6 + 0.5 * 0.25 * 0.6) * PUSH
    assert after.probabilities[0] == pytest.approx(1 / (1 + math.exp(-2 * shift)))
    assert after.lean == pytest.approx(math.tanh(shift))


def test_a_tired_person_is_moved_less() -> None:
    tired = {**NEUTRAL.rest, "fatigue": 0.5}
    assert appraise(NEUTRAL, tired, [NEWS], [], []).pushes["news"] == pytest.approx(0.8 * PUSH)


def test_a_partisan_channel_is_trusted_by_its_side_and_doubted_by_the_other() -> None:
    left = replace(NEWS, channel="cable_news_left")
    right = replace(NEWS, channel="cable_news_right")
    assert appraise(DEMOCRAT, NEUTRAL.rest, [left], [], []).pushes["news"] == pytest.approx(0.4 * (0.4 + 0.6 * 0.8))
    assert appraise(DEMOCRAT, NEUTRAL.rest, [right], [], []).pushes["news"] == pytest.approx(0.4 * 0.4)
    assert appraise(NEUTRAL, NEUTRAL.rest, [right], [], []).pushes["news"] == pytest.approx(PUSH)


def test_what_contradicts_a_stance_is_accepted_less_and_never_reverses() -> None:
    believer = replace(NEUTRAL, rest_probabilities=[0.75, 0.25])
    against = replace(NEWS, valence=-0.5)
    push = appraise(believer, believer.rest, [against], [], []).pushes["news"]
    assert push == pytest.approx(-PUSH * (1 - 1.2 * 0.25))
    zealot = replace(NEUTRAL, rest_probabilities=[0.999, 0.001])
    harsh = replace(NEWS, valence=-1.0)
    assert appraise(zealot, zealot.rest, [harsh], [], []).pushes["news"] == pytest.approx(-2 * PUSH * 0.1)


def test_a_memory_pushes_half_as_much_and_fades() -> None:
    fresh = appraise(NEUTRAL, NEUTRAL.rest, [], [], [Memory("news", 0.2, 0)])
    old = appraise(NEUTRAL, NEUTRAL.rest, [], [], [Memory("news", 0.2, 3)])
    assert fresh.channels["fairness"] == pytest.approx(RATES["fairness"] * 1.4 * 0.5 * 0.2)
    assert old.channels["fairness"] == pytest.approx(fresh.channels["fairness"] * 0.8**3)


def test_a_memory_of_what_is_met_again_does_not_push_twice() -> None:
    met_again = appraise(NEUTRAL, NEUTRAL.rest, [NEWS], [], [Memory("news", 0.9, 0)])
    assert met_again.channels["fairness"] == pytest.approx(RATES["fairness"] * 1.4 * 0.4 * PUSH)


def test_people_around_draw_social_proof_to_their_mean_stance() -> None:
    after = appraise(NEUTRAL, NEUTRAL.rest, [], [1.0, 0.0], [])
    assert after.peer_stance == 0.5
    assert after.channels["social_proof"] == pytest.approx(RATES["social_proof"] * 0.7 * 0.5)
    assert after.lean > 0 > appraise(NEUTRAL, NEUTRAL.rest, [], [-1.0, 0.0], []).lean


def test_without_a_shift_the_answer_is_the_answer_at_rest() -> None:
    assert answer_probabilities([0.2, 0.5, 0.3], [1.0, 0.0, -1.0], 0.0) == pytest.approx([0.2, 0.5, 0.3])


def test_the_same_persona_is_the_same_person_and_another_is_another() -> None:
    asked = ("q", ["yes", "no"], [1.0, -1.0], [0.5, 0.5])
    one = meet({"person": "1", "party": "democrat"}, *asked)
    assert meet({"party": "democrat", "person": "1"}, *asked) == one
    assert meet({"person": "2", "party": "democrat"}, *asked).deviation != one.deviation
    assert meet({"person": "1", "party": "democrat"}, "r", *asked[1:]).deviation != one.deviation


def test_deviations_have_the_declared_scale_and_leave_the_average_alone() -> None:
    """4,000 persons of one persona: logits at rest scatter with 2κ around those of the response model."""
    people = [meet({"person": str(i)}, "q", ["yes", "no"], [1.0, -1.0], [0.5, 0.5]) for i in range(4_000)]
    answers = [appraise(person, None, [], [], []).probabilities for person in people]
    logits = [math.log(yes / no) for yes, no in answers]
    mean = sum(logits) / len(logits)
    spread = (sum((logit - mean) ** 2 for logit in logits) / len(logits)) ** 0.5
    assert mean == pytest.approx(0.0, abs=4 * 2 * PERSON_SCALE / 4_000**0.5)
    assert spread == pytest.approx(2 * PERSON_SCALE, rel=0.05)
