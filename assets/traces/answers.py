"""Reads a classification: JSON of the schema, with every number in its range, or a reason why not."""

import json
from typing import Any

from assets.traces.prompts import answer_schema
from validation.channels import channel_names

PROBABILITY_SLACK = 0.02
"""Probabilities may miss one by this much before they are scaled; beyond it the answer is malformed."""


class MalformedAnswer(ValueError):
    """An answer breaks the schema; the message says where."""


def read_answer(content: str, options: list[str]) -> dict[str, Any]:
    """A classification as columns of `reasoning_traces`.

    Args:
        content: what the teacher answered.
        options: the question's options, in order.

    Raises:
        MalformedAnswer: it is no JSON, lacks a field, or a value is out of its range.
    """
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise MalformedAnswer(f"not JSON: {error}") from error
    required = answer_schema()["required"]
    missing = [name for name in required if name not in answer] if isinstance(answer, dict) else list(required)
    if missing:
        raise MalformedAnswer(f"missing: {', '.join(missing)}")
    channels = _numbers(answer, "channels", len(channel_names()), -1.0, 1.0)
    confidence = _numbers(answer, "channel_confidence", len(channel_names()), 0.0, 1.0)
    probabilities = _numbers(answer, "option_probabilities", len(options), 0.0, 1.0)
    total = sum(probabilities)
    if abs(total - 1.0) > PROBABILITY_SLACK:
        raise MalformedAnswer(f"option_probabilities sum to {total:.3f}")
    if answer["option"] not in options:
        raise MalformedAnswer(f"option {answer['option']!r} is none of {', '.join(options)}")
    return {
        "channels": channels,
        "channel_confidence": confidence,
        "channel_evidence": _text(answer, "channel_evidence"),
        "option_probabilities": [value / total for value in probabilities],
        "option": answer["option"],
        "conviction": _number(answer, "conviction", 0.0, 1.0),
        "private_stance": _number(answer, "private_stance", -1.0, 1.0),
        "public_stance": _number(answer, "public_stance", -1.0, 1.0),
        "statement": _text(answer, "statement"),
        "will_share": _truth(answer, "will_share"),
        "attention_events": _number(answer, "attention_events", 0.0, 1.0),
        "attention_peers": _number(answer, "attention_peers", 0.0, 1.0),
        "attention_memory": _number(answer, "attention_memory", 0.0, 1.0),
        "memory_write": _text(answer, "memory_write"),
        "memory_salience": _number(answer, "memory_salience", 0.0, 1.0),
        "trust_deltas": _numbers(answer, "trust_deltas", None, -1.0, 1.0),
        "rationale": _text(answer, "rationale"),
    }


def _number(answer: dict[str, Any], name: str, lowest: float, highest: float) -> float:
    value = answer[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MalformedAnswer(f"{name} is {value!r}, allowed: a number from {lowest:g} to {highest:g}")
    if not lowest <= value <= highest:  # false for NaN as well
        raise MalformedAnswer(f"{name} is out of range, allowed: {lowest:g} to {highest:g}")
    return float(value)


def _numbers(answer: dict[str, Any], name: str, length: int | None, lowest: float, highest: float) -> list[float]:
    values = answer[name]
    if not isinstance(values, list) or length not in (None, len(values)):
        raise MalformedAnswer(f"{name} needs a list of {'' if length is None else f'{length} '}numbers")
    return [_number({name: value}, name, lowest, highest) for value in values]


def _text(answer: dict[str, Any], name: str) -> str:
    if not isinstance(answer[name], str):
        raise MalformedAnswer(f"{name} is {answer[name]!r}, allowed: a text")
    return answer[name]


def _truth(answer: dict[str, Any], name: str) -> bool:
    if not isinstance(answer[name], bool):
        raise MalformedAnswer(f"{name} is {answer[name]!r}, allowed: true or false")
    return answer[name]
