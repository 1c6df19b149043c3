"""The schema of a scenario file: what a scenario is made of, and the rules between its parts.

Files are read by `scenario_files`, which says on which line a rule is broken; here nothing knows of files or tables.
"""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import InitErrorDetails, ValidationError

from assets.traces.scenario_errors import broken_rule, broken_rule_at
from assets.traces.scenario_fields import (
    Channel,
    Fraction,
    Id,
    Option,
    Predicate,
    SignedUnit,
    SourceType,
    Text,
    Timestep,
)

MOST_OPTIONS = 20
INTERVENTION_BOUNDS: dict[str, tuple[float, float]] = {
    "credibility": (0.0, 1.0),
    "valence": (-1.0, 1.0),
    "exposure.reach": (0.0, 1.0),
}
"""Fields of an event that an intervention can vary, with the range of their values."""


class _Part(BaseModel):
    """Exact types, no unknown fields, no changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Question(_Part):
    """A question with its options in order; `item` names the survey item that asks the same."""

    id: Id
    text: Text
    options: tuple[Option, ...] = Field(strict=False, min_length=2, max_length=MOST_OPTIONS)
    option_scores: tuple[SignedUnit, ...] = Field(default=(), strict=False, validate_default=True)
    scale: Literal["nominal", "ordinal"] = "nominal"
    item: Id | None = None

    @field_validator("options")
    @classmethod
    def _options_differ(cls, options: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(options)) < len(options):
            raise broken_rule("options that all differ", "Remove or rename the repeated option.")
        return options

    @field_validator("option_scores")
    @classmethod
    def _one_score_per_option(cls, scores: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        """Without scores, options are evenly spaced from 1 for the first to −1 for the last."""
        options = info.data.get("options")
        if options is None:
            return scores
        if not scores:
            return tuple(float(score) for score in np.linspace(1.0, -1.0, len(options)))
        if len(scores) != len(options):
            raise broken_rule(
                f"{len(options)} scores, one per option, each from -1 to 1", "Add or remove scores, or leave them out."
            )
        return scores

    @model_validator(mode="after")
    def _ordinal_scores_are_ordered(self) -> "Question":
        steps = np.diff(self.option_scores)
        if self.scale == "ordinal" and not (np.all(steps < 0) or np.all(steps > 0)):
            raise _refusal(
                broken_rule_at(
                    ("option_scores",),
                    list(self.option_scores),
                    "scores that only fall or only rise, since the scale is ordinal",
                    "Put the options in their order, or make the scale nominal.",
                )
            )
        return self


class Population(_Part):
    """Who takes part in the outcomes; everybody when `where` is left out."""

    where: Predicate | None = None


class Timesteps(_Part):
    """How many timesteps are simulated after the initial state, and what one of them is."""

    count: Timestep
    unit: Literal["day", "week", "month", "quarter", "year"]


class Source(_Part):
    """Who speaks in an event."""

    name: Text
    type: SourceType


class Exposure(_Part):
    """Whom an event can reach, and the fraction of them that it does reach."""

    where: Predicate | None = None
    reach: Fraction


class Message(_Part):
    """What happens in an event, whenever it happens: the `event` of a trigger."""

    duration: Timestep = 1
    source: Source
    channel: Channel
    framing: Text
    content: Text
    valence: SignedUnit
    credibility: Fraction
    exposure: Exposure


class Event(Message):
    """A message that is sent at a given timestep and stays active for `duration` timesteps."""

    id: Id
    at: Timestep


class Condition(_Part):
    """A share of an option that has to lie above a threshold for `hold_for` timesteps in a row.

    It counts again only after the share has fallen to `rearm_below`; None for nine tenths of `share_above`. Left out,
    it leaves the hash of a scenario's contents as it was before there was such a level.
    """

    question: Id
    option: Option
    share_above: Annotated[float, Field(ge=0, lt=1)]
    rearm_below: Annotated[float | None, Field(ge=0, lt=1, exclude_if=lambda level: level is None)] = None
    hold_for: Timestep = Field(default=1, alias="for")


class Trigger(_Part):
    """An event that answers the population: it starts in the timestep after its condition has held."""

    id: Id
    when: Condition
    event: Message


class Intervention(_Part):
    """An axis of the intervention surface: values to try for one number of one event."""

    path: str
    values: tuple[float, ...] = Field(strict=False, min_length=1, max_length=100)

    @property
    def target(self) -> tuple[str, str]:
        """Event id and field, for example ("announcement", "exposure.reach")."""
        _, _, rest = self.path.partition(".")
        event_id, _, field = rest.partition(".")
        return event_id, field


class Scenario(_Part):
    """One scenario: who is asked what, and what happens to them in the meantime."""

    id: Id
    title: Text | None = None
    description: Text | None = None
    questions: tuple[Question, ...] = Field(alias="question", strict=False, min_length=1)
    population: Population = Population()
    timesteps: Timesteps
    events: tuple[Event, ...] = Field(default=(), strict=False)
    triggers: tuple[Trigger, ...] = Field(default=(), strict=False)
    interventions: tuple[Intervention, ...] = Field(default=(), strict=False)
    baseline: Id | None = None

    @field_validator("questions", mode="before")
    @classmethod
    def _single_question_is_a_list_of_one(cls, value: Any) -> Any:
        return [value] if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _parts_fit_together(self) -> "Scenario":
        broken = [*_repeated_ids(self), *_times(self), *_trigger_targets(self), *_intervention_targets(self)]
        if self.baseline == self.id:
            broken.append(
                broken_rule_at(
                    ("baseline",),
                    self.baseline,
                    "the id of another scenario",
                    "Leave the baseline out, or name another.",
                )
            )
        if broken:
            raise _refusal(*broken)
        return self


def _refusal(*broken: InitErrorDetails) -> ValidationError:
    return ValidationError.from_exception_data("Scenario", list(broken))


def _repeated_ids(scenario: Scenario) -> list[InitErrorDetails]:
    """Events and triggers share one set of ids, since memories and outcomes name either."""
    broken = []
    for names in (
        [(("question", i, "id"), question.id) for i, question in enumerate(scenario.questions)],
        [(("events", i, "id"), event.id) for i, event in enumerate(scenario.events)]
        + [(("triggers", i, "id"), trigger.id) for i, trigger in enumerate(scenario.triggers)],
        [(("interventions", i, "path"), axis.path) for i, axis in enumerate(scenario.interventions)],
    ):
        seen: set[str] = set()
        for loc, name in names:
            if name in seen:
                broken.append(broken_rule_at(loc, name, "each of them once in the scenario", "Rename or remove one."))
            seen.add(name)
    return broken


def _times(scenario: Scenario) -> list[InitErrorDetails]:
    count = scenario.timesteps.count
    return [
        broken_rule_at(
            ("events", i, "at"),
            event.at,
            f"a timestep from 1 to {count} (timesteps.count)",
            "Move the event, or simulate more timesteps.",
        )
        for i, event in enumerate(scenario.events)
        if event.at > count
    ]


def _trigger_targets(scenario: Scenario) -> list[InitErrorDetails]:
    options_of = {question.id: question.options for question in scenario.questions}
    broken = []
    for i, trigger in enumerate(scenario.triggers):
        when = trigger.when
        if when.question not in options_of:
            broken.append(
                broken_rule_at(
                    ("triggers", i, "when", "question"),
                    when.question,
                    ", ".join(options_of),
                    "Name a question of the file.",
                )
            )
        elif when.option not in options_of[when.question]:
            allowed = ", ".join(options_of[when.question])
            broken.append(
                broken_rule_at(
                    ("triggers", i, "when", "option"), when.option, allowed, f"Name an option of {when.question}."
                )
            )
        if when.rearm_below is not None and when.rearm_below > when.share_above:
            broken.append(
                broken_rule_at(
                    ("triggers", i, "when", "rearm_below"),
                    when.rearm_below,
                    f"0 … {when.share_above}, the threshold itself",
                    "Lower it, or leave it out: the share must then fall to nine tenths of the threshold.",
                )
            )
        if when.hold_for >= scenario.timesteps.count:
            broken.append(
                broken_rule_at(
                    ("triggers", i, "when", "for"),
                    when.hold_for,
                    f"fewer timesteps than the scenario has ({scenario.timesteps.count})",
                    "Such a trigger could never fire; shorten it, or simulate more timesteps.",
                )
            )
    return broken


def _intervention_targets(scenario: Scenario) -> list[InitErrorDetails]:
    paths = [f"events.{event.id}.{field}" for event in scenario.events for field in INTERVENTION_BOUNDS]
    broken = []
    for i, axis in enumerate(scenario.interventions):
        if axis.path not in paths:
            allowed = ", ".join(paths) or "no path, since the scenario has no events"
            broken.append(broken_rule_at(("interventions", i, "path"), axis.path, allowed, "Name one of these paths."))
            continue
        low, high = INTERVENTION_BOUNDS[axis.target[1]]
        if len(set(axis.values)) < len(axis.values) or min(axis.values) < low or max(axis.values) > high:
            broken.append(
                broken_rule_at(
                    ("interventions", i, "values"),
                    list(axis.values),
                    f"different numbers from {low:g} to {high:g}",
                    "Correct the values of the axis.",
                )
            )
    return broken
