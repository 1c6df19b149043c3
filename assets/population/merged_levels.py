"""Merges levels of margins that too few respondents are in, as the population file says."""

from collections.abc import Sequence

import polars as pl

from assets.population.errors import InconsistentMargins
from assets.population.population_file import LevelMerge
from validation.attributes import ATTRIBUTE_BY_NAME
from validation.margin_levels import CROSS, MERGE


def merge_levels(frame: pl.DataFrame, merges: Sequence[LevelMerge], place: str) -> pl.DataFrame:
    """Adds up the counts of merged levels, in every margin of the geographies that uses the attribute.

    Args:
        frame: rows of `population_margins`.
        merges: which levels of which attribute become one, and where.
        place: file or origin, for messages.

    Returns:
        Rows of `population_margins`; a merged level is named by its values joined by `|`, in the attribute's order.

    Raises:
        InconsistentMargins: an attribute or level is unknown, or no margin of the geographies uses it.
    """
    for merge in merges:
        _check(frame, merge, place)
    rows: dict[tuple[str, str, str], dict] = {}
    for row in frame.iter_rows(named=True):
        level = _merged(row["geography"], row["margin"], row["level"], merges)
        key = (row["geography"], row["margin"], level)
        if key in rows:
            rows[key]["share"] += row["share"]
            rows[key]["count"] += row["count"]
        else:
            rows[key] = {**row, "level": level}
    return pl.DataFrame(list(rows.values()), schema=frame.schema)


def _merged(geography: str, margin: str, level: str, merges: Sequence[LevelMerge]) -> str:
    parts = level.split(CROSS)
    for place, name in enumerate(margin.split(CROSS)):
        for merge in merges:
            is_meant = merge.attribute == name and (merge.geographies is None or geography in merge.geographies)
            if is_meant and parts[place] in merge.levels:
                parts[place] = MERGE.join(value for value in ATTRIBUTE_BY_NAME[name].levels if value in merge.levels)
    return CROSS.join(parts)


def _check(frame: pl.DataFrame, merge: LevelMerge, place: str) -> None:
    if merge.attribute not in ATTRIBUTE_BY_NAME:
        raise InconsistentMargins(
            f"{place}: merge names the unknown attribute {merge.attribute!r}. Allowed: {', '.join(ATTRIBUTE_BY_NAME)}. "
            "Correct the population file."
        )
    levels = ATTRIBUTE_BY_NAME[merge.attribute].levels
    unknown = [level for level in merge.levels if level not in levels]
    if unknown or len(set(merge.levels)) < 2:
        raise InconsistentMargins(
            f"{place}: merge of {merge.attribute} lists {', '.join(merge.levels)}. Allowed: two or more of "
            f"{', '.join(levels)}. Correct the population file."
        )
    uses = pl.col("margin").str.split(CROSS).list.contains(merge.attribute)
    geographies = frame.filter(uses)["geography"].unique(maintain_order=True).to_list()
    absent = [name for name in merge.geographies or geographies[:1] or ("any",) if name not in geographies]
    if absent:
        raise InconsistentMargins(
            f"{place}: merge of {merge.attribute} is for {', '.join(absent)}, where no margin uses it. It is used in: "
            f"{', '.join(geographies) or 'no geography'}. Correct the population file."
        )
