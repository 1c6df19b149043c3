"""The leaderboard: headline figures of each run added to those of earlier runs, so that drift shows."""

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from validation.contracts import CONTRACTS

SCHEMA = CONTRACTS["leaderboard"].polars_schema()
HEADLINE_SLICES = ("all", "subgroups")
HEADLINE_METRICS = ("tvd", "skill", "brier", "brier_skill", "ece", "log_loss")


@dataclass(frozen=True)
class RecordedRun:
    """The run that a row belongs to."""

    run_id: str
    recorded_at: datetime
    recipe: str
    teacher: str
    model_version: int


def extend_leaderboard(
    earlier: pl.DataFrame | None,
    run: RecordedRun,
    dynamic_calibration: pl.DataFrame,
    teacher_agreement: pl.DataFrame,
    survey_calibration: pl.DataFrame,
    rectified_shares: pl.DataFrame,
) -> pl.DataFrame:
    """The leaderboard with this run's rows; rows that the same run wrote before are replaced.

    Args:
        earlier: the table so far, without `run_id`; None at first.
        run: the run that records.
        dynamic_calibration: the table of that name; slices all and subgroups count.
        teacher_agreement: the table of that name; slice all counts.
        survey_calibration: the table of that name; whole populations count, averaged over questions.
        rectified_shares: the table of that name; errors averaged over items and options.
    """
    headline = pl.col("metric").is_in(HEADLINE_METRICS) & pl.col("value").is_not_null()
    names = ("case_id", "metric", "model", "value", "lower", "upper", "noise_floor", "is_higher_better")
    nothing = pl.lit(None, pl.Float64)
    parts = [
        dynamic_calibration.filter(headline & pl.col("slice").is_in(HEADLINE_SLICES))
        .with_columns(pl.format("{}/{}", "case_id", "slice").alias("case_id"))
        .select(names),
        teacher_agreement.filter(headline & (pl.col("slice") == "all"))
        .with_columns(pl.lit("teacher_agreement/all").alias("case_id"))
        .select(names),
        survey_calibration.filter((pl.col("metric") == "tvd") & pl.col("slice").str.ends_with("/all"))
        .filter(pl.col("value").is_not_null())
        .group_by("metric", "model", maintain_order=True)
        .agg(pl.col("value").mean(), pl.col("noise_floor").mean(), pl.col("is_higher_better").first())
        .with_columns(pl.lit("survey_calibration/all").alias("case_id"), nothing.alias("lower"), nothing.alias("upper"))
        .select(names),
        rectified_shares.group_by("model", "method", maintain_order=True)
        .agg(pl.col("mean_error").mean().alias("value"), pl.col("noise_floor").mean())
        .select(
            pl.format("rectified_shares/{}", "method").alias("case_id"),
            pl.lit("mean_error").alias("metric"),
            "model",
            "value",
            nothing.alias("lower"),
            nothing.alias("upper"),
            "noise_floor",
            pl.lit(False).alias("is_higher_better"),
        ),
    ]
    now = pl.concat(parts).with_columns(
        pl.lit(run.run_id).alias("recorded_run"),
        pl.lit(run.recorded_at).cast(pl.Datetime("us", "UTC")).alias("recorded_at"),
        pl.lit(run.recipe).alias("recipe"),
        pl.lit(run.teacher).alias("teacher"),
        pl.lit(run.model_version, pl.Int64).alias("model_version"),
    )
    now = now.select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())
    if earlier is None:
        return now
    kept = earlier.filter(pl.col("recorded_run") != run.run_id).select(
        pl.col(name).cast(dtype) for name, dtype in SCHEMA.items()
    )
    return pl.concat([kept, now]).sort("recorded_at", "case_id", "metric", "model")
