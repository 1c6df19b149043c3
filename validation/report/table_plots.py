"""One plot per table for its asset page: a few aggregated rows of what was just written, in the look of the report.

Assets that draw a better plot of their own have no entry here.

Tables are aggregated lazily, so that a plot costs a scan of two or three columns whatever the table's size.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt
import polars as pl

from validation.report.charts import HEIGHT, PALETTE, finished

MAX_ROWS = 400
"""Rows drawn at the most; beyond it the largest values are kept."""
Mark = Literal["bar", "line"]
Aggregate = Callable[[pl.LazyFrame], pl.LazyFrame]


@dataclass(frozen=True)
class TablePlot:
    """What to draw of a table.

    aggregate: turns the table into rows with the columns `x`, `y` and, where lines or bars are told apart, `series`.
    x_title, y_title: names of the axes, with units.
    mark: bars lie on their side, with `x` as their label; lines have `x` as a number.
    """

    aggregate: Aggregate
    x_title: str
    y_title: str
    mark: Mark = "bar"


def counts(column: str) -> Aggregate:
    """Rows per level of a column."""
    return lambda table: table.group_by(x=pl.col(column)).agg(y=pl.len())


def means(column: str, value: str, *, where: pl.Expr | None = None, series: str | None = None) -> Aggregate:
    """Mean of a value per level of a column, for the rows that `where` keeps."""

    def aggregate(table: pl.LazyFrame) -> pl.LazyFrame:
        kept = table if where is None else table.filter(where)
        keys = [pl.col(column).alias("x"), *([pl.col(series).alias("series")] if series else [])]
        return kept.group_by(keys).agg(y=pl.col(value).mean())

    return aggregate


def over_time(value: str, series: str, *, where: pl.Expr | None = None) -> Aggregate:
    """Mean of a value by timestep, one line per level of another column."""
    return means("timestep", value, where=where, series=series)


def sizes_of_derivatives(table: pl.LazyFrame) -> pl.LazyFrame:
    """Mean absolute derivative per field, since those of a question's options sum to zero; gradients by fields that
    have finite differences too are left out."""
    is_differenced = (pl.col("kind") == "finite_difference").any().over("parameter")
    is_kept = (
        pl.when(is_differenced).then(pl.col("kind") == "finite_difference").otherwise(pl.col("kind") == "gradient")
    )
    return table.filter(is_kept).group_by(x=pl.col("parameter")).agg(y=pl.col("derivative").abs().mean())


TABLE_PLOTS: dict[str, TablePlot] = {
    "survey_respondents": TablePlot(counts("survey"), "survey", "respondents"),
    "population_margins": TablePlot(counts("margin"), "margin", "levels with a published total"),
    "calibration_diagnostics": TablePlot(
        means("slice", "value", where=pl.col("metric") == "relative_weight"),
        "quantile of the calibrated weights",
        "weight over its mean",
    ),
    "agents": TablePlot(counts("age_group"), "age group", "agents"),
    "households": TablePlot(
        lambda table: table.group_by(x=pl.col("num_adults").cast(pl.String), series=pl.col("kind")).agg(y=pl.len()),
        "adults of the household",
        "households",
    ),
    "imputation_quality": TablePlot(means("attribute", "brier_skill"), "imputed attribute", "Brier skill, held out"),
    "joint_structure": TablePlot(
        lambda table: table.select(
            x=pl.format("{} × {}", "first", "second"), y=pl.col("cramers_v_agents") - pl.col("cramers_v_survey")
        ),
        "pair of attributes",
        "Cramér's V, agents minus survey",
    ),
    "disclosure": TablePlot(
        means("slice", "value", where=pl.col("metric") == "share_unique_agents"),
        "quasi-identifiers",
        "share of agents who are unique",
    ),
    "media_sources": TablePlot(means("name", "num_followers"), "source", "agents who follow it"),
    "age_mixing": TablePlot(
        means("age_group", "share", where=pl.col("tie_type") == "all_social", series="alter_age_group"),
        "age group of the listener",
        "share of its ties by age group of the speaker",
        "bar",
    ),
    "recorded_networks": TablePlot(
        means("statistic", "value", where=pl.col("statistic").is_in(["clustering", "transitivity"]), series="network"),
        "statistic",
        "value on the recorded network",
        "bar",
    ),
    "scenarios": TablePlot(counts("scenario_id"), "scenario", "questions, events and triggers"),
    "benchmark_scenarios": TablePlot(counts("scenario_id"), "scenario", "questions and events"),
    "elicitation_plan": TablePlot(
        lambda table: table.group_by(x=pl.col("scenario_id")).agg(y=pl.col("estimated_cost_usd").sum()),
        "scenario",
        "estimated cost of its requests, US dollars",
    ),
    "recorded_questions": TablePlot(counts("scale"), "scale", "questions"),
    "recorded_answers": TablePlot(counts("model"), "recorded model", "answers"),
    "held_out_predictions": TablePlot(counts("model"), "model", "predictions on held-out agents"),
    "simulated_shares": TablePlot(
        lambda table: table.group_by(x=pl.col("timestep"), series=pl.col("scenario_id")).agg(
            y=(pl.col("student_share") - pl.col("teacher_share")).abs().mean()
        ),
        "timestep",
        "mean gap between student's and teacher's shares",
        "line",
    ),
    "ablations": TablePlot(
        means("part", "difference", where=pl.col("metric") == "tvd"),
        "part left out or added",
        "rise of the held-out distance",
    ),
    "unseen_scenarios": TablePlot(
        means("scenario_id", "value", where=pl.col("metric") == "tvd", series="model"),
        "scenario left out of training",
        "distance to the teacher",
        "bar",
    ),
    "recorded_readout": TablePlot(
        means("model", "value", where=pl.col("metric") == "tvd", series="group"), "model", "mean distance by question"
    ),
    "axis_probes": TablePlot(means("target", "r2", series="axis"), "target", "R² of one latent axis"),
    "trajectories": TablePlot(over_time("conviction", "engine"), "timestep", "mean conviction, 0 … 1", "line"),
    "episodes": TablePlot(
        lambda table: table.group_by(x=pl.col("timestep"), series=pl.col("kind")).agg(y=pl.len()),
        "timestep of the episode",
        "episodes remembered at the end",
        "line",
    ),
    "outcomes": TablePlot(
        over_time("share", "option", where=(pl.col("segment") == "all") & (pl.col("engine") == "lsm")),
        "timestep",
        "share of the option",
        "line",
    ),
    "counterfactuals": TablePlot(
        means("option", "difference", where=pl.col("unit") == "segment", series="scenario_id"),
        "option",
        "mean change of share against the baseline, over segments",
    ),
    "reasoning_profiles": TablePlot(means("cluster", "share", series="scenario_id"), "profile", "share of agents"),
    "intervention_surface": TablePlot(
        sizes_of_derivatives, "field", "mean absolute derivative of the final share, per unit of the field"
    ),
    "occupation_exposure": TablePlot(
        lambda table: table.select(x="title", y="automatable_share").sort("y", descending=True).head(25),
        "occupation",
        "automatable share of the wage value",
    ),
    "skill_exposure": TablePlot(means("skill", "automatable_share"), "skill", "automatable share"),
    "exposure_index": TablePlot(
        means("index_name", "value", where=pl.col("geography") == "US", series="labelled_by"), "index, nation", "share"
    ),
    "data_quality": TablePlot(
        lambda table: table.group_by(x=pl.col("table_name")).agg(y=(~pl.col("has_passed")).sum()),
        "table",
        "failed expectations, all runs",
    ),
    "behaviour_scores": TablePlot(
        means("scenario_id", "value", where=pl.col("model") == "lsm"), "case", "simulated share or change"
    ),
    "rectified_shares": TablePlot(means("method", "mean_error", series="model"), "method", "mean absolute error"),
    "dynamic_forecasts": TablePlot(counts("model"), "model", "forecast shares"),
    "dynamic_calibration": TablePlot(
        means("model", "value", where=(pl.col("metric") == "skill") & (pl.col("slice") == "all"), series="case_id"),
        "model",
        "skill over the last wave",
    ),
    "leaderboard": TablePlot(
        means("model", "value", where=pl.col("metric") == "tvd"), "model", "mean distance, all runs"
    ),
    "survey_calibration": TablePlot(means("model", "value", where=pl.col("metric") == "tvd"), "model", "mean distance"),
    "benchmark_scores": TablePlot(counts("verdict"), "verdict", "published figures"),
    "recorded_calibration": TablePlot(
        means(
            "model",
            "value",
            where=(pl.col("metric") == "tvd") & (pl.col("question_id") == "all") & (pl.col("reference") == "survey"),
        ),
        "model",
        "mean total variation distance to the weighted survey",
    ),
    "recorded_agreement": TablePlot(
        means("model", "value", where=(pl.col("metric") == "tvd") & (pl.col("question_id") == "all")),
        "model",
        "mean distance to the people",
    ),
}


def draw_table(table: str, rows: pl.LazyFrame) -> dict[str, Any] | None:
    """The Vega-Lite specification of a table's plot.

    Args:
        table: name under contract.
        rows: the rows that were written, or all of the table.

    Returns:
        The specification; None where there is nothing to draw: no plot is declared, or no row has a value.
    """
    plot = TABLE_PLOTS.get(table)
    if plot is None:
        return None
    frame = plot.aggregate(rows).collect().drop_nulls("y")
    if frame.is_empty():
        return None
    frame = frame.sort("y", descending=True).head(MAX_ROWS).sort(frame.columns)
    base = alt.Chart(frame)
    if plot.mark == "bar":
        row, length = alt.Y("x:N", title=plot.x_title, sort=None), alt.X("y:Q", title=plot.y_title)
        chart = base.mark_bar(color=PALETTE[0]).encode(x=length, y=row)
    else:
        place = alt.X("x:Q", title=plot.x_title, axis=alt.Axis(tickMinStep=1))
        chart = base.mark_line(strokeWidth=2, point=True).encode(x=place, y=alt.Y("y:Q", title=plot.y_title))
    if "series" in frame.columns:
        chart = chart.encode(color=alt.Color("series:N", title=None, scale=alt.Scale(range=list(PALETTE))))
        chart = chart.encode(yOffset=alt.YOffset("series:N")) if plot.mark == "bar" else chart
    return finished(chart, height=min(900, 22 * max(4, frame["x"].n_unique())) if plot.mark == "bar" else HEIGHT)
