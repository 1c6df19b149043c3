"""Prompts of the two passes: a reaction in free text, then its classification by JSON schema.

The stable part (rules, schema, scenario) comes first, then the persona, then the step, so that a teacher's prefix cache
works. Templates are files; their digests are part of every request's `custom_id`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from validation.channels import channel_names, load_channels

FOLDER = Path(__file__).with_name("prompts")
TEMPLATES = ("reaction", "classification", "scenario", "step")
NOTHING = "- nothing"
PASSES = ("reaction", "classification")


@dataclass(frozen=True)
class Step:
    """What one person meets at one timestep; every sequence is already rendered, one line each.

    `state` holds channels and option probabilities after the step before, None at timestep 0.
    """

    timestep: int
    exposures: Sequence[str] = ()
    statements: Sequence[str] = ()
    memories: Sequence[str] = ()
    state: tuple[Sequence[float], Sequence[float]] | None = None


@cache
def template(name: str) -> str:
    """A template file's text."""
    return (FOLDER / f"{name}.md").read_text(encoding="utf-8").strip()


@cache
def answer_schema() -> dict[str, Any]:
    """The JSON schema of a classification."""
    return json.loads((FOLDER / "answer_schema.json").read_text(encoding="utf-8"))


@cache
def prompt_hash() -> str:
    """sha256 of all templates, of the wordings file and of the channels' wordings."""
    channels = "\n".join(f"{item.name}|{item.definition}|{item.low}|{item.high}" for item in load_channels())
    wordings = (FOLDER / "wordings.yaml").read_text(encoding="utf-8")
    parts = [*(template(name) for name in TEMPLATES), wordings, channels]
    return hashlib.sha256("\n\n".join(parts).encode()).hexdigest()


@cache
def schema_hash() -> str:
    """sha256 of the answer schema."""
    return hashlib.sha256(json.dumps(answer_schema(), sort_keys=True).encode()).hexdigest()


def render_system(question: Mapping[str, Any], elicitation_pass: str) -> str:
    """The system message of a pass for one question of a scenario.

    Args:
        question: a row of `scenarios` of kind question.
        elicitation_pass: one of `PASSES`.
    """
    return _system(
        elicitation_pass,
        question["timestep_unit"],
        question["scenario_id"],
        question["name"],
        question["item"] or "none",
        question["text"],
        tuple(question["options"]),
        tuple(question["option_scores"]),
    )


@lru_cache(maxsize=512)
def _system(
    elicitation_pass: str,
    unit: str,
    scenario_id: str,
    question_id: str,
    item: str,
    wording: str,
    options: tuple[str, ...],
    scores: tuple[float, ...],
) -> str:
    scenario = template("scenario").format(
        scenario_id=scenario_id,
        question_id=question_id,
        item=item,
        wording=wording,
        options=" | ".join(options),
        scores=" | ".join(f"{score:g}" for score in scores),
    )
    channels = "\n".join(
        f"- {item.name}: {item.definition} (-1: {item.low}; 1: {item.high})" for item in load_channels()
    )
    anchors = "\n".join(f"- {item.name}: from '{item.low}' to '{item.high}'" for item in load_channels())
    return template(elicitation_pass).format(unit=unit, scenario=scenario, channels=channels, anchors=anchors)


def render_step(persona: str, unit: str, step: Step, options: Sequence[str]) -> str:
    """The user message: the persona, then what the person meets now."""
    return template("step").format(
        persona=persona,
        unit=unit,
        timestep=step.timestep,
        exposures="\n".join(step.exposures) or NOTHING,
        statements="\n".join(step.statements) or NOTHING,
        memories="\n".join(step.memories) or NOTHING,
        state=_render_state(step.state, options),
    )


def render_event(event: Mapping[str, Any]) -> str:
    """The line by which an event is shown: who speaks, by which channel, and what. Its numbers are never shown.

    Args:
        event: a row of `scenarios` of kind event or trigger.
    """
    source = f"{event['source_name']} ({event['source_type']}, by {event['channel'].replace('_', ' ')})"
    return f"- {event['name']}: {source}. {_sentence(event['framing'])} {event['text']}"


def render_statement(agent_id: int, tie_type: str, statement: str) -> str:
    """The line by which a neighbour's public statement is shown."""
    return f"- person {agent_id} ({tie_type.replace('_', ' ')}): {' '.join(statement.split())}"


def _render_state(state: tuple[Sequence[float], Sequence[float]] | None, options: Sequence[str]) -> str:
    if state is None:
        return NOTHING
    return _state_form(channel_names(), tuple(options)).format(*state[0], *state[1])


@cache
def _state_form(channels: tuple[str, ...], options: tuple[str, ...]) -> str:
    """The line of channels and the line of answers, with a place for every number."""
    names = [_literal(name) for name in channels], [_literal(option) for option in options]
    places = ", ".join(f"{name} {{:+.2f}}" for name in names[0]), ", ".join(f"{name} {{:.2f}}" for name in names[1])
    return f"- channels: {places[0]}\n- answer: {places[1]}"


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."
