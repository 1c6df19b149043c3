"""Who the personas of recorded answers were written from, and what these people answered themselves."""

import polars as pl

from assets.sources.errors import CodebookError
from assets.traces.recorded_answers.codebook import RecordedCodebookFile, RecordedItem

SHOWN = 8


def people_of(codebook: RecordedCodebookFile, respondents: pl.DataFrame) -> pl.DataFrame:
    """Who the personas were written from: `persona_id`, `respondent_id` and their own answer per recorded item.

    Columns of answers carry the recorded files' names of the items; labels that were not offered count as no answer.

    Args:
        codebook: names the survey, the link and the items.
        respondents: rows of `survey_respondents`.

    Raises:
        CodebookError: the survey is not loaded, lacks an item, or holds labels that the codebook does not explain.
    """
    spec = codebook.spec
    survey = respondents.filter(pl.col("survey") == spec.respondents.survey)
    if survey.is_empty():
        loaded = ", ".join(respondents["survey"].unique().sort().to_list()) or "none"
        raise CodebookError(
            f"{codebook.place('respondents', 'survey')}: survey {spec.respondents.survey!r} has no respondents. "
            f"Loaded: {loaded}. Put its file into the mirror or describe it in POPULACE_DATA_DIR."
        )
    row = pl.col("respondent_id").str.extract(r"-(\d+)$", 1).cast(pl.Int64)
    return survey.select(
        (row + spec.respondents.first_row).alias("persona_id"),
        "respondent_id",
        *(_own_answer(codebook, survey, name, item).alias(name) for name, item in spec.items.items() if item.item),
    )


def _own_answer(codebook: RecordedCodebookFile, survey: pl.DataFrame, name: str, item: RecordedItem) -> pl.Expr:
    column = f"item_{item.item}"
    place = codebook.place("items", name, "item")
    if column not in survey.columns:
        items = ", ".join(each.removeprefix("item_") for each in survey.columns if each.startswith("item_"))
        raise CodebookError(f"{place}: the respondents have no item {item.item!r}. Items: {items}. Correct the name.")
    labels = set(survey[column].drop_nulls().unique())
    allowed = list(item.options.values())
    unknown = sorted(labels - {*allowed, *item.not_offered})
    if unknown:
        raise CodebookError(
            f"{place}: respondents answered {', '.join(map(repr, unknown))} to {item.item!r}, found levels "
            f"{sorted(labels)}; options of the recorded answers: {', '.join(allowed)}. Use the survey codebook's "
            "labels, or list what teachers could not choose under not_offered."
        )
    return pl.when(pl.col(column).is_in(allowed)).then(pl.col(column))


def check_people(answers: pl.DataFrame, codebook: RecordedCodebookFile, people: pl.DataFrame) -> None:
    """Every persona leads to a respondent.

    Raises:
        CodebookError: some do not.
    """
    unknown = answers.filter(~pl.col("persona_id").is_in(people["persona_id"].implode()))["persona_id"]
    if len(unknown):
        known = people["persona_id"]
        raise CodebookError(
            f"{codebook.place('respondents')}: {unknown.n_unique()} personas lead to no respondent of "
            f"{codebook.spec.respondents.survey}, found {unknown.unique().sort().head(SHOWN).to_list()}; allowed: "
            f"{known.min()} to {known.max()}. Correct first_row, or load the survey that they were written from."
        )
