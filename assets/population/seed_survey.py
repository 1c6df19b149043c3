"""The respondents who become donors: the seed survey's, of one wave, of the margins' universe, complete in the margins.

Nothing is left out or filled silently: the population file says which, and the numbers are reported.
"""

import logging
from dataclasses import dataclass

import numpy as np
import polars as pl

from assets.population.errors import CalibrationError, MissingMarginAttribute
from assets.population.hot_deck import HotDeck
from assets.population.population_file import PopulationFile
from validation.attributes import ATTRIBUTES
from validation.predicates import PredicateError, compile_predicate

logger = logging.getLogger(__name__)

IMPUTATION_SEED = 7
FILLED = "filled_before_calibration"
"""Column that names, per respondent, the attributes filled before calibration."""


@dataclass(frozen=True)
class SeedRespondents:
    """`frame` holds rows of `survey_respondents` and `FILLED`; the numbers say what became of the others."""

    frame: pl.DataFrame
    num_outside_universe: int
    num_left_out: int
    num_imputed: int


def seed_respondents(respondents: pl.DataFrame, margin_names: tuple[str, ...], file: PopulationFile) -> SeedRespondents:
    """Picks the respondents to calibrate, the same ones for the same rows and file.

    Args:
        respondents: rows of `survey_respondents`, of one or more surveys.
        margin_names: margins to calibrate on; their attributes must be known.
        file: the population file.

    Raises:
        CalibrationError: the seed survey has no respondents left, or the universe is no condition.
        MissingMarginAttribute: somebody lacks an attribute of a margin and the file refuses that.
    """
    seed = respondents.filter(pl.col("survey") == file.seed_survey)
    if seed.is_empty():
        surveys = respondents["survey"].unique().sort().to_list()
        raise CalibrationError(
            f"No respondents of the seed survey {file.seed_survey!r}. Surveys loaded: {', '.join(surveys) or 'none'}. "
            "Choose one of them as the seed survey, or load it (docs/data.md)."
        )
    if file.wave is not None:
        waves = seed["wave"].unique().sort().to_list()
        seed = seed.filter(pl.col("wave") == file.wave)
        if seed.is_empty():
            raise CalibrationError(
                f"The seed survey {file.seed_survey!r} has no interviews of {file.wave}; waves: {waves}. Correct wave."
            )
    num_all = seed.height
    try:
        seed = seed.filter(compile_predicate(file.universe))
    except PredicateError as error:
        raise CalibrationError(f"universe of the population file: {error}") from error
    num_outside = num_all - seed.height
    if seed.is_empty():
        raise CalibrationError(f"universe {file.universe!r} leaves none of {num_all} respondents. Correct it.")
    names = {name for margin in margin_names for name in margin.split("*")}
    needed = tuple(attribute.name for attribute in ATTRIBUTES if attribute.name in names)
    open_counts = {name: seed[name].null_count() for name in needed if seed[name].null_count()}
    seed = seed.with_columns(pl.lit([], dtype=pl.List(pl.String)).alias(FILLED))
    if not open_counts:
        return SeedRespondents(seed, num_outside, 0, 0)
    absent = [name for name, count in open_counts.items() if count == seed.height]
    if absent or file.incomplete == "refuse":
        counts = ", ".join(f"{name} {count:,}" for name, count in open_counts.items())
        raise MissingMarginAttribute(
            f"Of {seed.height:,} respondents of {file.seed_survey}, some have no value in an attribute that a margin "
            f"uses: {counts}. "
            + (
                f"Nobody has {', '.join(absent)}: leave the margins that use it out of the population file."
                if absent
                else "Say incomplete: impute or incomplete: leave_out in the population file, or drop the margin."
            )
        )
    has_all = pl.all_horizontal(pl.col(name).is_not_null() for name in needed)
    if file.incomplete == "leave_out":
        complete = seed.filter(has_all)
        num_left_out = seed.height - complete.height
        logger.warning("%d respondents of %s are left out: %s", num_left_out, file.seed_survey, open_counts)
        return SeedRespondents(complete, num_outside, num_left_out, 0)
    donors = seed.with_columns(pl.col("design_weight").alias("calibrated_weight"))
    filled = HotDeck(donors, check=False).fill(seed, np.random.default_rng(IMPUTATION_SEED), only=needed)
    num_imputed = int((filled["imputed_attributes"].list.len() > 0).sum())
    logger.warning("%d respondents of %s have margin attributes filled: %s", num_imputed, file.seed_survey, open_counts)
    return SeedRespondents(filled.drop(FILLED).rename({"imputed_attributes": FILLED}), num_outside, 0, num_imputed)


def as_answered(seed: pl.DataFrame) -> pl.DataFrame:
    """The seed respondents with what was filled before calibration open again: what they answered themselves."""
    names = ("age", *(attribute.name for attribute in ATTRIBUTES))
    is_filled = {name: pl.col(FILLED).list.contains(name) for name in names}
    return seed.with_columns(pl.when(~is_filled[name]).then(pl.col(name)).alias(name) for name in names)
