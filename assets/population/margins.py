"""Margins (control totals): reads the published totals, checks that they agree, and lays them over people."""

import logging
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl

from assets.population.errors import InconsistentMargins, MissingMarginAttribute
from assets.population.raking import TOTALS_TOLERANCE, Margin
from assets.sources.catalogue import DataCatalogue
from validation.attributes import ATTRIBUTE_BY_NAME, REGION_OF_STATE

logger = logging.getLogger(__name__)

MARGINS_SOURCE = "margins_us_2016"
CELLS_SOURCE = "acs_2018_cells"
NATION = "US"
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
"""Margins that the cells of the American Community Survey give."""

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


def load_margins(catalogue: DataCatalogue) -> PopulationMargins:
    """The margins to calibrate on: the user's own, or the published totals that come with the package.

    When the mirror holds the cells of the American Community Survey, the demographic margins are tabulated from them
    and must equal the published totals.

    Raises:
        InconsistentMargins: the margins contradict themselves, one another or the cells.
        CatalogueError: a file is not the recorded one.
    """
    resolved = catalogue.resolve(MARGINS_SOURCE)
    frame = margins_from_frame(resolved.load(), str(resolved.path))
    uses = [resolved.record()]
    if resolved.origin == "user" or not catalogue.has(CELLS_SOURCE):
        return PopulationMargins(frame, tuple(uses))
    cells = catalogue.resolve(CELLS_SOURCE)
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
    return PopulationMargins(frame, (*uses, cells.record()))


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


def tabulate_cells(cells: pl.DataFrame) -> pl.DataFrame:
    """Demographic margins of the cells: margin, level, count.

    Args:
        cells: columns state, eth, sex, age, educ and n, the number of adult citizens in the cell.
    """
    text = cells.with_columns(pl.exclude("n").cast(pl.String))
    people = text.select(
        "sex",
        pl.col("age").alias("age_group"),
        pl.col("eth").str.to_lowercase().alias("race_ethnicity"),
        pl.col("educ").replace_strict(EDUCATION_OF_CELL).alias("education"),
        pl.col("state").replace_strict(REGION_OF_STATE).alias("region"),
        "n",
    )
    tables = [
        people.group_by(pl.concat_str(margin.split("*"), separator="*").alias("level"))
        .agg(pl.col("n").sum().cast(pl.Float64).alias("count"))
        .select(pl.lit(margin).alias("margin"), "level", "count")
        for margin in DEMOGRAPHIC_MARGINS
    ]
    return pl.concat(tables).sort("margin", "level")


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
            levels, range(len(levels)), default=None, return_dtype=pl.Int64
        )
        level_R = people.select(code.alias("level"))["level"]
        if level_R.null_count():
            found = people.filter(level_R.is_null()).select(pl.concat_str(str(name).split("*"), separator="*"))
            raise MissingMarginAttribute(
                f"{level_R.null_count()} of {people.height} people have no level of margin {name}: found "
                f"{found.to_series().unique().head(5).to_list()}, allowed {', '.join(levels)}. Complete the attribute "
                "in the survey's codebook, or drop the margin."
            )
        laid.append(Margin(str(name), levels, level_R.to_numpy(), rows["count"].to_numpy()))
    return tuple(laid)


def compare_with_margins(people: pl.DataFrame, margins: pl.DataFrame, weight: np.ndarray | None = None) -> pl.DataFrame:
    """How far people are from each margin level: margin, level, target share, share found and their difference.

    Args:
        people: respondents or agents.
        margins: rows of `population_margins`.
        weight: weight per person; everybody counts alike when left out.
    """
    tables = []
    for margin in margins_of(people, margins):
        sum_L = np.bincount(margin.level_R, weights=weight, minlength=len(margin.levels))
        tables.append(
            pl.DataFrame(
                {
                    "margin": [margin.name] * len(margin.levels),
                    "level": margin.levels,
                    "target_share": margin.total_L / margin.total_L.sum(),
                    "share": sum_L / sum_L.sum(),
                }
            )
        )
    return pl.concat(tables).with_columns((pl.col("share") - pl.col("target_share")).alias("difference"))


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
            if part not in ATTRIBUTE_BY_NAME[name].levels:
                raise InconsistentMargins(
                    f"{where} has the level {level!r}; {name} has no level {part!r}. Allowed: "
                    f"{', '.join(ATTRIBUTE_BY_NAME[name].levels)}. Correct the level."
                )
    if levels["level"].is_duplicated().any():
        raise InconsistentMargins(f"{where} lists a level twice. Merge the rows.")
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
