"""The population file: which survey seeds the population, which margins it meets, and how. One YAML file, checked.

`population.yaml` beside this module is the default; `POPULACE_POPULATION_FILE` names another one. Every message names
the file, the line, what was found and what is allowed.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictStr, ValidationError

from assets.population.errors import PopulationFileError
from assets.population.weighting import CalibrationMethod
from assets.sources.errors import CodebookError
from assets.sources.lined_yaml import read_lined_yaml

DEFAULT_POPULATION_FILE = Path(__file__).with_name("population.yaml")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LevelMerge(_Strict):
    """Levels of an attribute that count as one, in the named geographies (`US-SD`) or, when left out, everywhere."""

    attribute: StrictStr
    levels: Annotated[tuple[StrictStr, ...], Field(min_length=2)]
    geographies: tuple[StrictStr, ...] | None = None


class MarginSource(_Strict):
    """Margins to take from one source of the catalogue, or from `<source>.csv` in the user's data folder.

    `margins` names those to use (all when left out), `geographies` whether the nation's, the states' or both, `merge`
    levels that too few respondents are in to be met one by one.
    """

    source: StrictStr
    margins: tuple[StrictStr, ...] | None = None
    geographies: Literal["nation", "states", "all"] = "all"
    merge: tuple[LevelMerge, ...] = ()


class CalibrationEntry(_Strict):
    """How weights are calibrated; `soft` gives the penalty of each margin that may be missed."""

    method: Literal["linear", "raking", "logit"] = "raking"
    bounds: tuple[float, float] | None = None
    trim: Annotated[float, Field(gt=1)] | None = None
    soft: dict[StrictStr, Annotated[float, Field(gt=0)]] = {}
    tolerance: Annotated[float, Field(gt=0, le=0.01)] = 1e-6
    max_iterations: Annotated[int, Field(ge=1, le=100_000)] = 1000

    def as_method(self) -> CalibrationMethod:
        """The entry as `Calibrator` takes it; penalties belong to the margins."""
        return CalibrationMethod(self.method, self.bounds, self.trim, self.tolerance, self.max_iterations)


class ReplicateEntry(_Strict):
    """Replicate weights for the variance of estimates: each replicate is calibrated again."""

    method: Literal["bootstrap", "jackknife"] = "bootstrap"
    number: Annotated[int, Field(ge=2, le=1000)] = 40


class PopulationFile(_Strict):
    """The whole file.

    Attributes:
        seed_survey: catalogue name, or name of the user's own codebook.
        wave: calendar year of the interviews to use, all when left out.
        universe: SQL condition on respondents that the margins describe, all when left out.
        incomplete: what to do with respondents who lack an attribute of a margin.
        second_survey: donors of attributes that nobody in the seed survey has.
        margins: where the margins come from.
        calibration: how weights are calibrated.
        replicates: how variances are estimated.
        noise: `distinct` changes agents until none equals a respondent in all attributes and age.
        counties: whether households get a county where county votes are at hand.
    """

    seed_survey: StrictStr = "cces_2016"
    wave: Annotated[int, Field(ge=1900, le=2100)] | None = None
    universe: StrictStr | None = None
    incomplete: Literal["refuse", "leave_out", "impute"] = "refuse"
    second_survey: StrictStr | None = None
    margins: Annotated[tuple[MarginSource, ...], Field(min_length=1)] = (MarginSource(source="margins_us_2016"),)
    calibration: CalibrationEntry = CalibrationEntry()
    replicates: ReplicateEntry = ReplicateEntry()
    noise: Literal["none", "distinct"] = "none"
    counties: bool = True


def read_population_file(path: Path | None = None, seed_survey: str | None = None) -> PopulationFile:
    """Reads and checks a population file.

    Args:
        path: the file; the shipped default when left out.
        seed_survey: name that replaces the file's, as `POPULACE_SEED_SURVEY` does.

    Raises:
        PopulationFileError: the file is absent, no YAML, or has unknown or wrong entries.
    """
    path = path or DEFAULT_POPULATION_FILE
    if not path.is_file():
        raise PopulationFileError(
            f"The population file {path} does not exist. Correct POPULACE_POPULATION_FILE, or leave it unset to use "
            f"the default {DEFAULT_POPULATION_FILE}."
        )
    try:
        document = read_lined_yaml(path, what="population file")
    except CodebookError as error:
        raise PopulationFileError(str(error)) from error
    try:
        found = PopulationFile.model_validate(document.content)
    except ValidationError as error:
        raise PopulationFileError(document.explain(error, PopulationFile)) from error
    return found if seed_survey is None else found.model_copy(update={"seed_survey": seed_survey})
