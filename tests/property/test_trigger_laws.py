"""Laws of triggers: student and teacher start the same events, seldom enough, and nothing depends on interruptions.

Shares are whole hundredths and levels lie between them, so that no rounding decides.
"""

from itertools import pairwise

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.traces.event_reach import Triggers
from assets.traces.minds import Mind
from model.lsm.inputs import NEVER, Question, Timeline, Trigger
from model.lsm.triggers import TriggerWatch

QUESTION = Question("support", torch.ones(4), torch.eye(2, 4), torch.tensor([1.0, -1.0]), False)
SHARES = st.lists(st.integers(0, 100), min_size=1, max_size=30).map(lambda numbers: [n / 100 for n in numbers])


@st.composite
def triggers(draw: st.DrawFn) -> Trigger:
    """A trigger on the first option, with a lower level of its own or without."""
    above = draw(st.integers(0, 99))
    below = draw(st.none() | st.integers(0, above))
    return Trigger(
        event_index=0,
        question_index=0,
        option_index=0,
        share_above=(above + 0.5) / 100,
        hold_for=draw(st.integers(1, 4)),
        rearm_below=None if below is None else (below + 0.5) / 100,
    )


def waiting() -> Timeline:
    one = torch.ones(1)
    duration_V, source_type_V = torch.tensor([2]), torch.tensor([0])
    return Timeline(torch.ones(1, 4), one, one, source_type_V, torch.tensor([NEVER]), duration_V, torch.ones(1, 1))


def starts_of(trigger: Trigger, shares: list[float], interrupted_after: int | None = None) -> list[int]:
    """Start of the student's event after each timestep."""
    timeline, found = waiting(), []
    watch = TriggerWatch([trigger], [QUESTION], timeline)
    for timestep, share in enumerate(shares):
        answers_NO = torch.tensor([[share, 1 - share]], dtype=torch.float64)
        timeline = watch.observe(timeline, timestep, [answers_NO], None)
        found.append(int(timeline.start_V))
        if timestep == interrupted_after:
            held, is_armed, start_V = watch.held, watch.is_armed, timeline.start_V
            watch = TriggerWatch([trigger], [QUESTION], waiting())
            timeline = watch.resume(waiting(), start_V, held, is_armed)
    return found


def fired_in(starts: list[int]) -> list[int]:
    """Timesteps whose share started the event."""
    return [timestep for timestep, start in enumerate(starts) if start == timestep + 1]


@settings(deadline=None)
@given(triggers(), SHARES)
def test_the_teacher_starts_an_event_when_the_student_does(trigger, shares):
    row = {"name": "late", "trigger_question": "support", "trigger_option": "for", "share_above": trigger.share_above}
    watch = Triggers([row | {"rearm_below": trigger.rearm_below, "hold_for": trigger.hold_for}])
    starts = []
    for timestep, share in enumerate(shares):
        mind = Mind(probabilities=[share, 1 - share])
        watch.observe(timestep, {"name": "support", "options": ["for", "against"]}, {0: mind, 1: mind})
        starts.append(watch.start_of("late") or NEVER)
    assert starts == starts_of(trigger, shares)


@settings(deadline=None)
@given(triggers(), SHARES)
def test_an_event_starts_when_its_share_has_held_and_again_only_after_it_has_fallen(trigger, shares):
    fired = fired_in(starts_of(trigger, shares))
    for timestep in fired:
        assert min(shares[max(0, timestep - trigger.hold_for + 1) : timestep + 1]) > trigger.share_above
        assert timestep + 1 >= trigger.hold_for
    for before, after in pairwise(fired):
        assert min(shares[before + 1 : after]) <= trigger.rearms_at
    begins = range(len(shares) - trigger.hold_for + 1)
    assert bool(fired) == any(min(shares[at : at + trigger.hold_for]) > trigger.share_above for at in begins)


@settings(deadline=None)
@given(triggers(), SHARES, st.data())
def test_a_lower_level_that_is_lower_never_starts_an_event_more_often(trigger, shares, data):
    lower = data.draw(st.floats(0, trigger.rearms_at))
    deeper = Trigger(0, 0, 0, trigger.share_above, trigger.hold_for, lower)
    assert len(fired_in(starts_of(deeper, shares))) <= len(fired_in(starts_of(trigger, shares)))


@settings(deadline=None)
@given(triggers(), SHARES, st.integers(0, 29))
def test_an_interruption_changes_no_start(trigger, shares, interrupted_after):
    assert starts_of(trigger, shares, interrupted_after) == starts_of(trigger, shares)
