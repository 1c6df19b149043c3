"""Personas: an agent's attributes as the lines that a teacher reads, some of them relative to the population."""

from collections.abc import Mapping

import polars as pl

from validation.attributes import ATTRIBUTES

RELATIVE_ATTRIBUTES = ("age_group", "income_group", "ideology")
"""Ordinal attributes for which the persona also says how many people stand below."""


def render_personas(people: pl.DataFrame, population: pl.DataFrame) -> dict[int, str]:
    """The persona of each agent, by agent_id.

    Args:
        people: rows of `agents` to describe.
        population: rows of `agents` that relative positions refer to.

    Returns:
        Lines "- name: value"; relative attributes carry the percentage of the population that stands below.
    """
    below = {name: _share_below(population, name) for name in RELATIVE_ATTRIBUTES}
    return {row["agent_id"]: _persona(row, below) for row in people.iter_rows(named=True)}


def _persona(row: Mapping[str, object], below: Mapping[str, Mapping[str, float]]) -> str:
    lines = [f"- person: {row['agent_id']}", f"- age: {row['age']}"]
    for attribute in ATTRIBUTES:
        level = str(row[attribute.name])
        share = below.get(attribute.name, {}).get(level)
        position = "" if share is None else f" (above {100 * share:.0f} % of the population)"
        lines.append(f"- {attribute.name}: {level}{position}")
    return "\n".join(lines)


def _share_below(population: pl.DataFrame, name: str) -> dict[str, float]:
    levels = next(attribute.levels for attribute in ATTRIBUTES if attribute.name == name)
    counts = dict(population.group_by(name).len().iter_rows())
    shares, running = {}, 0
    for level in levels:
        shares[level] = running / max(population.height, 1)
        running += counts.get(level, 0)
    return shares
