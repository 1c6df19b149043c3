"""Laws of scenarios: nothing that a file says is lost on its way into the table, and layout says nothing."""

import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.traces.scenario_files import add_scenario, content_hash, read_scenario
from assets.traces.scenario_schema import INTERVENTION_BOUNDS, Scenario
from assets.traces.scenario_table import scenarios_table
from assets.traces.text_encoder import encode_texts
from validation.contracts import CONTRACTS
from validation.events import EVENT_CHANNELS, SOURCE_TYPES

IDS = st.from_regex(r"[a-z0-9]{1,6}([_-][a-z0-9]{1,6}){0,2}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=40).filter(str.strip)
PREDICATES = st.sampled_from([None, "age >= 18", "state = 'NY' or party in ('democrat', 'independent')"])
FRACTIONS = st.floats(0, 1)
SIGNED = st.floats(-1, 1)


def messages() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "source": st.fixed_dictionaries({"name": TEXTS, "type": st.sampled_from(SOURCE_TYPES)}),
            "channel": st.sampled_from(EVENT_CHANNELS),
            "framing": TEXTS,
            "content": TEXTS,
            "valence": SIGNED,
            "credibility": FRACTIONS,
            "exposure": st.fixed_dictionaries({"reach": FRACTIONS}, optional={"where": PREDICATES}),
        },
        optional={"duration": st.integers(1, 30)},
    )


@st.composite
def questions(draw: st.DrawFn, question_id: str) -> dict[str, Any]:
    options = draw(st.lists(TEXTS, min_size=2, max_size=6, unique_by=lambda text: " ".join(text.split())))
    question = {"id": question_id, "text": draw(TEXTS), "options": options}
    question["scale"] = draw(st.sampled_from(["nominal", "ordinal"]))
    if question["scale"] == "nominal" and draw(st.booleans()):
        question["option_scores"] = draw(st.lists(SIGNED, min_size=len(options), max_size=len(options)))
    if draw(st.booleans()):
        question["item"] = draw(IDS)
    return question


@st.composite
def scenario_files(draw: st.DrawFn) -> dict[str, Any]:
    """Data of a valid scenario file."""
    asked = [draw(questions(name)) for name in draw(st.lists(IDS, min_size=1, max_size=3, unique=True))]
    count = draw(st.integers(2, 20))
    names = draw(st.lists(IDS, max_size=5, unique=True))
    split = draw(st.integers(0, len(names)))
    events = [{"id": name, "at": draw(st.integers(1, count)), **draw(messages())} for name in names[:split]]
    triggers = []
    for name in names[split:]:
        question = draw(st.sampled_from(asked))
        when = {"question": question["id"], "option": draw(st.sampled_from(question["options"]))}
        when |= {"share_above": draw(st.floats(0, 1, exclude_max=True)), "for": draw(st.integers(1, count - 1))}
        if draw(st.booleans()):
            when |= {"rearm_below": draw(st.floats(0, when["share_above"]))}
        triggers.append({"id": name, "when": when, "event": draw(messages())})
    scenario: dict[str, Any] = {
        "id": draw(IDS),
        "timesteps": {"count": count, "unit": draw(st.sampled_from(["day", "week"]))},
    }
    scenario["question"] = asked[0] if len(asked) == 1 and draw(st.booleans()) else asked
    scenario |= {"events": events, "triggers": triggers, "population": {"where": draw(PREDICATES)}}
    paths = [f"events.{event['id']}.{field}" for event in events for field in INTERVENTION_BOUNDS]
    if paths:
        scenario["interventions"] = [
            {"path": path, "values": draw(st.lists(FRACTIONS, min_size=1, max_size=4, unique=True))}
            for path in draw(st.lists(st.sampled_from(paths), unique=True, max_size=3))
        ]
    if draw(st.booleans()):
        scenario["baseline"] = f"{scenario['id']}-quiet"[-60:].strip("-_")
    return scenario


def rebuilt(table: pl.DataFrame) -> dict[str, Any]:
    """The data of the file that a table's rows came from; titles and descriptions are not in the table."""
    rows = table.to_dicts()
    first = rows[0]
    by_kind = {kind: [row for row in rows if row["kind"] == kind] for kind in ("question", "event", "trigger")}
    return {
        "id": first["scenario_id"],
        "population": {"where": first["population_where"]},
        "timesteps": {"count": first["num_timesteps"], "unit": first["timestep_unit"]},
        "baseline": first["baseline"],
        "question": [
            {"id": row["name"], **{name: row[name] for name in ("text", "options", "option_scores", "scale", "item")}}
            for row in by_kind["question"]
        ],
        "events": [{"id": row["name"], "at": row["timestep"], **message_of(row)} for row in by_kind["event"]],
        "triggers": [
            {
                "id": row["name"],
                "when": {
                    "question": row["trigger_question"],
                    "option": row["trigger_option"],
                    "share_above": row["share_above"],
                    "rearm_below": row["rearm_below"],
                    "for": row["hold_for"],
                },
                "event": message_of(row),
            }
            for row in by_kind["trigger"]
        ],
        "interventions": [
            {"path": f"events.{row['name']}.{field}", "values": values}
            for row in by_kind["event"]
            for field, values in zip(row["intervention_fields"] or (), row["intervention_values"] or (), strict=True)
        ],
    }


def message_of(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "source": {"name": row["source_name"], "type": row["source_type"]},
        "content": row["text"],
        "exposure": {"where": row["exposure_where"], "reach": row["reach"]},
        **{name: row[name] for name in ("duration", "channel", "framing", "valence", "credibility")},
    }


def by_path(scenario: Scenario) -> dict[str, Any]:
    """A scenario as plain data, with interventions in the order of their paths: the table groups them by event."""
    data = scenario.model_dump(by_alias=True)
    return data | {"interventions": sorted(data["interventions"], key=lambda axis: axis["path"])}


@settings(deadline=None, max_examples=60)
@given(scenario_files())
def test_table_rows_hold_everything_that_the_file_says(data: dict[str, Any]) -> None:
    scenario = Scenario.model_validate(data)
    table = CONTRACTS["scenarios"].validate(scenarios_table([scenario]))
    assert by_path(Scenario.model_validate(rebuilt(table))) == by_path(scenario)
    assert table["content_hash"].unique().to_list() == [content_hash(scenario)]
    vectors = np.array(table["text_embedding"].to_list())
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)


@settings(deadline=None, max_examples=60)
@given(scenario_files(), st.randoms(use_true_random=False))
def test_layout_and_order_of_fields_change_nothing(data: dict[str, Any], shuffler: random.Random) -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shuffled(value[key]) for key in shuffler.sample(list(value), len(value))}
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    with tempfile.TemporaryDirectory() as folder:
        block, flow = Path(folder, "block.yaml"), Path(folder, "flow.yaml")
        block.write_text(yaml.safe_dump(data), encoding="utf-8")
        flow.write_text("# a comment\n" + yaml.safe_dump(shuffled(data), default_flow_style=True, sort_keys=False))
        first, second = read_scenario(block), read_scenario(flow)
    assert first == second == Scenario.model_validate(data)
    assert content_hash(first) == content_hash(second)


@settings(deadline=None, max_examples=30)
@given(scenario_files())
def test_adding_is_idempotent_and_exact(data: dict[str, Any]) -> None:
    data.pop("baseline", None)
    with tempfile.TemporaryDirectory() as folder:
        source, scenarios = Path(folder, "draft.yaml"), Path(folder, "scenarios")
        source.write_text(yaml.safe_dump(data), encoding="utf-8")
        target = add_scenario(source, scenarios)
        assert add_scenario(source, scenarios) == target
        assert target.read_bytes() == source.read_bytes()
        assert [path.name for path in scenarios.iterdir()] == [f"{data['id']}.yaml"]


@settings(deadline=None, max_examples=60)
@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_vectors_are_of_unit_length_and_independent_of_the_batch(texts: list[str]) -> None:
    vectors_nD = encode_texts(texts)
    np.testing.assert_allclose(np.linalg.norm(vectors_nD, axis=1), 1.0, atol=1e-6)
    np.testing.assert_array_equal(encode_texts(texts[::-1])[::-1], vectors_nD)
