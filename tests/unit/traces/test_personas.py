"""Personas say who a person is, and where they stand among the population."""

from pathlib import Path

import polars as pl
import pytest

from assets.traces.embedded_teacher.notes import EventNotes
from assets.traces.embedded_teacher.reading import AskedQuestion, read_situation
from assets.traces.personas import render_personas
from assets.traces.prompts import Step, render_step
from assets.traces.wordings import WORDINGS_PATH, load_wordings
from validation.attributes import AGE_GROUP_BOUNDS, ATTRIBUTE_BY_NAME, ATTRIBUTES, Attribute

INCOMES = ATTRIBUTE_BY_NAME["income_group"].levels


def make_people(ages: list[int], income_groups: list[str]) -> pl.DataFrame:
    first = {attribute.name: [attribute.levels[0]] * len(ages) for attribute in ATTRIBUTES}
    return pl.DataFrame({"agent_id": range(len(ages)), "age": ages, **first, "income_group": income_groups})


def test_positions_are_the_shares_of_the_population_below_and_above() -> None:
    """Ten people: 1 of 20 years, 2 of 30, 3 of 40, 4 of 80; half with the lowest and half with the highest income."""
    people = make_people([20] + [30] * 2 + [40] * 3 + [80] * 4, [INCOMES[0]] * 5 + [INCOMES[3]] * 5)
    personas = render_personas(people, people)
    assert "- age: 20 (older than 0 % of the population, younger than 90 %)" in personas[0]
    assert "- age: 30 (older than 10 % of the population, younger than 70 %)" in personas[1]
    assert "- age: 40 (older than 30 % of the population, younger than 40 %)" in personas[3]
    assert "- age: 80 (older than 60 % of the population, younger than 0 %)" in personas[9]
    income = "- family income: over $100,000 a year (higher than 50 % of the population, lower than 0 %)"
    assert income in personas[9]


def test_positions_refer_to_the_population_and_not_to_the_people_described() -> None:
    people = make_people([50] * 4, list(INCOMES))
    assert render_personas(people[2:3], people)[2] == render_personas(people, people)[2]
    assert render_personas(people[2:3], people[2:3])[2] != render_personas(people, people)[2]


@pytest.mark.parametrize("attribute", ATTRIBUTES, ids=lambda attribute: attribute.name)
def test_every_level_is_read_back_from_its_words(attribute: Attribute) -> None:
    others = make_people([50], [INCOMES[0]])
    asked = AskedQuestion("s", "q", None, ("yes", "no"), (1.0, -1.0), is_classification=True, unit="week")
    for level in attribute.levels:
        age = AGE_GROUP_BOUNDS[level][0] if attribute.name == "age_group" else 50
        person = others.with_columns(pl.lit(level).alias(attribute.name), pl.lit(age).alias("age"))
        persona = render_personas(person, person)[0]
        situation = read_situation(render_step(persona, "week", Step(0), ["yes", "no"]), asked, EventNotes())
        assert situation.attributes[attribute.name] == level
        assert situation.person_id == "0"


def test_wordings_that_could_not_be_told_apart_are_refused(tmp_path: Path) -> None:
    text = WORDINGS_PATH.read_text(encoding="utf-8")
    path = tmp_path / "wordings.yaml"
    for old, new, words in (
        ("Northeast", "Midwest", "share the words 'Midwest'"),
        ("label: party", "label: state", "two attributes share a label"),
        ("  sex: ", "  gender: ", "'sex' has no wording"),
    ):
        path.write_text(text.replace(old, new), encoding="utf-8")
        with pytest.raises(ValueError, match=words):
            load_wordings(path)
