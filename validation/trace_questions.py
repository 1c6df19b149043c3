"""Every question that traces can answer, with its options and scores: those of scenarios and of recorded answers."""

import polars as pl

COLUMNS = ("scenario_id", "question_id", "options", "option_scores")


def trace_questions(scenarios: pl.DataFrame, recorded_questions: pl.DataFrame) -> pl.DataFrame:
    """Columns scenario_id, question_id, options and option_scores.

    Args:
        scenarios: rows of `scenarios`.
        recorded_questions: rows of `recorded_questions`.
    """
    asked = scenarios.filter(pl.col("kind") == "question").rename({"name": "question_id"})
    return pl.concat([asked.select(COLUMNS), recorded_questions.select(COLUMNS)])
