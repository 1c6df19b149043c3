"""The appraisal model on cases worked out by hand; its laws are in tests/property/test_elicitation_laws.py."""

import math
from dataclasses import replace

import pytest

from assets.traces.embedded_teacher.appraisal import (
    MINUTES,
    RATES,
    SHIFT,
    Event,
    Memory,
    acceptance,
    appraise,
    retention,
)
from assets.traces.embedded_teacher.constants import load_constants, number, numbers
from assets.traces.embedded_teacher.person import Person, centred_logits, mean_score, meet, person_scale, softmax
from orchestration.settings import PROJECT_ROOT
from validation.channels import channel_names

NEUTRAL = Person({}, ["yes", "no"], [1.0, -1.0], [0.0, 0.0], dict.fromkeys(channel_names(), 0.0), 0.3, 0.0)
DEMOCRAT = replace(NEUTRAL, attributes={"party": "democrat"})
NEWS = Event("news", "media", "broadcast", 0.5, 0.8)
LATITUDE = number("acceptance_latitude")
ACCEPTED = LATITUDE**2 / (LATITUDE**2 + 0.5**2)
GAIN = number("event_gain")
PUSH = GAIN * 0.5 * 0.8 * (0.4 + 0.6 * numbers("source_trust")["media"]) * ACCEPTED
"""gain × valence × credibility × (floor + rest × trust in media) × acceptance at 0.5; nobody is tired."""


def test_constants_cover_channels_and_speakers_and_say_where_they_come_from() -> None:
    assert set(RATES) == set(channel_names())
    assert set(SHIFT) <= set(RATES)
    for name in ("source_trust_of_party", "source_trust_of_degree"):
        assert numbers(name).keys() == numbers("source_trust").keys()
    page = (PROJECT_ROOT / "docs" / "concepts" / "embedded-teacher.md").read_text(encoding="utf-8")
    for constant in load_constants().values():
        assert f"| `{constant.name}` | {constant.origin} |" in page, "every constant stands on the concept page"


def test_a_constant_without_an_origin_is_refused(tmp_path) -> None:
    file = tmp_path / "constants.yaml"
    file.write_text("speed: {value: 1, origin: guessed, source: none, meaning: none}\n", encoding="utf-8")
    with pytest.raises(ValueError, match="origins: estimated, published, ours"):
        load_constants(file)


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
    trust = numbers("source_trust")["media"] + numbers("source_trust_of_party")["media"]
    for event, expected in ((left, trust + 0.3), (right, trust - 0.3)):
        push = appraise(DEMOCRAT, NEUTRAL.rest, [event], [], []).pushes["news"]
        assert push == pytest.approx(GAIN * 0.4 * (0.4 + 0.6 * expected) * ACCEPTED)
    assert appraise(NEUTRAL, NEUTRAL.rest, [right], [], []).pushes["news"] == pytest.approx(PUSH)


def test_half_of_a_message_at_the_latitude_is_accepted_and_it_never_reverses() -> None:
    assert acceptance(0.0) == 1.0
    assert acceptance(LATITUDE) == acceptance(-LATITUDE) == pytest.approx(0.5)
    assert 0 < acceptance(2.0) < acceptance(1.0) < 1
    believer = replace(NEUTRAL, rest_logits=[1.5, -1.5])
    against = replace(NEWS, valence=-0.5)
    push = appraise(believer, believer.rest, [against], [], []).pushes["news"]
    assert push == pytest.approx(-PUSH / ACCEPTED * acceptance(0.5 + math.tanh(1.5)))


@pytest.mark.parametrize(
    ("unit", "age", "kept"), [("day", 1, 0.337), ("day", 2, 0.278), ("day", 6, 0.254), ("day", 31, 0.211)]
)
def test_what_is_kept_is_what_ebbinghaus_measured(unit: str, age: int, kept: float) -> None:
    """Savings of 33.7, 27.8, 25.4 and 21.1 % after 1, 2, 6 and 31 days: his table, his formula within 3.5 points."""
    assert retention(age, unit) == pytest.approx(kept, abs=0.035)


def test_longer_timesteps_forget_more() -> None:
    kept = [retention(1, unit) for unit in MINUTES]
    assert kept == sorted(kept, reverse=True)


def test_a_memory_pushes_by_what_is_kept_of_it() -> None:
    fresh = appraise(NEUTRAL, NEUTRAL.rest, [], [], [Memory("news", 0.2, 1)])
    old = appraise(NEUTRAL, NEUTRAL.rest, [], [], [Memory("news", 0.2, 4)])
    weight = number("memory_weight") * retention(1, "week")
    assert fresh.channels["fairness"] == pytest.approx(RATES["fairness"] * 1.4 * weight * 0.2)
    ratio = retention(4, "week") / retention(1, "week")
    assert old.channels["fairness"] == pytest.approx(fresh.channels["fairness"] * ratio)


def test_a_memory_of_what_is_met_again_does_not_push_twice() -> None:
    met_again = appraise(NEUTRAL, NEUTRAL.rest, [NEWS], [], [Memory("news", 0.9, 1)])
    assert met_again.channels["fairness"] == pytest.approx(RATES["fairness"] * 1.4 * 0.4 * PUSH)


def test_people_around_draw_by_the_weight_that_the_person_gives_them() -> None:
    after = appraise(NEUTRAL, NEUTRAL.rest, [], [1.0, 0.0], [])
    assert after.peer_stance == 0.5
    assert after.channels["social_proof"] == pytest.approx(RATES["social_proof"] * 0.7 * 0.5)
    assert after.lean > 0 > appraise(NEUTRAL, NEUTRAL.rest, [], [-1.0, 0.0], []).lean
    stubborn = replace(NEUTRAL, susceptibility=0.0)
    assert appraise(stubborn, NEUTRAL.rest, [], [1.0, 1.0], []).lean == 0.0


def test_the_same_persona_is_the_same_person_and_another_is_another() -> None:
    asked = ("q", "tax", "made", ["yes", "no"], [1.0, -1.0], [0.5, 0.5])
    one = meet({"person": "1", "party": "democrat"}, *asked)
    assert meet({"party": "democrat", "person": "1"}, *asked) == one
    assert meet({"person": "2", "party": "democrat"}, *asked).rest_logits != one.rest_logits


def test_items_of_one_survey_share_the_person() -> None:
    """Who leans to yes on one item leans to yes on the next, as the estimated trait says."""

    def lean(person: int, item: str, survey: str) -> float:
        met = meet({"person": str(person)}, item, item, survey, ["yes", "no"], [1.0, -1.0], [0.5, 0.5])
        return mean_score(softmax(met.rest_logits), met.scores)

    pairs = [(lean(i, "abortion_poor", "gss"), lean(i, "abortion_rape", "gss")) for i in range(60)]
    assert all(one * other >= 0 for one, other in pairs)
    others = [(lean(i, "abortion_poor", "gss"), lean(i, "abortion_rape", "another")) for i in range(60)]
    assert any(one * other < 0 for one, other in others)


@pytest.mark.parametrize("average", [[0.5, 0.5], [0.9, 0.1], [0.03, 0.97]])
def test_people_differ_by_the_estimated_spread_and_keep_the_estimated_share(average: list[float]) -> None:
    """3,000 persons of one persona: the mean probability is the response model's, logits scatter with 2κ√ρ."""
    people = [
        meet({"person": str(i)}, "q", "abortion_any_reason", "gss", ["yes", "no"], [1.0, -1.0], average)
        for i in range(3_000)
    ]
    shares = [softmax(person.rest_logits)[0] for person in people]
    logits = [person.rest_logits[0] - person.rest_logits[1] for person in people]
    mean, scale = sum(logits) / len(logits), 2 * person_scale("abortion_any_reason") * number("trait_stability") ** 0.5
    spread = (sum((logit - mean) ** 2 for logit in logits) / len(logits)) ** 0.5
    assert spread == pytest.approx(scale, rel=0.05)
    deviation = (sum((share - average[0]) ** 2 for share in shares) / len(shares)) ** 0.5
    assert sum(shares) / len(shares) == pytest.approx(average[0], abs=4 * deviation / 3_000**0.5 + 0.01)


def test_without_a_spread_the_average_is_the_person() -> None:
    assert softmax(centred_logits((0.2, 0.5, 0.3), (1.0, 0.0, -1.0), 0.0)) == pytest.approx([0.2, 0.5, 0.3])


def test_redraws_of_people_with_less_schooling_are_noisier_on_average() -> None:
    def noise(education: str) -> float:
        asked = ("q", "tax", "made", ["yes", "no"], [1.0, -1.0], [0.5, 0.5])
        return sum(meet({"person": str(i), "education": education}, *asked).redraw_noise for i in range(400)) / 400

    low, high = noise("college_degree"), noise("no_college_degree")
    assert high / low == pytest.approx(1.15 / 0.85, rel=0.1)
    assert low > 0


def test_an_event_moves_a_divided_question_by_a_few_points_and_holds_it_there() -> None:
    """The concept page says eight points."""
    event = Event("law", "government", "broadcast", 0.6, 0.7)
    first, last = [], []
    for index in range(300):
        asked = ("q", "abortion_any_reason", "gss", ["yes", "no"], [1.0, -1.0], [0.5, 0.5])
        person = meet({"person": str(index)}, *asked)
        start = appraise(person, None, [], [], [])
        step = appraise(person, start.channels, [event], [], [])
        first.append(step.probabilities[0] - start.probabilities[0])
        for _ in range(11):
            step = appraise(person, step.channels, [event], [], [Memory("law", step.pushes["law"], 1)])
        last.append(step.probabilities[0] - start.probabilities[0])
    assert sum(first) / 300 == pytest.approx(0.08, abs=0.015)
    assert sum(last) / 300 == pytest.approx(0.08, abs=0.02)
