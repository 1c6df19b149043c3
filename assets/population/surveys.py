"""Loads every survey through its codebook and stacks the respondents into one table."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from assets.population.harmonisation import harmonise_survey
from assets.population.population_file import PopulationFile
from assets.sources.catalogue import DataCatalogue
from assets.sources.codebooks import CodebookFile
from assets.sources.errors import CatalogueError, CodebookError


@dataclass(frozen=True)
class SurveyItem:
    """A question that surveys asked: its wording, its options in order, and the surveys that asked it."""

    name: str
    question: str
    options: tuple[str, ...]
    surveys: tuple[str, ...]


@dataclass(frozen=True)
class Respondents:
    """`frame` holds rows of `survey_respondents`; `uses` says, per survey, which file they came from."""

    frame: pl.DataFrame
    uses: tuple[dict[str, str | int], ...]
    items: dict[str, SurveyItem]


def surveys_to_load(catalogue: DataCatalogue, file: PopulationFile) -> tuple[str, ...]:
    """Every survey at hand that is loaded by default, and those that the population file names."""
    named = (file.seed_survey, *([file.second_survey] if file.second_survey else []))
    return tuple(dict.fromkeys((*catalogue.available_surveys(), *named)))


def load_respondents(catalogue: DataCatalogue, survey_names: Sequence[str] | None = None) -> Respondents:
    """Loads and stacks the named surveys; by default every survey that has a file at hand.

    Args:
        catalogue: where to look for files.
        survey_names: catalogue names, or names of the user's own codebooks.

    Raises:
        CatalogueError: a survey is unknown, has no file, or its file is not the recorded one.
        CodebookError: a codebook is wrong or does not fit its file, or two surveys word one item differently.
    """
    frames, uses, items = [], [], {}
    for name in catalogue.available_surveys() if survey_names is None else survey_names:
        resolved = catalogue.resolve(name)
        if resolved.codebook is None:
            raise CatalogueError(
                f"{name!r} cannot be loaded as a survey: it has no codebook. Surveys: "
                f"{', '.join(catalogue.available_surveys())}. Write a codebook for it (docs/data.md)."
            )
        survey = harmonise_survey(resolved.load(), resolved.codebook)
        frames.append(survey.frame)
        uses.append(
            {
                **resolved.record(),
                "num_respondents": survey.frame.height,
                "num_minors_left_out": survey.num_minors,
                "design_weight": resolved.codebook.spec.design_weight,
            }
        )
        items = _add_items(items, resolved.codebook)
    if not frames:
        raise CatalogueError("No survey to load. Install the demo extra, or set POPULACE_DATA_DIR (docs/data.md).")
    return Respondents(pl.concat(frames, how="diagonal"), tuple(uses), items)


def _add_items(items: dict[str, SurveyItem], codebook: CodebookFile) -> dict[str, SurveyItem]:
    merged = dict(items)
    for name, mapping in codebook.spec.items.items():
        options = tuple(dict.fromkeys(mapping.options.values()))
        known = merged.get(name, SurveyItem(name, mapping.question, options, ()))
        if (known.question, known.options) != (mapping.question, options):
            raise CodebookError(
                f"{codebook.place('items', name)}: item {name!r} is worded {mapping.question!r} with options "
                f"{options}, but {known.surveys[0]} words it {known.question!r} with options {known.options}. "
                "Use one wording, or give the item another name."
            )
        merged[name] = SurveyItem(name, known.question, known.options, (*known.surveys, codebook.spec.survey))
    return merged
