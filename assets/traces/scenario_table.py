"""The scenarios table: every question, event and trigger of the scenario files, with the embeddings of their wordings.

Rooms further down know scenarios by this table alone.
"""

from collections.abc import Sequence
from typing import Any

import polars as pl

from assets.traces.encoders import LocalEncoder, TextEncoder
from assets.traces.scenario_files import content_hash
from assets.traces.scenario_schema import Message, Question, Scenario, Trigger
from validation.contracts import CONTRACTS

SCENARIOS_SCHEMA: dict[str, pl.DataType] = {
    name: column.dtype.type  # pyright: ignore[reportOptionalMemberAccess]
    for name, column in CONTRACTS["scenarios"].columns.items()
}


def scenarios_table(scenarios: Sequence[Scenario], encoder: TextEncoder | None = None) -> pl.DataFrame:
    """One row per question, event and trigger; a trigger's row also describes the event that it starts.

    Text embeddings of events and triggers cover the framing and the content, those of questions the wording alone;
    questions have one embedding per option as well. Interventions stand on the rows of the events that they vary, one
    field and one list of values per axis.

    Args:
        scenarios: scenarios with different ids.
        encoder: what encodes the wordings; the local encoder when left out.

    Returns:
        The `scenarios` table, ordered by scenario id, then questions, events and triggers in the order of the file.
    """
    rows = [row for scenario in sorted(scenarios, key=lambda each: each.id) for row in _scenario_rows(scenario)]
    texts = [f"{row['framing']}. {row['text']}" if row["framing"] else row["text"] for row in rows]
    options = [option for row in rows for option in row["options"] or ()]
    unframed = [row["text"] for row in rows if row["framing"]]
    encoder = encoder or LocalEncoder()
    vectors = iter(encoder.encode([*texts, *options, *unframed]).tolist())
    for row in rows:
        row["text_encoder"] = encoder.name
        row["text_embedding"] = next(vectors)
    for row in rows:
        row["option_embeddings"] = [next(vectors) for _ in row["options"]] if row["options"] else None
    for row in rows:
        row["unframed_embedding"] = next(vectors) if row["framing"] else None
    return pl.DataFrame(rows, schema=SCENARIOS_SCHEMA)


def _scenario_rows(scenario: Scenario) -> list[dict[str, Any]]:
    shared = {
        **dict.fromkeys(SCENARIOS_SCHEMA),
        "scenario_id": scenario.id,
        "population_where": scenario.population.where,
        "num_timesteps": scenario.timesteps.count,
        "timestep_unit": scenario.timesteps.unit,
        "baseline": scenario.baseline,
        "content_hash": content_hash(scenario),
    }
    questions = [
        {"kind": "question", "name": question.id, "position": position, **_question_columns(question)}
        for position, question in enumerate(scenario.questions)
    ]
    events = [
        {
            "kind": "event",
            "name": event.id,
            "position": position,
            "timestep": event.at,
            **_message_columns(event),
            **_intervention_columns(scenario, event.id),
        }
        for position, event in enumerate(scenario.events)
    ]
    triggers = [
        {"kind": "trigger", "name": trigger.id, "position": position, **_trigger_columns(trigger)}
        for position, trigger in enumerate(scenario.triggers)
    ]
    return [{**shared, **row} for row in (*questions, *events, *triggers)]


def _question_columns(question: Question) -> dict[str, Any]:
    return {
        "text": question.text,
        "options": list(question.options),
        "option_scores": list(question.option_scores),
        "scale": question.scale,
        "item": question.item,
    }


def _message_columns(message: Message) -> dict[str, Any]:
    return {
        "duration": message.duration,
        "text": message.content,
        "source_name": message.source.name,
        "source_type": message.source.type,
        "channel": message.channel,
        "framing": message.framing,
        "valence": message.valence,
        "credibility": message.credibility,
        "exposure_where": message.exposure.where,
        "reach": message.exposure.reach,
    }


def _trigger_columns(trigger: Trigger) -> dict[str, Any]:
    return {
        **_message_columns(trigger.event),
        "trigger_question": trigger.when.question,
        "trigger_option": trigger.when.option,
        "share_above": trigger.when.share_above,
        "rearm_below": trigger.when.rearm_below,
        "hold_for": trigger.when.hold_for,
    }


def _intervention_columns(scenario: Scenario, event_id: str) -> dict[str, Any]:
    axes = [axis for axis in scenario.interventions if axis.target[0] == event_id]
    return {
        "intervention_fields": [axis.target[1] for axis in axes] or None,
        "intervention_values": [list(axis.values) for axis in axes] or None,
    }
