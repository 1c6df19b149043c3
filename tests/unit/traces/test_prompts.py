"""Prompts are part of what is paid for: their wording is pinned, and their digests move with it.

After a deliberate change of the templates, write the new prompts to `snapshots/` and read the difference.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from assets.traces import prompts
from assets.traces.personas import render_personas
from assets.traces.prompts import (
    Step,
    prompt_hash,
    render_event,
    render_statement,
    render_step,
    render_system,
    schema_hash,
)
from assets.traces.scenario_files import read_scenarios
from assets.traces.scenario_table import scenarios_table
from orchestration.settings import PROJECT_ROOT
from validation.attributes import ATTRIBUTES
from validation.channels import channel_names, load_channels

SNAPSHOTS = Path(__file__).with_name("snapshots")
STATE = ([round(0.1 * index - 0.5, 2) for index in range(len(channel_names()))], (0.625, 0.375))


@pytest.fixture(scope="module")
def ruling() -> pl.DataFrame:
    scenarios = [item for item in read_scenarios(PROJECT_ROOT / "scenarios") if item.id == "abortion-ruling"]
    return scenarios_table(scenarios)


@pytest.fixture(autouse=True)
def _forget_cached_templates() -> Iterator[None]:
    _forget()
    yield
    _forget()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the templates that may be changed."""
    for file in prompts.FOLDER.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(prompts, "FOLDER", tmp_path)
    return tmp_path


def persona() -> str:
    """A person among three; positions follow from the two others."""
    people = pl.DataFrame(
        [
            {"agent_id": 7 + index, "age": age}
            | {item.name: item.levels[level % len(item.levels)] for item in ATTRIBUTES}
            for index, (age, level) in enumerate([(41, 1), (30, 0), (62, 2)])
        ]
    )
    return render_personas(people, people)[7]


def user_message(ruling: pl.DataFrame) -> str:
    event = ruling.filter(pl.col("kind") == "event").row(0, named=True)
    step = Step(
        timestep=3,
        exposures=[render_event(event)],
        statements=[render_statement(12, "friend", "I say yes.")],
        memories=['- week 2: ruling moved me somewhat towards "yes"'],
        state=STATE,
    )
    return render_step(persona(), "week", step, ["yes", "no"])


@pytest.mark.parametrize("elicitation_pass", prompts.PASSES)
def test_system_messages_are_as_pinned(ruling: pl.DataFrame, elicitation_pass: str) -> None:
    question = ruling.filter(pl.col("kind") == "question").row(0, named=True)
    pinned = (SNAPSHOTS / f"system-{elicitation_pass}.md").read_text(encoding="utf-8")
    assert render_system(question, elicitation_pass) + "\n" == pinned


def test_user_message_is_as_pinned(ruling: pl.DataFrame) -> None:
    assert user_message(ruling) + "\n" == (SNAPSHOTS / "user.md").read_text(encoding="utf-8")


def test_what_never_happened_is_said_to_be_nothing() -> None:
    message = render_step("- person: 7", "week", Step(0), ["yes", "no"])
    assert message.count(prompts.NOTHING) == 4


def test_the_stable_part_comes_first(ruling: pl.DataFrame) -> None:
    """Two people of one scenario share the whole system message; two steps of one person share the persona."""
    question = ruling.filter(pl.col("kind") == "question").row(0, named=True)
    assert "person: " not in render_system(question, "reaction")
    assert user_message(ruling).index("# Person") < user_message(ruling).index("timestep")


@pytest.mark.parametrize("name", prompts.TEMPLATES)
def test_prompt_hash_changes_with_every_template_and_with_nothing_else(folder: Path, name: str) -> None:
    before = prompt_hash()
    _forget()
    assert prompt_hash() == before
    file = folder / f"{name}.md"
    file.write_text(file.read_text(encoding="utf-8") + "One more rule.\n", encoding="utf-8")
    _forget()
    assert prompt_hash() != before


def test_prompt_hash_changes_with_the_wordings(folder: Path) -> None:
    before = prompt_hash()
    file = folder / "wordings.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("barely", "hardly"), encoding="utf-8")
    _forget()
    assert prompt_hash() != before


def test_what_an_event_should_do_is_never_shown(ruling: pl.DataFrame) -> None:
    """Valence and credibility are the author's annotation: whatever they are, a teacher reads the same line."""
    event = ruling.filter(pl.col("kind") == "event").row(0, named=True)
    line = render_event(event)
    assert render_event(event | {"valence": -1.0, "credibility": 0.0}) == line
    assert re.search(r"\d", render_event(event | {"text": "text", "framing": "frame"})) is None
    assert event["text"] in line
    assert event["source_name"] in line


def test_the_anchors_of_channels_are_told_to_who_plays_and_to_who_classifies(ruling: pl.DataFrame) -> None:
    question = ruling.filter(pl.col("kind") == "question").row(0, named=True)
    for elicitation_pass in prompts.PASSES:
        message = render_system(question, elicitation_pass)
        assert [item.name for item in load_channels() if item.low not in message or item.high not in message] == []


def test_a_neighbours_statement_is_one_line_and_public() -> None:
    assert render_statement(3, "weak", "Two\n\nlines.") == "- person 3 (weak): Two lines."


def test_every_field_of_the_schema_is_explained(ruling: pl.DataFrame) -> None:
    question = ruling.filter(pl.col("kind") == "question").row(0, named=True)
    message = render_system(question, "classification")
    assert [name for name in prompts.answer_schema()["required"] if name not in message] == []
    for channel in load_channels():
        assert channel.low in message
        assert channel.high in message


def test_schema_hash_changes_with_the_schema_and_not_with_its_layout(folder: Path) -> None:
    before = schema_hash()
    file = folder / "answer_schema.json"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("\n", "\n "), encoding="utf-8")
    _forget()
    assert schema_hash() == before
    file.write_text(
        text.replace('"rationale": {"type": "string"}', '"rationale": {"type": "number"}'), encoding="utf-8"
    )
    _forget()
    assert schema_hash() != before


def _forget() -> None:
    for function in (prompts.template, prompts.answer_schema, prompts.prompt_hash, prompts.schema_hash):
        function.cache_clear()
