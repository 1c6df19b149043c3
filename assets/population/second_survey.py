"""The second survey: donors of attributes that nobody in the seed survey has."""

import polars as pl

from assets.population.errors import CalibrationError, SynthesisError
from assets.population.laying import lay_margins
from assets.population.population_file import PopulationFile
from assets.population.weighting import calibrate_weights
from validation.attributes import ATTRIBUTES
from validation.predicates import compile_predicate


def second_respondents(respondents: pl.DataFrame, margins: pl.DataFrame, file: PopulationFile) -> pl.DataFrame | None:
    """The second survey's respondents, raked to the national margins whose attributes all of them have.

    Args:
        respondents: rows of `survey_respondents`.
        margins: rows of `population_margins`.
        file: the population file.

    Returns:
        The respondents with `calibrated_weight`, or None where the file names no second survey.

    Raises:
        SynthesisError: the second survey has no respondents.
    """
    if file.second_survey is None:
        return None
    second = respondents.filter(pl.col("survey") == file.second_survey).filter(compile_predicate(file.universe))
    if second.is_empty():
        surveys = respondents["survey"].unique().sort().to_list()
        raise SynthesisError(
            f"No respondents of the second survey {file.second_survey!r} in the universe. Surveys loaded: "
            f"{', '.join(surveys)}. Name one of them in the population file."
        )
    known = {a.name for a in ATTRIBUTES if not second[a.name].has_nulls()}
    nation = margins.filter(pl.col("geography") == "US")
    usable = nation.filter(pl.col("margin").str.split("*").list.eval(pl.element().is_in(list(known))).list.all())
    weight = second["design_weight"]
    if usable.height:
        try:
            result = calibrate_weights(weight.to_numpy(), lay_margins(second, usable))
        except CalibrationError as error:
            raise SynthesisError(f"The second survey {file.second_survey!r} cannot be raked: {error}") from error
        weight = pl.Series(result.calibrated_weight_R)
    return second.with_columns(weight.alias("calibrated_weight"))
