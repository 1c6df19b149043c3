"""Reads a prompt back into numbers: the embedded teacher sees nothing but the text that any teacher would see."""

import re
from dataclasses import dataclass
from functools import lru_cache

from assets.traces.embedded_teacher.appraisal import Event, Memory
from validation.channels import channel_names

LINE = re.compile(r"^- ([a-z_]+): (.*)$", re.MULTILINE)
EVENT = re.compile(
    r"^- (?P<name>\S+) \| (?P<type>\w+) .*? by (?P<channel>\w+) \| leans (?P<valence>[+-]\d\.\d+) \| "
    r"credibility (?P<credibility>\d\.\d+) \|",
    re.MULTILINE,
)
STATED = re.compile(r"I say (?P<option>.+?)(?:, because of [a-z0-9_-]+)?\.$", re.MULTILINE)
PUSH = re.compile(r"week (?P<when>\d+): (?P<event>\S+) moved me (?P<push>[+-]\d\.\d+)")
NUMBER = re.compile(r"[+-]\d\.\d+")


class UnreadablePrompt(ValueError):
    """The prompt lacks a part that the embedded teacher needs; the message names it."""


@dataclass(frozen=True)
class AskedQuestion:
    """The question of a system message, and which pass is asked."""

    scenario_id: str
    question_id: str
    item: str | None
    options: tuple[str, ...]
    scores: tuple[float, ...]
    is_classification: bool


@dataclass(frozen=True)
class Situation:
    """What the user message says of the person and the timestep."""

    person_id: str
    attributes: dict[str, str]
    timestep: int
    events: tuple[Event, ...]
    peer_options: tuple[str, ...]
    num_statements: int
    memories: tuple[Memory, ...]
    channels: dict[str, float] | None


@lru_cache(maxsize=256)
def read_question(system: str) -> AskedQuestion:
    """Reads a system message.

    Raises:
        UnreadablePrompt: the question section is missing.
    """
    head, found, section = system.partition("# Question\n")
    fields = dict(LINE.findall(section))
    if not found or "options" not in fields or "scores" not in fields:
        raise UnreadablePrompt("The system message has no '# Question' section with options and scores.")
    return AskedQuestion(
        scenario_id=fields["scenario"],
        question_id=fields["question"],
        item=None if fields["item"] == "none" else fields["item"],
        options=tuple(fields["options"].split(" | ")),
        scores=tuple(float(score) for score in fields["scores"].split(" | ")),
        is_classification="# Channels" in head,
    )


def read_situation(user: str) -> Situation:
    """Reads a user message.

    Raises:
        UnreadablePrompt: the person section is missing.
    """
    parts = re.split(r"^#+ (.*)$", user, flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    if "Person" not in sections:
        raise UnreadablePrompt("The user message has no '# Person' section.")
    persona = dict(LINE.findall(sections["Person"]))
    attributes = {name: value.split(" (above", 1)[0] for name, value in persona.items()}
    step = next((body for title, body in sections.items() if title.startswith("This ")), "")
    timestep = int(dict(LINE.findall(step)).get("timestep", "0"))
    statements = sections.get("What people around the person said", "")
    state = dict(LINE.findall(sections.get("State before", ""))).get("channels")
    return Situation(
        person_id=attributes.pop("person", ""),
        attributes=attributes,
        timestep=timestep,
        events=tuple(
            Event(m["name"], m["type"], m["channel"], float(m["valence"]), float(m["credibility"]))
            for m in EVENT.finditer(sections.get("What reached the person", ""))
        ),
        peer_options=tuple(match["option"] for match in STATED.finditer(statements)),
        num_statements=len(re.findall(r"^- person ", statements, flags=re.MULTILINE)),
        memories=tuple(
            Memory(match["event"], float(match["push"]), max(0, timestep - int(match["when"]) - 1))
            for match in PUSH.finditer(sections.get("What the person remembers", ""))
        ),
        channels=None
        if state is None
        else dict(zip(channel_names(), (float(value) for value in NUMBER.findall(state)), strict=True)),
    )
