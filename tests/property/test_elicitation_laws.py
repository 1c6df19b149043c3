"""Laws of elicitation: appraisal, exposure, the reading of prompts and answers."""

import json
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from assets.traces.answers import MalformedAnswer, read_answer
from assets.traces.embedded_teacher.appraisal import Event, Memory, answer, appraise
from assets.traces.embedded_teacher.notes import EventNote, EventNotes
from assets.traces.embedded_teacher.person import Person, centred_logits, softmax
from assets.traces.embedded_teacher.reading import AskedQuestion, read_situation
from assets.traces.prompts import Step, render_event, render_step
from validation.attributes import ATTRIBUTES
from validation.channels import channel_names
from validation.events import EVENT_CHANNELS, SOURCE_TYPES
from validation.exposure import exposed_agents, uniform_per_agent

CHANNELS = channel_names()
unit = st.floats(0.0, 1.0)
signed = st.floats(-1.0, 1.0)


@st.composite
def persons(draw: st.DrawFn) -> Person:
    """A person with any attributes, any answer at rest and any channels at rest."""
    options = [f"option {index}" for index in range(draw(st.integers(2, 5)))]
    attributes = {item.name: draw(st.sampled_from(item.levels)) for item in ATTRIBUTES}
    logits = draw(st.lists(st.floats(-4.0, 4.0), min_size=len(options), max_size=len(options)))
    scores = np.linspace(1.0, -1.0, len(options)).tolist()
    rest = draw(st.fixed_dictionaries(dict.fromkeys(CHANNELS, st.floats(-0.99, 0.99))))
    return Person(attributes, options, scores, logits, rest, draw(unit), draw(unit))


@st.composite
def events(draw: st.DrawFn, name: str = "news", valence: st.SearchStrategy[float] = signed) -> Event:
    source, channel = draw(st.sampled_from(SOURCE_TYPES)), draw(st.sampled_from(EVENT_CHANNELS))
    return Event(name, source, channel, draw(valence), draw(unit))


states = st.fixed_dictionaries(dict.fromkeys(CHANNELS, signed))
many_events = st.lists(st.integers(0, 3), max_size=3, unique=True).flatmap(
    lambda ids: st.tuples(*(events(f"event-{index}") for index in ids)).map(list)
)
many_memories = st.lists(
    st.builds(Memory, st.sampled_from(["event-0", "event-9"]), st.floats(-1.0, 1.0), st.integers(1, 9)), max_size=3
)


@given(persons(), many_events, st.lists(signed, max_size=3), many_memories)
def test_the_initial_state_is_rest_whatever_is_shown(person, shown, peers, memories) -> None:
    assert appraise(person, None, shown, peers, memories).channels == person.rest


@given(persons(), states, many_events, st.lists(signed, max_size=3), many_memories)
def test_channels_and_probabilities_stay_in_their_ranges(person, before, shown, peers, memories) -> None:
    after = appraise(person, before, shown, peers, memories)
    assert all(-1.0 <= value <= 1.0 for value in after.channels.values())
    assert sum(after.probabilities) == pytest.approx(1.0)
    assert min(after.probabilities) > 0
    assert sum(after.attention) == pytest.approx(1.0)
    assert -1.0 <= after.lean <= 1.0


@given(persons(), states)
def test_left_alone_channels_return_to_rest_monotonically(person, before) -> None:
    assume(person.rest["fatigue"] <= 0)  # fatigue above zero holds curiosity down
    channels = before
    for _ in range(6):
        after = appraise(person, channels, [], [], []).channels
        for name in CHANNELS:
            if name == "curiosity" and channels["fatigue"] > 0:
                continue
            gap, gap_after = channels[name] - person.rest[name], after[name] - person.rest[name]
            assert abs(gap_after) <= abs(gap) + 1e-12
            assert gap * gap_after >= -1e-12, "it does not pass rest"
        channels = after
    assert abs(channels["fairness"] - person.rest["fairness"]) <= 0.5**6 * 2 + 1e-9


@given(persons(), events(valence=st.floats(0.01, 1.0)))
def test_an_event_moves_the_lean_to_the_side_that_it_pushes(person, event) -> None:
    mirrored = Event(event.name, event.source_type, event.channel, -event.valence, event.credibility)
    at_rest = appraise(person, None, [], [], []).lean
    assert appraise(person, person.rest, [event], [], []).lean >= at_rest - 1e-12
    assert appraise(person, person.rest, [mirrored], [], []).lean <= at_rest + 1e-12


@given(persons(), events(), unit)
def test_more_credible_events_shift_at_least_as_much(person, event, other_credibility) -> None:
    def shift(credibility: float) -> float:
        told = Event(event.name, event.source_type, event.channel, event.valence, credibility)
        return abs(appraise(person, person.rest, [told], [], []).lean - appraise(person, None, [], [], []).lean)

    low, high = sorted((event.credibility, other_credibility))
    assert shift(low) <= shift(high) + 1e-12


@given(persons(), events(valence=st.floats(0.01, 1.0)))
def test_a_known_event_pushes_less_the_same_way(person, event) -> None:
    new = appraise(person, person.rest, [event], [], []).pushes["news"]
    known = appraise(person, person.rest, [event], [], [Memory("news", 0.1, 1)]).pushes["news"]
    assert known == pytest.approx(0.4 * new)


@given(persons(), st.floats(-3.0, 3.0))
def test_shifts_change_log_odds_by_the_difference_of_scores(person, shift) -> None:
    shifted = answer(person, person.rest, shift)
    change = math.log(shifted[0] / shifted[-1]) - (person.rest_logits[0] - person.rest_logits[-1])
    assert change == pytest.approx(2.0 * shift, abs=1e-6)


@given(st.lists(st.floats(0.02, 1.0), min_size=2, max_size=5), st.floats(0.0, 3.0))
def test_however_far_people_differ_their_average_is_the_response_model(weights, scale) -> None:
    average = [weight / sum(weights) for weight in weights]
    scores = np.linspace(1.0, -1.0, len(average)).tolist()
    base = centred_logits(tuple(average), tuple(scores), scale)
    nodes, node_weights = np.polynomial.hermite_e.hermegauss(41)
    met = sum(
        weight * np.array(softmax([b + score * scale * node for b, score in zip(base, scores, strict=True)]))
        for node, weight in zip(nodes, node_weights / node_weights.sum(), strict=True)
    )
    np.testing.assert_allclose(met, average, atol=0.02)


ASKED = AskedQuestion("s", "q", None, ("yes", "no"), (1.0, -1.0), is_classification=True, unit="week")


@given(
    signed,
    unit,
    st.sampled_from(SOURCE_TYPES),
    st.sampled_from(EVENT_CHANNELS),
    st.lists(signed, min_size=12, max_size=12),
)
def test_what_is_rendered_is_what_is_read(valence, credibility, source, channel, state) -> None:
    line = render_event(
        {
            "name": "the-news", "source_name": "a paper by | someone by night", "source_type": source,
            "channel": channel, "valence": valence, "credibility": credibility, "framing": "f", "text": "t",
        }
    )  # fmt: skip
    step = Step(4, exposures=[line], state=(state, (0.25, 0.75)))
    notes = EventNotes({("s", "the-news"): EventNote(valence, credibility)})
    read = read_situation(render_step("- person: 7\n- age: 30", "week", step, ["yes", "no"]), ASKED, notes)
    assert read.events == (Event("the-news", source, channel, valence, credibility),)
    assert read.timestep == 4
    assert read.channels is not None
    assert list(read.channels.values()) == pytest.approx(state, abs=0.0051)


@given(
    st.text(max_size=40)
    | st.recursive(st.none() | st.booleans() | st.floats() | st.integers(), st.lists).map(json.dumps)
)
def test_anything_but_an_answer_is_malformed_and_nothing_else(content) -> None:
    with pytest.raises(MalformedAnswer):
        read_answer(content, ["yes", "no"])


people = pl.DataFrame({"agent_id": range(60), "age": [18 + index for index in range(60)]})
no_ties = pl.DataFrame(schema={"src": pl.Int64, "dst": pl.Int64, "tie_type": pl.String})
no_media = pl.DataFrame(schema={"source_id": pl.Int64, "source_type": pl.String})


def _event(reach: float, where: str | None = None) -> dict[str, object]:
    return {"scenario_id": "s", "name": "e", "channel": "broadcast", "reach": reach, "exposure_where": where}


@given(
    st.integers(0, 2**31),
    unit,
    st.permutations(range(60)).flatmap(lambda order: st.integers(0, 60).map(lambda k: order[:k])),
)
def test_exposure_depends_on_the_agent_alone(seed, reach, chosen) -> None:
    everybody = exposed_agents(_event(reach, "age >= 40"), people, no_ties, no_media, seed)
    subset = exposed_agents(_event(reach, "age >= 40"), people[list(chosen)], no_ties, no_media, seed)
    assert subset.tolist() == everybody[list(chosen)].tolist()


@given(st.integers(0, 2**31), unit, unit)
def test_who_is_reached_stays_reached_when_reach_grows(seed, one, other) -> None:
    low, high = (exposed_agents(_event(r), people, no_ties, no_media, seed) for r in sorted((one, other)))
    assert not (low & ~high).any()


@given(st.text(max_size=20), st.integers(0, 2**62))
def test_numbers_of_agents_lie_in_the_unit_interval(key, seed) -> None:
    draws = uniform_per_agent(key, np.arange(100), seed)
    assert ((draws >= 0) & (draws < 1)).all()
    assert np.unique(draws).size == 100
