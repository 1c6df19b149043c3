"""Lays published margins over respondents or agents, and says how far people are from them."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from assets.population.errors import InconsistentMargins, MissingMarginAttribute
from assets.population.laid_margins import NATION, OUTSIDE, Margin, level_sums
from validation.margin_levels import index_of_combination


def margins_of(people: pl.DataFrame, margins: pl.DataFrame, geography: str = NATION) -> tuple[Margin, ...]:
    """Lays the margins of a geography over respondents or agents: the level of each person beside the totals.

    Args:
        people: rows with the attributes that the margins name.
        margins: rows of `population_margins`.
        geography: area whose totals are used.

    Raises:
        MissingMarginAttribute: somebody has no value in an attribute that a margin uses, or one without a total.
    """
    totals = margins.filter(pl.col("geography") == geography)
    laid = []
    for (name,), rows in totals.group_by("margin", maintain_order=True):
        levels = tuple(rows["level"])
        code = pl.concat_str(str(name).split("*"), separator="*").replace_strict(
            index_of_combination(levels), default=None, return_dtype=pl.Int64
        )
        level_R = people.select(code.alias("level"))["level"]
        _refuse_missing(people, level_R, str(name), str(name).split("*"), levels)
        laid.append(Margin(str(name), levels, level_R.to_numpy(), rows["count"].to_numpy()))
    return tuple(laid)


def lay_margins(people: pl.DataFrame, margins: pl.DataFrame) -> tuple[Margin, ...]:
    """Lays every margin over people: the nation's, and one for all states together per margin that states have.

    A margin of the states becomes one margin of state by level, which asks the same of the weights. It counts as the
    nation's where every one of the people lives in a state that has it, so that totals must agree.

    Args:
        people: rows with the attributes that the margins name, and `state` where states have margins.
        margins: rows of `population_margins`.

    Raises:
        InconsistentMargins: no margin is for the nation or a state.
        MissingMarginAttribute: somebody has no value in an attribute that a margin uses, or one without a total.
    """
    of_states = margins.filter(pl.col("geography").str.starts_with(f"{NATION}-"))
    laid = list(margins_of(people, margins))
    for (name,), rows in of_states.group_by("margin", maintain_order=True):
        rows = rows.with_columns(pl.col("geography").str.slice(len(NATION) + 1).alias("state"))
        levels = tuple(rows.select(pl.concat_str("state", "level", separator="*")).to_series())
        names = str(name).split("*")
        key = pl.concat_str("state", *names, separator="*")
        is_inside = pl.col("state").is_in(rows["state"].unique().to_list())
        code = key.replace_strict(index_of_combination(levels), default=None, return_dtype=pl.Int64)
        level_R = people.select(pl.when(~is_inside).then(OUTSIDE).otherwise(code).alias("level"))["level"]
        _refuse_missing(people, level_R, f"state*{name}", names, levels)
        geography = "states" if (level_R == OUTSIDE).any() else NATION
        laid.append(Margin(f"state*{name}", levels, level_R.to_numpy(), rows["count"].to_numpy(), geography))
    if not laid:
        found = margins["geography"].unique().sort().to_list()
        raise InconsistentMargins(f"No margin has the geography {NATION} or a state ({NATION}-NY), found {found}.")
    return tuple(laid)


def compare_with_margins(people: pl.DataFrame, margins: pl.DataFrame, weight: np.ndarray | None = None) -> pl.DataFrame:
    """How far people are from each margin level, of the nation and of states.

    Args:
        people: respondents or agents.
        margins: rows of `population_margins`.
        weight: weight per person; everybody counts alike when left out.

    Returns:
        margin and level (`state*sex` and `NY*male` for a state), target share and share found of all people the margin
        describes, their difference, the target in units of weight and the relative error.
    """
    tables = []
    for margin in lay_margins(people, margins):
        sum_L = level_sums(weight, margin.level_R, len(margin.levels))
        tables.append(
            pl.DataFrame(
                {
                    "margin": [margin.name] * len(margin.levels),
                    "level": margin.levels,
                    "target_share": margin.total_L / margin.total_L.sum(),
                    "share": sum_L / sum_L.sum(),
                    "target": margin.total_L / margin.total_L.sum() * sum_L.sum(),
                    "found": sum_L,
                }
            )
        )
    difference = (pl.col("share") - pl.col("target_share")).alias("difference")
    relative = (pl.col("found") / pl.col("target") - 1).alias("relative_error")
    return pl.concat(tables).with_columns(difference, relative)


def _refuse_missing(
    people: pl.DataFrame, level_R: pl.Series, margin: str, names: Sequence[str], levels: Sequence[str]
) -> None:
    if level_R.null_count():
        found = people.filter(level_R.is_null()).select(pl.concat_str(names, separator="*"))
        raise MissingMarginAttribute(
            f"{level_R.null_count()} of {people.height} people have no level of margin {margin}: found "
            f"{found.to_series().unique().head(5).to_list()}, allowed {', '.join(levels[:20])}. Complete the attribute "
            "in the survey's codebook, or drop the margin."
        )
