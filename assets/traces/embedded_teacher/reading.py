"""Reads a prompt back into numbers: the embedded teacher sees nothing but the text that any teacher would see."""

import re
from dataclasses import dataclass
from functools import lru_cache

from assets.traces.embedded_teacher.appraisal import Event, Memory
from assets.traces.embedded_teacher.notes import EventNotes
from assets.traces.embedded_teacher.phrases import STATED
from assets.traces.personas import AGE, POSITION
from assets.traces.wordings import load_wordings
from validation.attributes import AGE_GROUP_BOUNDS
from validation.channels import channel_names

LINE = re.compile(r"^- ([A-Za-z][A-Za-z0-9_ ]*): (.*)$", re.MULTILINE)
EVENT = re.compile(r"^- (?P<name>\S+): .*? \((?P<type>\w+), by (?P<channel>[a-z ]+)\)\. ", re.MULTILINE)
PUSH = re.compile(
    r"^- (?P<unit>\w+) (?P<when>\d+): (?P<event>\S+) moved me (?P<strength>\w+) (?P<way>towards|away from) "
)
UNIT = re.compile(r"\bthis (?P<unit>day|week|month|quarter|year)\b")
QUESTION_FIELDS = ("scenario", "question", "item", "options", "scores")
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
    unit: str

    @property
    def favoured(self) -> str:
        """The option with the highest score: the side of a positive valence."""
        return self.options[self.scores.index(max(self.scores))]


@dataclass(frozen=True)
class Situation:
    """What the user message says of the person and the timestep."""

    person_id: str
    attributes: dict[str, str]
    timestep: int
    events: tuple[Event, ...]
    peer_options: tuple[str, ...]
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
    missing = [name for name in QUESTION_FIELDS if name not in fields]
    if not found or missing:
        raise UnreadablePrompt(f"The system message has no '# Question' section with {', '.join(QUESTION_FIELDS)}.")
    options = tuple(fields["options"].split(" | "))
    try:
        scores = tuple(float(score) for score in fields["scores"].split(" | "))
    except ValueError as error:
        raise UnreadablePrompt(
            f"The scores of the '# Question' section are no numbers: {fields['scores']!r}."
        ) from error
    if len(scores) != len(options):
        raise UnreadablePrompt(f"The '# Question' section has {len(options)} options and {len(scores)} scores.")
    return AskedQuestion(
        scenario_id=fields["scenario"],
        question_id=fields["question"],
        item=None if fields["item"] == "none" else fields["item"],
        options=options,
        scores=scores,
        is_classification="# Channels" in head,
        unit=found_unit["unit"] if (found_unit := UNIT.search(head)) else "week",
    )


def read_situation(user: str, question: AskedQuestion, notes: EventNotes) -> Situation:
    """Reads a user message about a question.

    Args:
        user: the message.
        question: what is asked.
        notes: what is known about the events beyond their wordings.

    Raises:
        UnreadablePrompt: the person section is missing, or there is no note on an event.
    """
    parts = re.split(r"^#+ (.*)$", user, flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    if "Person" not in sections:
        raise UnreadablePrompt("The user message has no '# Person' section.")
    person_id, attributes = _read_persona(sections["Person"])
    step = next((body for title, body in sections.items() if title.startswith("This ")), "")
    timestep = int(dict(LINE.findall(step)).get("timestep", "0"))
    statements = sections.get("What people around the person said", "")
    state = dict(LINE.findall(sections.get("State before", ""))).get("channels")
    return Situation(
        person_id=person_id,
        attributes=attributes,
        timestep=timestep,
        events=tuple(
            _read_event(match, question, notes) for match in EVENT.finditer(sections.get("What reached the person", ""))
        ),
        peer_options=tuple(match["option"] for match in STATED.finditer(statements)),
        memories=_read_memories(sections.get("What the person remembers", ""), timestep),
        channels=None
        if state is None
        else dict(zip(channel_names(), (float(value) for value in NUMBER.findall(state)), strict=True)),
    )


def _read_persona(section: str) -> tuple[str, dict[str, str]]:
    """Who is described, and the levels that the persona's words stand for; the age group follows from the age."""
    wordings = load_wordings()
    lines = {label: words.split(POSITION, 1)[0] for label, words in LINE.findall(section)}
    person_id = lines.pop("person", "")
    attributes: dict[str, str] = {}
    for label, words in lines.items():
        name = wordings.attribute_of_label.get(label, label)
        attributes[name] = wordings.level_of_words.get((name, words), words)
    age = attributes.get(AGE, "")
    if age.isdigit():
        for group, (low, high) in AGE_GROUP_BOUNDS.items():
            if low <= int(age) <= high:
                attributes["age_group"] = group
    return person_id, attributes


def _read_event(match: re.Match[str], question: AskedQuestion, notes: EventNotes) -> Event:
    name = match["name"]
    note = notes.find(question.scenario_id, name)
    if note is None:
        raise UnreadablePrompt(
            f"The embedded teacher has no note on event {name!r} of scenario {question.scenario_id!r}. It cannot read "
            "wordings: valence and credibility come from the scenario table that it was started with. Put the scenario "
            "file into the scenario folder and start it again."
        )
    return Event(name, match["type"], match["channel"].replace(" ", "_"), note.valence, note.credibility)


def _read_memories(section: str, timestep: int) -> tuple[Memory, ...]:
    """Pushes that the embedded teacher wrote itself; what another teacher remembered in prose moves nobody here."""
    scale = load_wordings().push
    memories = []
    for line in section.splitlines():
        match = PUSH.match(line)
        if match and match["strength"] in scale:
            sign = 1.0 if match["way"] == "towards" else -1.0
            age = max(1, timestep - int(match["when"]))
            memories.append(Memory(match["event"], sign * scale[match["strength"]], age))
    return tuple(memories)
