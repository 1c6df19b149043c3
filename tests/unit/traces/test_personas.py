"""Personas say who a person is, and where they stand among the population."""

import polars as pl
import pytest

from assets.traces.personas import render_personas
from validation.attributes import ATTRIBUTE_BY_NAME, ATTRIBUTES

AGES = ATTRIBUTE_BY_NAME["age_group"].levels
INCOMES = ATTRIBUTE_BY_NAME["income_group"].levels


def make_people(age_groups: list[str], income_groups: list[str]) -> pl.DataFrame:
    first = {attribute.name: [attribute.levels[0]] * len(age_groups) for attribute in ATTRIBUTES}
    ids = range(len(age_groups))
    return pl.DataFrame(
        {"agent_id": ids, "age": [50] * len(ids), **first, "age_group": age_groups, "income_group": income_groups}
    )


def test_positions_are_the_share_of_the_population_on_lower_levels() -> None:
    """Ten people: 1 in the lowest age group, 2 in the second, 3 in the third, 4 in the last."""
    ages = [AGES[0]] + [AGES[1]] * 2 + [AGES[2]] * 3 + [AGES[5]] * 4
    people = make_people(ages, [INCOMES[0]] * 5 + [INCOMES[3]] * 5)
    personas = render_personas(people, people)
    assert f"- age_group: {AGES[0]} (above 0 % of the population)" in personas[0]
    assert f"- age_group: {AGES[1]} (above 10 % of the population)" in personas[1]
    assert f"- age_group: {AGES[2]} (above 30 % of the population)" in personas[3]
    assert f"- age_group: {AGES[5]} (above 60 % of the population)" in personas[9]
    assert f"- income_group: {INCOMES[3]} (above 50 % of the population)" in personas[9]


def test_positions_refer_to_the_population_and_not_to_the_people_described() -> None:
    people = make_people([AGES[3]] * 4, list(INCOMES))
    assert render_personas(people[2:3], people)[2] == render_personas(people, people)[2]
    assert render_personas(people[2:3], people[2:3])[2] != render_personas(people, people)[2]


@pytest.mark.parametrize("attribute", [attribute.name for attribute in ATTRIBUTES])
def test_every_attribute_has_its_line(attribute: str) -> None:
    people = make_people([AGES[0]], [INCOMES[0]])
    lines = render_personas(people, people)[0].splitlines()
    assert lines[:2] == ["- person: 0", "- age: 50"]
    assert sum(line.startswith(f"- {attribute}: {people[attribute][0]}") for line in lines) == 1
