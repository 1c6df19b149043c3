"""Recorded answers as rows of `reasoning_traces`: static answers at timestep 0, with nothing that was not recorded."""

import polars as pl

from validation.contracts import CONTRACTS

RECORDED = "recorded"
EMPTY_LISTS = ("state_before", "exposures", "neighbour_ids", "neighbour_statements", "retrieved_memories")


def as_traces(answers: pl.DataFrame) -> pl.DataFrame:
    """Rows of `reasoning_traces` of kind recorded, one per recorded answer.

    One draw is one option, so option probabilities stay null, as do channels, statements, cost and everything else that
    the recording does not hold.

    Args:
        answers: rows of `recorded_answers`.
    """
    schema = CONTRACTS["reasoning_traces"].polars_schema()
    return answers.with_columns(
        pl.lit(RECORDED).alias("kind"),
        pl.lit(RECORDED).alias("teacher"),
        pl.lit(0, pl.Int32).alias("timestep"),
        pl.concat_str("scenario_id", "question_id", "respondent_id", separator="/").alias("repeat_group"),
        pl.col("source_sha256").alias("prompt_hash"),
        pl.col("codebook_sha256").alias("schema_hash"),
        *(pl.lit([], schema[name]).alias(name) for name in EMPTY_LISTS),
        *(
            pl.lit(None, dtype).alias(name)
            for name, dtype in schema.items()
            if name not in answers.columns
            and name not in (*EMPTY_LISTS, "kind", "teacher", "timestep", "repeat_group", "prompt_hash", "schema_hash")
        ),
    ).select(*schema)
