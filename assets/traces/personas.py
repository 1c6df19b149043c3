"""Personas: an agent's attributes as the lines that a teacher reads, some of them relative to the population."""

from collections.abc import Mapping

import polars as pl

from assets.traces.wordings import DERIVED, load_wordings
from validation.attributes import ATTRIBUTES

AGE = "age"
RELATIVE_ATTRIBUTES = ("ideology", "income_group", "religion_importance")
"""Ordinal attributes for which the persona also says how many people stand below and above; age always does."""

COMPARATIVES = {
    AGE: ("older", "younger"),
    "ideology": ("more conservative", "more liberal"),
    "income_group": ("higher", "lower"),
    "religion_importance": ("more", "less"),
}
POSITION = " ("
"""What begins the relative position in a line; no wording of a level holds it."""


def render_personas(people: pl.DataFrame, population: pl.DataFrame) -> dict[int, str]:
    """The persona of each agent, by agent_id.

    Args:
        people: rows of `agents` to describe.
        population: rows of `agents` that relative positions refer to.

    Returns:
        Lines "- label: words"; relative attributes carry the percentages of the population below and above.
    """
    wordings = load_wordings()
    levels = {attribute.name: attribute.levels for attribute in ATTRIBUTES}
    positions = {name: _positions(population[name], levels[name], name) for name in RELATIVE_ATTRIBUTES}
    positions[AGE] = _positions(population[AGE], sorted(population[AGE].unique()), AGE)
    described: dict[str, dict[str, str]] = {}
    for attribute in ATTRIBUTES:
        if attribute.name not in DERIVED:
            wording, position = wordings.attributes[attribute.name], positions.get(attribute.name, {})
            described[attribute.name] = {
                level: f"- {wording.label}: {wording.words(level)}{position.get(level, '')}"
                for level in attribute.levels
            }
    columns = [people[name].to_list() for name in described]
    lines = list(described.values())
    return {
        agent_id: "\n".join(
            (
                f"- person: {agent_id}",
                f"- age: {age}{positions[AGE].get(age, '')}",
                *(line_of[level] for line_of, level in zip(lines, levels_of_person, strict=True)),
            )
        )
        for agent_id, age, *levels_of_person in zip(people["agent_id"], people[AGE], *columns, strict=True)
    }


def _positions(values: pl.Series, ordered: tuple[str, ...] | list[int], name: str) -> Mapping[object, str]:
    """Per value, how much of the population stands strictly below and strictly above."""
    above_word, below_word = COMPARATIVES[name]
    counts = dict(values.value_counts().iter_rows())
    total, running, found = max(len(values), 1), 0, {}
    for value in ordered:
        here = counts.get(value, 0)
        below, above = round(100 * running / total), round(100 * (total - running - here) / total)
        found[value] = f"{POSITION}{above_word} than {below} % of the population, {below_word} than {above} %)"
        running += here
    return found
