"""Narration: one simulated agent's way through a scenario, in words.

Every sentence restates stored rows by a template. Nothing is invented, and nothing was said by a person or an LLM.

NarrationError   the scenario, replicate or agent has no rows
"""

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from assets.simulation.questions import AskedQuestion, asked_questions
from validation.attributes import ATTRIBUTES
from validation.channels import Channel, load_channels

LEANING = 0.35
"""A channel is worth a sentence when it lies at least this far from the middle of its range −1 … 1."""
SHIFT = 0.1
"""A channel has moved when it changed by at least this much since it was last told."""
MOST_CHANNELS = 3
ENGINE = "lsm"


class NarrationError(ValueError):
    """An agent's story cannot be told; the message says what is missing."""


def narrate(
    agent_id: int,
    agents: pl.DataFrame,
    trajectories: pl.DataFrame,
    episodes: pl.DataFrame,
    scenario_rows: pl.DataFrame,
) -> str:
    """Tells what happened to one agent: who it is, what it took in, what moved in it, what it answers.

    Args:
        agent_id: the agent.
        agents: rows of `agents`.
        trajectories: rows of one partition; only the student's rows of the agent are read.
        episodes: rows of `episodes` of the same partition.
        scenario_rows: rows of `scenarios` of the scenario.

    Returns:
        Plain text, a paragraph for the start and a line per timestep at which something changed.

    Raises:
        NarrationError: the agent is unknown, or was not simulated in this scenario.
    """
    person = agents.filter(pl.col("agent_id") == agent_id)
    if person.is_empty():
        raise NarrationError(f"There is no agent {agent_id}; agents are numbered 0 to {agents.height - 1}.")
    question = asked_questions(scenario_rows)[0]
    steps = trajectories.filter(
        (pl.col("engine") == ENGINE)
        & (pl.col("agent_id") == agent_id)
        & (pl.col("question_id") == question.question_id)
    ).sort("timestep")
    if steps.is_empty():
        raise NarrationError(
            f"Agent {agent_id} was not simulated in {scenario_rows['scenario_id'][0]}: its population predicate leaves "
            "the agent out. Choose another agent."
        )
    asked = scenario_rows.filter((pl.col("kind") == "question") & (pl.col("name") == question.question_id))
    events = {row["name"]: row for row in scenario_rows.filter(pl.col("kind") != "question").iter_rows(named=True)}
    remembered = episodes.filter(pl.col("agent_id") == agent_id)
    lines = [
        f"Agent {agent_id}: {_portrait(person.row(0, named=True))}.",
        f"Asked: {asked['text'][0]}",
        "",
        *_timesteps(steps, remembered, events, question, str(asked["timestep_unit"][0])),
        "",
        "Told by a template from stored states; these are not the words of a person or of a language model.",
    ]
    return "\n".join(lines)


def _portrait(person: Mapping[str, Any]) -> str:
    known = [f"{attribute.name.replace('_', ' ')} {person[attribute.name]}" for attribute in ATTRIBUTES]
    return f"{person['age']} years, " + ", ".join(known).replace("_", " ")


def _timesteps(
    steps: pl.DataFrame,
    remembered: pl.DataFrame,
    events: Mapping[str, Mapping[str, Any]],
    question: AskedQuestion,
    unit: str,
) -> Iterator[str]:
    told: list[float] | None = None
    previous = ""
    for step in steps.iter_rows(named=True):
        probabilities, channels = step["option_probabilities"], step["channels"]
        answer = question.options[max(range(len(probabilities)), key=probabilities.__getitem__)]
        parts = [
            _episode(row, events)
            for row in remembered.filter(pl.col("timestep") == step["timestep"]).iter_rows(named=True)
        ]
        if told is None:
            parts += [_anchor(channel, value) for channel, value in _strongest(channels)]
            told = list(channels)
        else:
            moved = [(index, now - then) for index, (now, then) in enumerate(zip(channels, told, strict=True))]
            largest = _largest(moved)
            parts += [_anchor(load_channels()[index], change) for index, change in largest]
            for index, _ in largest:
                told[index] = channels[index]
        if answer != previous:
            parts.append(f"leans to {answer.replace('_', ' ')} ({max(probabilities):.0%})")
        is_last = step["timestep"] == steps["timestep"].max()
        if is_last:
            shares = zip(question.options, probabilities, strict=True)
            parts.append("ends at " + ", ".join(f"{option.replace('_', ' ')} {share:.0%}" for option, share in shares))
        if parts:
            parts.append(f"conviction {step['conviction']:.2f}")
            yield f"{unit} {step['timestep']}: " + "; ".join(parts) + "."
        previous = answer


def _episode(row: Mapping[str, Any], events: Mapping[str, Mapping[str, Any]]) -> str:
    taken = "favourably" if row["appraisal"] > 0 else "unfavourably"
    if row["kind"] == "peers":
        return f"hears people around it, taken {taken} (salience {row['salience']:.2f})"
    source = events[row["event_id"]]["source_name"]
    return f"takes in {row['event_id']} from {source}, {taken} (salience {row['salience']:.2f})"


def _strongest(channels: list[float]) -> list[tuple[Channel, float]]:
    ranked = sorted(zip(load_channels(), channels, strict=True), key=lambda pair: -abs(pair[1]))
    return [(channel, value) for channel, value in ranked[:MOST_CHANNELS] if abs(value) >= LEANING]


def _largest(moved: list[tuple[int, float]]) -> list[tuple[int, float]]:
    ranked = sorted(moved, key=lambda pair: -abs(pair[1]))
    return [(index, change) for index, change in ranked[:MOST_CHANNELS] if abs(change) >= SHIFT]


def _anchor(channel: Channel, value: float) -> str:
    return f"{channel.name.replace('_', ' ')} {value:+.2f}, towards “{channel.high if value > 0 else channel.low}”"
