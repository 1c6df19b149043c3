"""Answer codes of recorded answers and the labels that a codebook gives them."""

import polars as pl

from assets.sources.errors import CodebookError
from assets.traces.recorded_answers.codebook import RecordedCodebookFile

SHOWN = 8


def written_code(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """An answer code as text: numbers without a trailing .0, texts as they are."""
    if not dtype.is_numeric():
        return column.cast(pl.String).str.strip_chars()
    number = column.cast(pl.Float64).fill_nan(None)
    whole = number.cast(pl.Int64, strict=False)
    return pl.when(number == whole).then(whole.cast(pl.String)).otherwise(number.cast(pl.String))


def labels_of(codebook: RecordedCodebookFile, dtype: pl.DataType) -> pl.DataFrame:
    """One row per item and code, codes written as `written_code` writes those of the answers."""
    rows = []
    for name, item in codebook.spec.items.items():
        rows += [(name, code, label, False) for code, label in item.options.items()]
        rows += [(name, code, None, True) for code in (*codebook.spec.missing, *item.missing)]
    written = [(name, f"{float(code):g}" if dtype.is_numeric() else str(code), *rest) for name, code, *rest in rows]
    schema = {"variable": pl.String, "code": pl.String, "option": pl.String, "is_missing_code": pl.Boolean}
    return pl.DataFrame(written, schema=schema, orient="row")


def check_columns(rows: pl.DataFrame, codebook: RecordedCodebookFile) -> None:
    """The file has every column that the codebook names.

    Raises:
        CodebookError: one is missing.
    """
    named = {("columns", entry): column for entry, column in codebook.spec.columns.model_dump().items() if column}
    if codebook.spec.left_out:
        named["left_out", "column"] = codebook.spec.left_out.column
    for place, column in named.items():
        if column not in rows.columns:
            raise CodebookError(
                f"{codebook.place(*place)}: the answers have no column {column!r}. Columns: {', '.join(rows.columns)}. "
                "Correct the name, or take the entry out."
            )


def check_items(answers: pl.DataFrame, codebook: RecordedCodebookFile) -> None:
    """The codebook describes every item of the answers.

    Raises:
        CodebookError: some are not described.
    """
    found = set(answers["variable"].unique())
    unknown = sorted(found - set(codebook.spec.items))
    if unknown:
        raise CodebookError(
            f"{codebook.place('items')}: the answers hold items that the codebook does not describe: "
            f"{', '.join(unknown[:SHOWN])}. Described: {', '.join(codebook.spec.items)}. Describe them, or leave "
            "their rows out with left_out."
        )


def check_codes(answers: pl.DataFrame, codebook: RecordedCodebookFile) -> None:
    """Every code is an option's or listed as missing; answers that carry no code could not be read and are exempt.

    Raises:
        CodebookError: a code is not explained.
    """
    is_open = pl.col("code").is_not_null() & pl.col("option").is_null() & ~pl.col("is_missing_code").fill_null(False)
    unexplained = answers.filter(is_open)
    if unexplained.height:
        name = unexplained["variable"][0]
        codes = unexplained.filter(pl.col("variable") == name)["code"]
        item = codebook.spec.items[name]
        raise CodebookError(
            f"{codebook.place('items', name, 'options')}: answers to {name!r} hold codes that the codebook does not "
            f"explain ({len(codes)} rows), found {codes.unique().sort().head(SHOWN).to_list()}. Explained: "
            f"{list(item.options)}, missing: {[*codebook.spec.missing, *item.missing]}. Map them, or list them under "
            "missing."
        )
