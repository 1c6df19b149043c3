"""Where recorded answers and persona texts lie: sources of the data catalogue, or files beside the user's codebook."""

import hashlib
import re
from pathlib import Path

import polars as pl

from assets.sources.catalogue import DataCatalogue, ResolvedSource
from assets.sources.entries import Source
from assets.sources.errors import CodebookError
from assets.traces.recorded_answers.batch_output import SUFFIX, plain_codes, read_batch_output
from assets.traces.recorded_answers.codebook import RecordedCodebookFile


def absent_sources(codebook: RecordedCodebookFile, catalogue: DataCatalogue, respondents: pl.DataFrame) -> list[str]:
    """Files and surveys of the data catalogue that the codebook needs and that are not at hand.

    Raises:
        CodebookError: the codebook names something that is neither in the catalogue nor beside it.
    """
    spec = codebook.spec
    named: dict[tuple[str | int, ...], str] = {("sources", index): name for index, name in enumerate(spec.sources)}
    if spec.personas:
        named["personas", "source"] = spec.personas.source
    absent = []
    for place, name in named.items():
        if _beside(codebook, name).is_file():
            continue
        if name not in catalogue.entries():
            raise CodebookError(
                f"{codebook.place(*place)}: {name!r} is neither a source of the data catalogue nor a file in "
                f"{codebook.document.path.parent}. Put the file there (.parquet or .csv), or correct the name."
            )
        if not catalogue.is_available(name):
            absent.append(name)
    survey = spec.respondents.survey
    if respondents.filter(pl.col("survey") == survey).is_empty():
        loaded = respondents["survey"].unique().sort().to_list()
        if survey not in catalogue.entries():
            raise CodebookError(
                f"{codebook.place('respondents', 'survey')}: survey {survey!r} is not known. Loaded: "
                f"{', '.join(loaded) or 'none'}. Correct the name, or describe the survey in POPULACE_DATA_DIR."
            )
        absent.append(survey)
    return absent


def find_file(codebook: RecordedCodebookFile, catalogue: DataCatalogue, name: str) -> ResolvedSource:
    """The file of a source: one beside the codebook first, else that of the data catalogue.

    Raises:
        CatalogueError: the catalogue has no such file, or it is not the recorded one.
    """
    path = _beside(codebook, name)
    if path.is_file():
        title = codebook.spec.title
        source = Source(name, "extract", title, owner="not stated", licence="not stated", citation="not stated")
        return ResolvedSource(source, "user", path, hashlib.sha256(path.read_bytes()).hexdigest())
    return catalogue.resolve(name)


def load_personas(codebook: RecordedCodebookFile, catalogue: DataCatalogue) -> pl.DataFrame | None:
    """Columns `persona_id` and `persona`, or None where the codebook names no texts.

    Raises:
        CodebookError: the table lacks a column.
    """
    entry = codebook.spec.personas
    if entry is None:
        return None
    rows = find_file(codebook, catalogue, entry.source).load()
    for key in ("key", "text"):
        column = getattr(entry, key)
        if column not in rows.columns:
            raise CodebookError(
                f"{codebook.place('personas', key)}: the personas have no column {column!r}. Columns: "
                f"{', '.join(rows.columns)}. Correct the name."
            )
    return rows.select(pl.col(entry.key).cast(pl.Int64).alias("persona_id"), pl.col(entry.text).alias("persona"))


def _beside(codebook: RecordedCodebookFile, name: str) -> Path:
    return codebook.document.path.parent / name


def load_answers(codebook: RecordedCodebookFile, source: ResolvedSource) -> pl.DataFrame:
    """The rows of an answer file; files of the Batch API become a table first.

    Raises:
        CodebookError: a file of the Batch API is not described by `batch`, or a line of it is wrong.
        CatalogueError: the file cannot be read.
    """
    if source.path.suffix != SUFFIX:
        return source.load()
    batch = codebook.spec.batch
    if batch is None:
        raise CodebookError(
            f"{codebook.place('sources')}: {source.path.name} is a file of the Batch API, but the codebook does not "
            "say how to read it. Add batch: {custom_id: ..., model: ...}."
        )
    codes = {
        name: plain_codes({str(code): label for code, label in item.options.items()})
        for name, item in codebook.spec.items.items()
    }
    rows = read_batch_output(source.path, re.compile(batch.custom_id), codes)
    return rows.with_columns(pl.col("model").fill_null(batch.model))
