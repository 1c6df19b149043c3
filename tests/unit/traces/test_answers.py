"""Reading classifications: a good one comes back as columns, every kind of bad one is refused with its field."""

import json
from typing import Any

import pytest

from assets.traces.answers import MalformedAnswer, read_answer
from assets.traces.prompts import answer_schema
from validation.channels import channel_names

OPTIONS = ["yes", "no", "not sure"]
NUM_CHANNELS = len(channel_names())


def good_answer(**changes: Any) -> dict[str, Any]:
    return {
        "channels": [0.1] * NUM_CHANNELS,
        "channel_confidence": [0.8] * NUM_CHANNELS,
        "channel_evidence": "tone",
        "option_probabilities": [0.5, 0.3, 0.2],
        "option": "not sure",
        "conviction": 0.4,
        "private_stance": -0.2,
        "public_stance": 0.1,
        "statement": "Maybe.",
        "will_share": False,
        "attention_events": 0.5,
        "attention_peers": 0.3,
        "attention_memory": 0.2,
        "memory_write": "",
        "memory_salience": 0,
        "trust_deltas": [0.1, -0.1],
        "rationale": "because",
        **changes,
    }


def test_a_good_answer_keeps_its_values() -> None:
    assert read_answer(json.dumps(good_answer()), OPTIONS) == good_answer()


def test_probabilities_that_nearly_sum_to_one_are_scaled() -> None:
    read = read_answer(json.dumps(good_answer(option_probabilities=[0.5, 0.3, 0.21])), OPTIONS)
    assert sum(read["option_probabilities"]) == pytest.approx(1.0)
    assert read["option_probabilities"][0] == pytest.approx(0.5 / 1.01)


@pytest.mark.parametrize("content", ["", "Yes, I think so.", "{", "```json\n{}\n```", "9" * 5000, "[" * 100_000])
def test_text_that_is_no_json_is_refused(content: str) -> None:
    with pytest.raises(MalformedAnswer, match="not JSON"):
        read_answer(content, OPTIONS)


@pytest.mark.parametrize("content", ["[]", "null", "3", '"yes"'])
def test_json_that_is_no_object_is_refused(content: str) -> None:
    with pytest.raises(MalformedAnswer, match="missing"):
        read_answer(content, OPTIONS)


@pytest.mark.parametrize("name", answer_schema()["required"])
def test_every_field_is_required(name: str) -> None:
    answer = good_answer()
    del answer[name]
    with pytest.raises(MalformedAnswer, match=f"missing: {name}"):
        read_answer(json.dumps(answer), OPTIONS)


@pytest.mark.parametrize("name", answer_schema()["required"])
@pytest.mark.parametrize("value", [None, {}, float("nan"), 10**400], ids=["null", "object", "nan", "huge"])
def test_a_value_of_the_wrong_kind_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(MalformedAnswer, match=name):
        read_answer(json.dumps(good_answer(**{name: value})), OPTIONS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("channels", [1.01] + [0.0] * (NUM_CHANNELS - 1)),
        ("channels", [0.0] * (NUM_CHANNELS + 1)),
        ("channel_confidence", [-0.1] * NUM_CHANNELS),
        ("channel_confidence", [0.5]),
        ("option_probabilities", [0.5, 0.5]),
        ("option_probabilities", [1.2, -0.1, -0.1]),
        ("option_probabilities", [0.4, 0.3, 0.2]),
        ("option_probabilities", [0.0, 0.0, 0.0]),
        ("option_probabilities", [True, 0, 0]),
        ("option", "perhaps"),
        ("option", "YES"),
        ("conviction", 1.5),
        ("conviction", "0.5"),
        ("conviction", True),
        ("private_stance", -1.1),
        ("public_stance", 2),
        ("will_share", "false"),
        ("will_share", 1),
        ("statement", ["Maybe."]),
        ("attention_peers", -0.01),
        ("memory_salience", 7),
        ("trust_deltas", "none"),
        ("trust_deltas", [0.1, "up"]),
        ("trust_deltas", [3.0]),
    ],
)
def test_values_outside_their_range_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(MalformedAnswer, match=name):
        read_answer(json.dumps(good_answer(**{name: value})), OPTIONS)
