"""Applies a codebook to a survey file: source columns become harmonised attributes, items, wave and design weight.

Nothing is guessed: a code that the codebook does not explain stops the load and is named.
"""

import logging
from dataclasses import dataclass

import polars as pl

from assets.sources.codebooks import CodebookFile, ColumnMapping
from assets.sources.errors import CodebookError
from validation.attributes import AGE_GROUP_BOUNDS, ATTRIBUTES, REGION_OF_STATE

logger = logging.getLogger(__name__)

ADULT_AGE_YEARS = 18
LARGEST_AGE_YEARS = 110


@dataclass(frozen=True)
class HarmonisedSurvey:
    """Rows of `survey_respondents` from one survey, and how many rows were left out because they describe minors."""

    frame: pl.DataFrame
    num_minors: int


def harmonise_survey(rows: pl.DataFrame, codebook: CodebookFile) -> HarmonisedSurvey:
    """Turns a survey file into rows of `survey_respondents`.

    Ages above 110 count as missing. Rows that state an age below 18 are left out and counted, as agents are adults.

    Args:
        rows: the survey file as it is.
        codebook: its description.

    Raises:
        CodebookError: a column is missing, a code is not explained, or a weight or wave cannot be used.
    """
    spec = codebook.spec
    columns: dict[str, pl.Series] = {"wave": _wave(rows, codebook), "design_weight": _design_weight(rows, codebook)}
    if spec.age is not None:
        age = _numbers(rows, codebook, spec.age, "age").cast(pl.Int32)
        columns["age"] = age.set(age > LARGEST_AGE_YEARS, None)
    else:
        columns["age"] = pl.repeat(None, rows.height, dtype=pl.Int32, eager=True)
    if spec.person is not None:
        columns["person_id"] = _person(rows, codebook, spec.person)
    for attribute in spec.attributes:
        columns[attribute] = _attribute(rows, codebook, attribute)
    for item, mapping in spec.items.items():
        labels = ColumnMapping(column=mapping.column, recode=dict(mapping.options), missing=mapping.missing)
        columns[f"item_{item}"] = _levels(rows, codebook, labels, ("items", item))

    frame = pl.DataFrame(columns).with_columns(
        pl.format("{}-{}-{}", pl.lit(spec.survey), "wave", pl.int_range(pl.len())).alias("respondent_id"),
        pl.lit(spec.survey).alias("survey"),
    )
    if "age_group" not in spec.attributes:
        groups = [pl.when(pl.col("age").is_between(*b)).then(pl.lit(g)) for g, b in AGE_GROUP_BOUNDS.items()]
        frame = frame.with_columns(pl.coalesce(groups).alias("age_group"))
    if "region" not in spec.attributes and "state" in spec.attributes:
        region = pl.col("state").replace_strict(REGION_OF_STATE, default=None, return_dtype=pl.String)
        frame = frame.with_columns(region.alias("region"))
    absent = [name for name in ("person_id", *(a.name for a in ATTRIBUTES)) if name not in frame.columns]
    frame = frame.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in absent)

    is_minor = (pl.col("age") < ADULT_AGE_YEARS).fill_null(False)
    adults = frame.filter(~is_minor)
    num_minors = frame.height - adults.height
    if num_minors:
        logger.warning("survey %s: %d respondents under 18 are left out; agents are adults", spec.survey, num_minors)
    fixed = ["respondent_id", "survey", "person_id", "wave", "design_weight", "age", *(a.name for a in ATTRIBUTES)]
    return HarmonisedSurvey(adults.select(*fixed, *(f"item_{item}" for item in spec.items)), num_minors)


def _attribute(rows: pl.DataFrame, codebook: CodebookFile, attribute: str) -> pl.Series:
    mappings = codebook.spec.mappings(attribute)
    is_list = isinstance(codebook.spec.attributes[attribute], tuple)
    parts = [
        _levels(rows, codebook, mapping, ("attributes", attribute, index) if is_list else ("attributes", attribute))
        for index, mapping in enumerate(mappings)
    ]
    return pl.select(pl.coalesce(parts)).to_series()


def _levels(
    rows: pl.DataFrame, codebook: CodebookFile, mapping: ColumnMapping, place: tuple[str | int, ...]
) -> pl.Series:
    """The level of each row, null where the source column is null or holds a code listed as missing."""
    if mapping.bands is not None:
        values = _numbers(rows, codebook, mapping.column, *place, "column")
        bands = [pl.when(values.is_between(*bound)).then(pl.lit(level)) for level, bound in mapping.bands.items()]
        levels = pl.select(pl.coalesce(bands)).to_series()
    else:
        values = _column(rows, codebook, mapping.column, *place, "column")
        recode = {_same_type(code, values): level for code, level in (mapping.recode or {}).items()}
        levels = values.replace_strict(recode, default=None, return_dtype=pl.String)
    missing = [_same_type(code, values) for code in (*codebook.spec.missing, *mapping.missing)]
    is_missing = values.is_null() | values.is_in(missing)
    levels = levels.set(is_missing, None)
    is_open = levels.is_null() & ~is_missing
    if not is_open.any() or mapping.otherwise == "missing":
        return levels
    if mapping.otherwise is not None:
        return levels.set(is_open, mapping.otherwise)
    found = values.filter(is_open).unique().sort().to_list()
    explained = list(mapping.recode or mapping.bands or ())
    raise CodebookError(
        f"{codebook.place(*place)}: column {mapping.column!r} holds {len(found)} values that the codebook does not "
        f"explain ({int(is_open.sum())} rows), found {found[:8]}. Explained: {explained}, missing: {missing}. Map "
        "them, list them under missing, or say otherwise: missing."
    )


def _column(rows: pl.DataFrame, codebook: CodebookFile, column: str, *place: str | int) -> pl.Series:
    """The source column, categories as text and numbers as floats, so that codes compare by value."""
    if column not in rows.columns:
        raise CodebookError(
            f"{codebook.place(*place)}: the survey file has no column {column!r}. Columns: {', '.join(rows.columns)}. "
            "Correct the name, or take the entry out."
        )
    values = rows[column]
    return values.cast(pl.Float64).fill_nan(None) if values.dtype.is_numeric() else values.cast(pl.String)


def _numbers(rows: pl.DataFrame, codebook: CodebookFile, column: str, *place: str | int) -> pl.Series:
    values = _column(rows, codebook, column, *place)
    if values.dtype == pl.String:
        raise CodebookError(
            f"{codebook.place(*place)}: column {column!r} must hold numbers, found text such as "
            f"{values.drop_nulls().head(3).to_list()}. Convert the column, or use recode."
        )
    missing = [float(code) for code in codebook.spec.missing if not isinstance(code, str)]
    return values.set(values.is_in(missing), None)


def _same_type(code: int | float | str, values: pl.Series) -> float | str:
    """The code as the column holds it; a text code of a numeric column stays text and so never matches."""
    if values.dtype == pl.String:
        return str(code)
    try:
        return float(code)
    except ValueError:
        return float("nan")


def _person(rows: pl.DataFrame, codebook: CodebookFile, column: str) -> pl.Series:
    """An id that links the interviews of one person; it must not repeat within a wave."""
    values = _column(rows, codebook, column, "person")
    if values.dtype.is_numeric():
        values = values.cast(pl.Int64)
    frame = pl.DataFrame({"person": values, "wave": _wave(rows, codebook)})
    repeated = frame.filter(pl.col("person").is_not_null() & frame.is_duplicated())
    if repeated.height:
        raise CodebookError(
            f"{codebook.place('person')}: column {column!r} repeats within a wave ({repeated.height} rows, found "
            f"{repeated['person'].unique().head(5).to_list()}); it must be the same person across waves only. Name the "
            "column that identifies people, or take the entry out."
        )
    return pl.select(pl.format("{}-{}", pl.lit(codebook.spec.survey), frame["person"])).to_series()


def _wave(rows: pl.DataFrame, codebook: CodebookFile) -> pl.Series:
    wave = codebook.spec.wave
    if isinstance(wave, int):
        return pl.repeat(wave, rows.height, dtype=pl.Int32, eager=True)
    years = _numbers(rows, codebook, wave.column, "wave", "column")
    if years.is_null().any():
        raise CodebookError(
            f"{codebook.place('wave')}: column {wave.column!r} has no year in {years.null_count()} rows. Every "
            "respondent needs the calendar year of the interview; complete the column or drop the rows."
        )
    return years.cast(pl.Int32)


def _design_weight(rows: pl.DataFrame, codebook: CodebookFile) -> pl.Series:
    column = codebook.spec.design_weight
    if column == "none":
        return pl.repeat(1.0, rows.height, dtype=pl.Float64, eager=True)
    weights = _numbers(rows, codebook, column, "design_weight")
    is_bad = weights.is_null() | weights.is_infinite() | (weights <= 0)
    if is_bad.any():
        raise CodebookError(
            f"{codebook.place('design_weight')}: column {column!r} is missing, zero or negative in {int(is_bad.sum())} "
            "of the rows; design weights must be positive. Drop these rows, or choose another weight column."
        )
    return weights
