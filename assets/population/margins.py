"""Margins (control totals): reads the published totals of one or several sources and checks that they agree."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl

from assets.population.errors import InconsistentMargins
from assets.population.laid_margins import NATION, TOTALS_TOLERANCE
from assets.population.merged_levels import merge_levels
from assets.population.population_file import MarginSource
from assets.sources.catalogue import DataCatalogue, ResolvedSource
from validation.attributes import ATTRIBUTE_BY_NAME, REGION_OF_STATE
from validation.margin_levels import MERGE, index_of_combination

logger = logging.getLogger(__name__)

MARGINS_SOURCE = "margins_us_2016"
CELLS_SOURCE = "acs_2018_cells"
SHARE_TOLERANCE = 1e-6
COLUMNS = {
    "geography": pl.String,
    "margin": pl.String,
    "level": pl.String,
    "share": pl.Float64,
    "count": pl.Float64,
    "source": pl.String,
    "year": pl.Int32,
}
DEMOGRAPHIC_MARGINS = (
    "sex",
    "age_group",
    "race_ethnicity",
    "education",
    "region",
    "sex*age_group",
    "race_ethnicity*education",
)
"""Margins of the published totals that the cells of the American Community Survey give as well."""

STATE_MARGINS = ("sex", "age_group", "race_ethnicity", "education", "sex*age_group", "race_ethnicity*education")
"""Margins taken from the cells where the population file names none."""

CELLS_CITATION = "ACS 2014-2018, adult citizens of the 50 states; tabulation JuanLopezMartin/MRPCaseStudy@fe2dfef"
CELLS_YEAR = 2016

EDUCATION_OF_CELL = {
    "No HS": "no_college_degree",
    "HS": "no_college_degree",
    "Some college": "no_college_degree",
    "4-Year College": "college_degree",
    "Post-grad": "college_degree",
}


@dataclass(frozen=True)
class PopulationMargins:
    """`frame` holds rows of `population_margins`; `uses` says which files they came from or were checked against."""

    frame: pl.DataFrame
    uses: tuple[dict[str, str], ...]


def load_margins(catalogue: DataCatalogue, sources: Sequence[MarginSource] | None = None) -> PopulationMargins:
    """The margins to calibrate on, of one or several sources and geographies.

    When the mirror holds the cells of the American Community Survey, the published demographic margins are compared
    with the cells and must equal them.

    Args:
        catalogue: where to look for files.
        sources: which margins of which source; the published national totals when left out.

    Raises:
        InconsistentMargins: the margins contradict themselves, one another or the cells, or a margin is not there.
        CatalogueError: a file is not the recorded one.
    """
    frames, uses = [], []
    for wanted in sources or (MarginSource(source=MARGINS_SOURCE),):
        frame, used = _load_source(catalogue, wanted)
        frames.append(merge_levels(frame, wanted.merge, wanted.source))
        uses += used
    frame = pl.concat(frames)
    repeated = frame.filter(frame.select("geography", "margin", "level").is_duplicated())
    if repeated.height:
        row = repeated.row(0, named=True)
        raise InconsistentMargins(
            f"Margin {row['margin']}={row['level']} of {row['geography']} comes from two sources: "
            f"{', '.join(repeated['source'].unique().sort())}. Take it from one of them in the population file."
        )
    if len(frames) > 1:
        frame = margins_from_frame(frame, " and ".join(wanted.source for wanted in sources or ()))
    _check_geographies(frame)
    return PopulationMargins(frame, tuple(uses))


def _load_source(catalogue: DataCatalogue, wanted: MarginSource) -> tuple[pl.DataFrame, list[dict[str, str]]]:
    resolved = catalogue.resolve(wanted.source)
    uses = [resolved.record()]
    if resolved.source.kind == "cells":
        tables = [
            tabulate_cells(resolved.load(), wanted.margins or STATE_MARGINS, by_state=by_state)
            for by_state in {"nation": (False,), "states": (True,), "all": (False, True)}[wanted.geographies]
        ]
        described = [pl.lit(CELLS_CITATION).alias("source"), pl.lit(CELLS_YEAR, dtype=pl.Int32).alias("year")]
        return margins_from_frame(pl.concat(tables).with_columns(described), str(resolved.path)), uses
    if resolved.source.kind != "margins":
        raise InconsistentMargins(
            f"{wanted.source!r} holds no margins but is a {resolved.source.kind}. Name a source of margins, "
            f"{CELLS_SOURCE}, or a file of your own {wanted.source}.csv in POPULACE_DATA_DIR."
        )
    frame = margins_from_frame(resolved.load(), str(resolved.path))
    if resolved.origin != "user" and catalogue.has(CELLS_SOURCE):
        uses.append(_compare_with_cells(frame, resolved, catalogue.resolve(CELLS_SOURCE)))
    if wanted.geographies != "all":
        is_nation = pl.col("geography") == NATION
        frame = frame.filter(is_nation if wanted.geographies == "nation" else ~is_nation)
    if wanted.margins is not None:
        absent = set(wanted.margins) - set(frame["margin"])
        if absent:
            raise InconsistentMargins(
                f"{resolved.path} has no margin {', '.join(sorted(absent))} for geographies: {wanted.geographies}. "
                f"Margins there: {', '.join(frame['margin'].unique(maintain_order=True))}. Correct the population file."
            )
        frame = frame.filter(pl.col("margin").is_in(wanted.margins))
    return frame, uses


def _compare_with_cells(frame: pl.DataFrame, resolved: ResolvedSource, cells: ResolvedSource) -> dict[str, str]:
    tabulated = tabulate_cells(cells.load())
    both = frame.filter(pl.col("margin").is_in(DEMOGRAPHIC_MARGINS)).join(
        tabulated, on=["margin", "level"], how="full", suffix="_cells", coalesce=True
    )
    differing = both.filter(pl.col("count").ne_missing(pl.col("count_cells")))
    if differing.height:
        row = differing.row(0, named=True)
        raise InconsistentMargins(
            f"{resolved.path}: margin {row['margin']}={row['level']} is {row['count']}, but the cells in {cells.path} "
            f"give {row['count_cells']} ({differing.height} levels differ). Restore both files, or give your own "
            f"{MARGINS_SOURCE}.csv in POPULACE_DATA_DIR."
        )
    logger.info("%d margin levels agree with the cells of %s", tabulated.height, cells.path)
    return cells.record()


def margins_from_frame(table: pl.DataFrame, place: str) -> pl.DataFrame:
    """Checks a table of margins and brings it into the order and types of `population_margins`.

    Args:
        table: columns geography, margin, level, count, source, year, and optionally share.
        place: file or origin, for messages.

    Raises:
        InconsistentMargins: a column, attribute or level is unknown or absent, a share does not belong to its count,
            shares do not sum to one, or two margins of one geography disagree where they overlap.
    """
    absent = [name for name in COLUMNS if name not in table.columns and name != "share"]
    if absent:
        raise InconsistentMargins(
            f"{place}: columns {', '.join(absent)} are missing, found {', '.join(table.columns)}. Allowed: "
            f"{', '.join(COLUMNS)} (share may be left out). Add them."
        )
    frame = table.with_columns(pl.col("count").cast(pl.Float64))
    total = pl.col("count").sum().over("geography", "margin")
    if "share" not in frame.columns:
        frame = frame.with_columns((pl.col("count") / total).alias("share"))
    frame = frame.select(pl.col(name).cast(dtype) for name, dtype in COLUMNS.items())
    for (geography, margin), levels in frame.group_by("geography", "margin", maintain_order=True):
        _check_margin(levels, str(geography), str(margin), place)
    for (geography,), margins in frame.group_by("geography", maintain_order=True):
        for first, second in combinations(margins["margin"].unique(maintain_order=True), 2):
            _check_overlap(margins, str(geography), first, second, place)
    return frame


def tabulate_cells(
    cells: pl.DataFrame, margins: Sequence[str] = DEMOGRAPHIC_MARGINS, *, by_state: bool = False
) -> pl.DataFrame:
    """Margins of the cells, of the nation or of every state: geography, margin, level, count.

    Args:
        cells: columns state, eth, sex, age, educ and n, the number of adult citizens in the cell.
        margins: sex, age_group, race_ethnicity, education, region or state, alone or joined by *.
        by_state: whether to tabulate every state by itself.

    Raises:
        InconsistentMargins: a margin uses an attribute that the cells do not have.
    """
    text = cells.with_columns(pl.exclude("n").cast(pl.String))
    people = text.select(
        "sex",
        pl.col("age").alias("age_group"),
        pl.col("eth").str.to_lowercase().alias("race_ethnicity"),
        pl.col("educ").replace_strict(EDUCATION_OF_CELL).alias("education"),
        pl.col("state").replace_strict(REGION_OF_STATE).alias("region"),
        "state",
        (pl.format("US-{}", "state") if by_state else pl.lit(NATION)).alias("geography"),
        "n",
    )
    unknown = {name for margin in margins for name in margin.split("*")} - set(people.columns)
    if unknown:
        raise InconsistentMargins(
            f"{CELLS_SOURCE} gives no {', '.join(sorted(unknown))}. Allowed: sex, age_group, race_ethnicity, "
            "education, region, state, alone or joined by *. Take other margins from another source."
        )
    tables = [
        people.group_by("geography", pl.concat_str(margin.split("*"), separator="*").alias("level"))
        .agg(pl.col("n").sum().cast(pl.Float64).alias("count"))
        .select("geography", pl.lit(margin).alias("margin"), "level", "count")
        for margin in margins
    ]
    return pl.concat(tables).sort("geography", "margin", "level")


def _check_geographies(frame: pl.DataFrame) -> None:
    """The states' counts of a margin level cannot exceed the nation's."""
    nation = frame.filter(pl.col("geography") == NATION).select("margin", "level", "count")
    states = frame.filter(pl.col("geography") != NATION).group_by("margin", "level", maintain_order=True)
    both = nation.join(states.agg(pl.sum("count"), pl.len().alias("num_states")), on=["margin", "level"], suffix="_sum")
    wrong = both.filter(pl.col("count_sum") > pl.col("count") * (1 + TOTALS_TOLERANCE))
    if wrong.height:
        row = wrong.row(0, named=True)
        raise InconsistentMargins(
            f"Margin {row['margin']}={row['level']} sums to {row['count_sum']:,.6g} over {row['num_states']} states, "
            f"but is {row['count']:,.6g} in the nation. Correct one of the two, or scale one to the other's population."
        )


def _check_margin(levels: pl.DataFrame, geography: str, margin: str, place: str) -> None:
    where = f"{place}: margin {margin} of {geography}"
    attributes = margin.split("*")
    unknown = [name for name in attributes if name not in ATTRIBUTE_BY_NAME]
    if unknown:
        raise InconsistentMargins(
            f"{where} names the unknown attribute {unknown[0]!r}. Allowed: {', '.join(ATTRIBUTE_BY_NAME)}, joined by *."
        )
    for level in levels["level"]:
        parts = level.split("*")
        if len(parts) != len(attributes):
            raise InconsistentMargins(
                f"{where} has the level {level!r}: {len(parts)} values for {len(attributes)} attributes. Join one "
                "value per attribute by *."
            )
        for name, part in zip(attributes, parts, strict=True):
            unknown = [value for value in part.split(MERGE) if value not in ATTRIBUTE_BY_NAME[name].levels]
            if unknown:
                raise InconsistentMargins(
                    f"{where} has the level {level!r}; {name} has no level {unknown[0]!r}. Allowed: "
                    f"{', '.join(ATTRIBUTE_BY_NAME[name].levels)}, merged ones joined by {MERGE}. Correct the level."
                )
    try:
        index_of_combination(levels["level"].to_list())
    except ValueError as error:
        raise InconsistentMargins(f"{where} lists a level twice: {error}. Merge the rows.") from error
    count, share = levels["count"].to_numpy(), levels["share"].to_numpy()
    if not (np.isfinite(count).all() and (count >= 0).all() and count.sum() > 0):
        raise InconsistentMargins(f"{where} has counts {count.tolist()}; counts must be zero or more. Correct them.")
    if not abs(share.sum() - 1) <= SHARE_TOLERANCE:
        raise InconsistentMargins(
            f"{where}: shares sum to {share.sum():.8g}, expected 1 (allowed difference {SHARE_TOLERANCE:g}). "
            "Complete or correct its levels."
        )
    gap = np.abs(share - count / count.sum())
    if gap.max() > SHARE_TOLERANCE:
        worst = int(gap.argmax())
        raise InconsistentMargins(
            f"{where}={levels['level'][worst]}: share {share[worst]:.8g} does not belong to its count, expected "
            f"{count[worst] / count.sum():.8g}. Correct one of the two, or leave the column share out."
        )


def _check_overlap(margins: pl.DataFrame, geography: str, first: str, second: str, place: str) -> None:
    """Two margins must give the same counts over the attributes they share; without any, the same total."""
    shared = [name for name in first.split("*") if name in second.split("*")]

    def collapse(margin: str) -> dict[str, float]:
        counts: dict[str, float] = {}
        names = margin.split("*")
        for level, count in margins.filter(pl.col("margin") == margin).select("level", "count").iter_rows():
            parts = level.split("*")
            key = "*".join(f"{name}={parts[names.index(name)]}" for name in shared) or "the total"
            counts[key] = counts.get(key, 0.0) + count
        return counts

    counts_first, counts_second = collapse(first), collapse(second)
    for key in sorted({*counts_first, *counts_second}):
        expected, found = counts_first.get(key, 0.0), counts_second.get(key, 0.0)
        if abs(found - expected) > TOTALS_TOLERANCE * max(expected, found):
            raise InconsistentMargins(
                f"{place}: margins of {geography} disagree: {key} is {found:,.6g} by margin {second}, expected "
                f"{expected:,.6g} as by margin {first}. Scale one to the population of the other, or correct the level."
            )
