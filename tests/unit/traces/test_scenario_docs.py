"""The pages about scenario files say what the schema says, and their examples work."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from assets.traces.scenario_errors import ScenarioError
from assets.traces.scenario_files import add_scenario, read_scenario, read_scenarios
from assets.traces.scenario_schema import (
    INTERVENTION_BOUNDS,
    Condition,
    Event,
    Exposure,
    Intervention,
    Population,
    Question,
    Scenario,
    Source,
    Timesteps,
    Trigger,
)
from validation.attributes import ATTRIBUTE_BY_NAME
from validation.events import EVENT_CHANNELS, SOURCE_TYPES

DOCS = Path(__file__).parents[3] / "docs"
REFERENCE = (DOCS / "reference" / "scenario-file.md").read_text(encoding="utf-8")
HOW_TO = (DOCS / "how-to" / "write-a-scenario.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "part",
    [Scenario, Question, Population, Timesteps, Event, Source, Exposure, Trigger, Condition, Intervention],
)
def test_reference_names_every_field(part: type[BaseModel]) -> None:
    fields = {field.alias or name for name, field in part.model_fields.items()}
    assert fields <= set(re.findall(r"`([a-z_]+)`", REFERENCE))


def test_reference_names_every_level() -> None:
    quoted = set(re.findall(r"`([^`]+)`", REFERENCE))
    assert {*SOURCE_TYPES, *EVENT_CHANNELS, *ATTRIBUTE_BY_NAME} <= quoted
    assert {f"events.<id>.{field}" for field in INTERVENTION_BOUNDS} <= quoted


def test_how_to_examples_can_be_added_in_order(tmp_path: Path) -> None:
    examples = re.findall(r"```yaml\n(.*?)```", HOW_TO, flags=re.DOTALL)
    for position, example in enumerate(examples):
        draft = tmp_path / f"draft-{position}.yaml"
        draft.write_text(example, encoding="utf-8")
        add_scenario(draft, tmp_path / "scenarios")
    assert [scenario.id for scenario in read_scenarios(tmp_path / "scenarios")] == [
        "library-levy",
        "library-status-quo",
    ]


def test_how_to_shows_the_message_that_users_get(tmp_path: Path) -> None:
    example = re.findall(r"```yaml\n(.*?)```", HOW_TO, flags=re.DOTALL)[1]
    draft = tmp_path / "library-levy.yaml"
    draft.write_text(example.replace("reach: 0.8", "reach: 80"), encoding="utf-8")
    with pytest.raises(ScenarioError) as caught:
        read_scenario(draft)
    shown = re.findall(r"```text\n(.*?)\n```", HOW_TO, flags=re.DOTALL)[0]
    assert str(caught.value.problems[0]).removeprefix(f"{tmp_path}/") == shown
