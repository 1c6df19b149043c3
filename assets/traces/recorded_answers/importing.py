"""Imports recorded answers by their codebooks: one row per answer, beside the same person's own answer.

Nothing is guessed: an item, a persona or a code that the codebook does not explain stops the import and is named.
An answer that could not be read, or a refusal, stays in the table and says so.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from assets.sources.catalogue import DataCatalogue
from assets.sources.errors import CodebookError
from assets.traces.recorded_answers.batch_output import REFUSAL
from assets.traces.recorded_answers.codebook import RecordedCodebookFile
from assets.traces.recorded_answers.coding import check_codes, check_columns, check_items, labels_of, written_code
from assets.traces.recorded_answers.files import absent_sources, find_file, load_answers, load_personas
from assets.traces.recorded_answers.people import check_people, people_of
from validation.contracts import CONTRACTS


@dataclass(frozen=True)
class RecordedAnswers:
    """`answers` holds rows of `recorded_answers`; `uses` says which files they came from.

    `absent` names, per codebook, the sources that are not at hand: nothing of those codebooks was imported.
    """

    answers: pl.DataFrame
    uses: tuple[dict[str, str | int], ...]
    absent: dict[str, tuple[str, ...]]


def import_recorded_answers(
    codebooks: Sequence[RecordedCodebookFile], catalogue: DataCatalogue, respondents: pl.DataFrame
) -> RecordedAnswers:
    """Imports every set of recorded answers whose files are at hand.

    Args:
        codebooks: descriptions, with different scenario ids.
        catalogue: where sources are looked for.
        respondents: rows of `survey_respondents`; the people behind the personas are among them.

    Raises:
        CodebookError: a codebook does not fit its files or the respondents.
        CatalogueError: a file is not the recorded one.
    """
    frames, absent = [], {}
    uses: list[dict[str, str | int]] = []
    for codebook in codebooks:
        missing = absent_sources(codebook, catalogue, respondents)
        if missing:
            absent[codebook.spec.answers] = tuple(missing)
            continue
        personas = load_personas(codebook, catalogue)
        people = people_of(codebook, respondents)
        for name in codebook.spec.sources:
            source = find_file(codebook, catalogue, name)
            imported, num_left_out = import_file(
                load_answers(codebook, source), codebook, people, personas, source.sha256
            )
            frames.append(imported)
            uses.append({**source.record(), "num_answers": imported.height, "num_left_out": num_left_out})
    schema = CONTRACTS["recorded_answers"].polars_schema()
    answers = pl.concat(frames) if frames else pl.DataFrame(schema=schema)
    return RecordedAnswers(answers.select(*schema), tuple(uses), absent)


def import_file(
    rows: pl.DataFrame,
    codebook: RecordedCodebookFile,
    people: pl.DataFrame,
    personas: pl.DataFrame | None,
    source_sha256: str,
) -> tuple[pl.DataFrame, int]:
    """Rows of `recorded_answers` from one file, and how many of its rows the codebook leaves out.

    Args:
        rows: the file as it is.
        codebook: its description.
        people: `persona_id`, `respondent_id` and one column per survey item, see `people_of`.
        personas: `persona_id` and `persona`, where texts are at hand.
        source_sha256: digest of the file, kept with every row.

    Raises:
        CodebookError: a column is missing, rows repeat, or an item, persona or code is not explained.
    """
    spec = codebook.spec
    check_columns(rows, codebook)
    kept = rows
    if spec.left_out:
        is_left_out = (pl.col(spec.left_out.column) == spec.left_out.value).fill_null(False)
        kept = rows.filter(~is_left_out)
    code_type = kept.schema[spec.columns.answer]
    answers = _named(kept, codebook)
    check_items(answers, codebook)
    check_people(answers, codebook, people)
    _check_repeats(answers, codebook)
    answers = answers.join(labels_of(codebook, code_type), on=["variable", "code"], how="left", maintain_order="left")
    check_codes(answers, codebook)
    own_answers = people.drop("respondent_id").unpivot(
        index="persona_id", variable_name="variable", value_name="human_option"
    )
    own_answers = own_answers.with_columns(pl.col("variable", "human_option").cast(pl.String))
    answers = answers.join(people.select("persona_id", "respondent_id"), on="persona_id", maintain_order="left")
    answers = answers.join(own_answers, on=["persona_id", "variable"], how="left", maintain_order="left")
    if personas is None:
        answers = answers.with_columns(pl.lit(None, pl.String).alias("persona"))
    else:
        answers = answers.join(personas, on="persona_id", how="left", maintain_order="left")
    is_unread = pl.col("option").is_null()
    marks = list(spec.refusals)
    raw = pl.col("raw_answer").fill_null("").str.to_lowercase().str.replace_all("’", "'")
    answers = answers.with_columns(
        pl.lit(spec.scenario_id).alias("scenario_id"),
        pl.col("variable")
        .replace_strict({name: item.question_id for name, item in spec.items.items()}, return_dtype=pl.String)
        .alias("question_id"),
        (is_unread & (raw.str.starts_with(REFUSAL) | (raw.str.contains_any(marks) if marks else pl.lit(False)))).alias(
            "is_refusal"
        ),
        pl.when(is_unread).then(pl.lit("failed")).otherwise(pl.lit("valid")).alias("validation_status"),
        pl.lit(source_sha256).alias("source_sha256"),
        pl.lit(hashlib.sha256(codebook.document.path.read_bytes()).hexdigest()).alias("codebook_sha256"),
    )
    answers = answers.with_columns(_custom_ids(answers))
    return answers.select(*CONTRACTS["recorded_answers"].polars_schema()), rows.height - kept.height


def _named(kept: pl.DataFrame, codebook: RecordedCodebookFile) -> pl.DataFrame:
    """The answers under this project's names of columns."""
    columns, first_draw = codebook.spec.columns, codebook.spec.first_draw
    draw = pl.col(columns.draw).cast(pl.Int32) - first_draw if columns.draw else pl.lit(0, pl.Int32)
    return kept.select(
        pl.col(columns.persona).cast(pl.Int64).alias("persona_id"),
        pl.col(columns.model).cast(pl.String).alias("model"),
        pl.col(columns.item).cast(pl.String).alias("variable"),
        written_code(pl.col(columns.answer), kept.schema[columns.answer]).alias("code"),
        draw.cast(pl.Int32).alias("draw"),
        _optional(columns.raw_answer, pl.String).alias("raw_answer"),
        _optional(columns.prompt_tokens, pl.Int64).alias("prompt_tokens"),
        _optional(columns.completion_tokens, pl.Int64).alias("completion_tokens"),
    )


def _check_repeats(answers: pl.DataFrame, codebook: RecordedCodebookFile) -> None:
    repeated = answers.filter(pl.struct("model", "variable", "persona_id", "draw").is_duplicated())
    if repeated.height:
        first = repeated.row(0, named=True)
        raise CodebookError(
            f"{codebook.place('columns')}: {repeated.height} rows repeat a model, item, persona and draw, for example "
            f"{first['model']}, {first['variable']}, {first['persona_id']}, {first['draw']}. Name the column of draws "
            "under columns.draw, or take the repeated rows out."
        )


def _custom_ids(answers: pl.DataFrame) -> pl.Series:
    keys = answers.select(
        pl.concat_str("scenario_id", "model", "question_id", "persona_id", "draw", separator="|")
    ).to_series()
    sha256 = hashlib.sha256
    return pl.Series("custom_id", [sha256(key).hexdigest() for key in keys.cast(pl.Binary).to_list()])


def _optional(column: str | None, dtype: type[pl.DataType]) -> pl.Expr:
    if column is None:
        return pl.lit(None, dtype)
    value = pl.col(column)
    return value.cast(pl.Float64).fill_nan(None).cast(pl.Int64) if dtype is pl.Int64 else value.cast(dtype)
