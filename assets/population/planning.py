"""From the tables of a run and the population file to the plan of a population, of any size."""

from collections.abc import Mapping

import polars as pl

from assets.population.population_file import PopulationFile
from assets.population.second_survey import second_respondents
from assets.population.seed_survey import seed_respondents
from assets.population.shards import PopulationPlan, plan_population


def plan_from_tables(
    respondents: pl.DataFrame,
    calibrated: pl.DataFrame,
    margins: pl.DataFrame,
    num_agents: int,
    seed: int,
    file: PopulationFile,
    counties: Mapping[str, pl.DataFrame] | None = None,
) -> PopulationPlan:
    """The plan of a population as the population file describes it.

    Args:
        respondents: rows of `survey_respondents`.
        calibrated: rows of `calibrated_respondents`.
        margins: rows of `population_margins`.
        num_agents: of the whole population.
        seed: any non-negative integer.
        file: which survey is the seed, how open attributes are filled, whether agents are made distinct.
        counties: shares of counties per state; without them households have no county.

    Raises:
        PopulationError: the file and the tables do not fit together.
    """
    names = tuple(margins["margin"].unique(maintain_order=True))
    return plan_population(
        seed_respondents(respondents, names, file).frame,
        calibrated,
        margins,
        num_agents,
        seed,
        second=second_respondents(respondents, margins, file),
        counties=counties,
        is_distinct=file.noise == "distinct",
    )
