"""The intervention surface: what a scenario's outcome would be, had an event been otherwise.

Grid rows are rollouts with one field of one event changed and every random draw kept; gradient rows are derivatives at
the file's values; finite differences give the size of those by reach and timing. All describe the same agents, so that
they can be compared.

Legend: N agents, V events, O options, P fields of an event.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
import torch

from assets.simulation.changed_events import ChangeableEvents
from assets.simulation.finite_differences import finite_differences
from assets.simulation.gradients import EVENT_FIELDS, final_shares, outcome_gradients
from assets.simulation.questions import AskedQuestion, asked_questions
from assets.simulation.rollouts import RolloutInputs, population_mask, prepare_rollout
from assets.simulation.rows import empty_rows, table_rows
from model.lsm.lsm import LSM
from validation.attributes import SOCIAL_TIE_TYPES

GRID_FIELDS = ("valence", "credibility", "exposure.reach")
"""Fields of an event that a scenario file's interventions may list values of."""

MAX_AGENTS = 10_000
"""With more agents the surface describes a part of the society: gradients take several times a rollout's time."""

RUN_LENGTH = 250
"""Agents in a row that are taken together: agents are ordered by state and household, so that many ties come along."""


def intervention_surface(
    model: LSM,
    *,
    agents: pl.DataFrame,
    ties: pl.DataFrame,
    media_sources: pl.DataFrame,
    scenario_rows: pl.DataFrame,
    replicate: int,
    seed: int,
    max_timesteps: int,
    max_agents: int = MAX_AGENTS,
) -> pl.DataFrame:
    """Final shares at each value that the scenario's interventions list, and their derivatives by events and ties.

    Cost: one rollout as the file has it, one per value of the grid and up to four per event for finite differences, all
    without gradient; and one with gradient, whose way back is taken once per option but one of each question.

    Args:
        model: the student.
        agents: the agents table.
        ties: the ties table, media ties included.
        media_sources: the media_sources table.
        scenario_rows: rows of the scenarios table for one scenario.
        replicate: from 0.
        seed: seed of the run; draws are those of the same replicate's trajectories.
        max_timesteps: cap on the timesteps the scenario asks for.
        max_agents: above this many agents, evenly spaced runs of the scenario's population with the ties inside them
            stand for all; neighbours outside are not heard.

    Returns:
        The `intervention_surface` table; no rows for a scenario without events.

    Raises:
        ValueError: the tables do not fit together, or nobody belongs to the scenario's population.
    """
    events = scenario_rows.filter(pl.col("kind") == "event").sort("position")
    if events.is_empty():
        return empty_rows("intervention_surface")
    part = part_of_society(agents, scenario_rows, max_agents)
    inputs = prepare_rollout(
        part,
        ties,
        media_sources,
        scenario_rows,
        replicate=replicate,
        seed=seed,
        max_timesteps=max_timesteps,
        is_part=part.height < agents.height,
    )
    device = next(model.parameters()).device
    questions = asked_questions(scenario_rows)
    rollout = ChangeableEvents(inputs, events, part, ties, media_sources)
    file_shares = final_shares(model, inputs.to(device))
    rows = [
        *_grid_rows(model, rollout, questions, file_shares, device),
        *_finite_difference_rows(model, rollout, questions, file_shares),
        *_gradient_rows(model, rollout, questions, device),
    ]
    partition = {"scenario_id": scenario_rows["scenario_id"][0], "replicate": replicate}
    return table_rows("intervention_surface", [partition | row for row in rows])


def part_of_society(agents: pl.DataFrame, scenario_rows: pl.DataFrame, max_agents: int) -> pl.DataFrame:
    """All agents, or evenly spaced runs of the scenario's population where there are more than `max_agents`."""
    agents = agents.sort("agent_id")
    if agents.height <= max_agents:
        return agents
    population = agents.filter(population_mask(agents, scenario_rows))
    if population.height <= max_agents:
        return population
    length = min(RUN_LENGTH, max_agents)
    starts = np.linspace(0, population.height - length, max_agents // length).astype(np.int64)
    return population[np.unique(starts[:, None] + np.arange(length))]


def _grid_points(event: dict[str, Any]) -> Iterator[tuple[str, float]]:
    axes: dict[str, set[float]] = {}
    for field, values in zip(event["intervention_fields"] or [], event["intervention_values"] or [], strict=True):
        axes.setdefault(field, set()).update(values)
    for field, values in axes.items():
        if field not in GRID_FIELDS:
            raise ValueError(
                f"Event {event['name']} has an intervention on {field!r}; fields: {', '.join(GRID_FIELDS)}. "
                "Correct the scenario file."
            )
        yield from ((field, value) for value in sorted(values))


def _grid_rows(
    model: LSM,
    rollout: ChangeableEvents,
    questions: list[AskedQuestion],
    file_shares: list[np.ndarray],
    device: torch.device,
) -> Iterator[dict[str, Any]]:
    for index, event in enumerate(rollout.events.iter_rows(named=True)):
        for field, value in _grid_points(event):
            shares = final_shares(model, rollout.changed(index, field, value).to(device))
            for question, option, share, before in _options(questions, shares, file_shares):
                yield {
                    "kind": "grid",
                    "parameter": f"events.{event['name']}.{field}",
                    "value": value,
                    "question_id": question.question_id,
                    "outcome": option,
                    "share": share,
                    "difference": share - before,
                }


def _finite_difference_rows(
    model: LSM, rollout: ChangeableEvents, questions: list[AskedQuestion], file_shares: list[np.ndarray]
) -> Iterator[dict[str, Any]]:
    for found in finite_differences(model, rollout, file_shares):
        where = {
            "kind": "finite_difference",
            "parameter": f"events.{found.event}.{found.field}",
            "value": found.value,
            "value_below": found.below,
            "value_above": found.above,
        }
        yield from _derivative_rows(where, questions, file_shares, found.quotients)


def _gradient_rows(
    model: LSM, rollout: ChangeableEvents, questions: list[AskedQuestion], device: torch.device
) -> Iterator[dict[str, Any]]:
    inputs, events = rollout.inputs, rollout.events
    reachable_VN = inputs.timeline.exposure_VN.clone()
    reachable_VN[: events.height] = rollout.audiences(
        [event | {"reach": 1.0} for event in events.iter_rows(named=True)]
    )
    reach_V = torch.zeros(inputs.timeline.num_events)
    reach_V[: events.height] = torch.tensor(events["reach"].to_list())
    gradients = outcome_gradients(
        model, inputs.to(device), reachable_VN.to(device), reach_V.to(device), _unframed(inputs, events).to(device)
    )
    shares = [gradient.share_O for gradient in gradients]
    for index, event in enumerate(events.iter_rows(named=True)):
        for position, field in enumerate(EVENT_FIELDS):
            if field == "framing" and event["framing"] is None:
                continue
            derivatives = [gradient.derivative_PVO[position, index] for gradient in gradients]
            value = 1.0 if field == "framing" else rollout.value_in_file(index, field)
            where = {"kind": "gradient", "parameter": f"events.{event['name']}.{field}", "value": value}
            yield from _derivative_rows(where, questions, shares, derivatives)
    for code, tie_type in enumerate(SOCIAL_TIE_TYPES):
        derivatives = [gradient.tie_derivative_TO[code] for gradient in gradients]
        where = {"kind": "gradient", "parameter": f"ties.{tie_type}.strength", "value": 1.0}
        yield from _derivative_rows(where, questions, shares, derivatives)


def _derivative_rows(
    where: dict[str, Any],
    questions: list[AskedQuestion],
    shares: list[np.ndarray],
    derivatives: list[np.ndarray] | None,
) -> Iterator[dict[str, Any]]:
    for question, option, share, derivative in _options(questions, shares, derivatives or shares):
        yield where | {
            "question_id": question.question_id,
            "outcome": option,
            "share": share,
            "derivative": None if derivatives is None else derivative,
            "difference": 0.0,
        }


def _unframed(inputs: RolloutInputs, events: pl.DataFrame) -> torch.Tensor:
    """Embeddings of all events without their framing; an event without one, and a trigger's event, keeps its own."""
    unframed_VD = inputs.timeline.embedding_VD.clone()
    for index, vector in enumerate(events["unframed_embedding"]):
        if vector is not None:
            unframed_VD[index] = torch.tensor(vector.to_list(), dtype=unframed_VD.dtype)
    return unframed_VD


def _options(
    questions: list[AskedQuestion], shares: list[np.ndarray], others: list[np.ndarray]
) -> Iterator[tuple[AskedQuestion, str, float, float]]:
    """Every option of every question with its share and its entry in another list of vectors."""
    for question, share_O, other_O in zip(questions, shares, others, strict=True):
        for option, share, other in zip(question.options, share_O, other_O, strict=True):
            yield question, option, min(max(float(share), 0.0), 1.0), float(other)
