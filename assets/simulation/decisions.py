"""The decision summary: one line per scenario and option, for the terminal and for the report."""

import numpy as np
import polars as pl
from scipy import stats

from assets.simulation.segments import NORMAL_QUANTILE

SUMMARY_SCHEMA: dict[str, pl.DataType] = {
    "scenario_id": pl.String(),
    "question_id": pl.String(),
    "option": pl.String(),
    "timestep": pl.Int32(),
    "initial_share": pl.Float64(),
    "share": pl.Float64(),
    "lower": pl.Float64(),
    "upper": pl.Float64(),
    "baseline_id": pl.String(),
    "baseline_share": pl.Float64(),
    "difference": pl.Float64(),
    "opinion_share": pl.Float64(),
    "num_replicates": pl.Int64(),
    "num_agents": pl.Int64(),
}


def decision_summary(outcomes: pl.DataFrame, scenarios: pl.DataFrame) -> pl.DataFrame:
    """Final share of every option with its interval, beside the initial share, the baseline's and the mechanism's.

    Shares are means over replicates. With W the mean squared standard error within replicates and B the variance of the
    share between R replicates, the interval uses the variance W + (1 + 1/R)·B and Student's t with
    ν = (R − 1)·(1 + W / ((1 + 1/R)·B))² degrees of freedom; with one replicate it is the replicate's own interval.

    Args:
        outcomes: the outcomes table, any number of scenarios and replicates.
        scenarios: the scenarios table, which names each scenario's baseline.

    Returns:
        One row per scenario × question × option, in the order of the scenario's questions and options. `baseline_share`
        is the baseline's at the same timestep and `opinion_share` the mechanistic engine's; both are null where absent.

    Source: Rubin (1987), Multiple Imputation for Nonresponse in Surveys, section 3.1.
    """
    everybody = outcomes.filter(pl.col("segment") == "all")
    lsm = everybody.filter(pl.col("engine") == "lsm")
    keys = ["scenario_id", "question_id", "timestep", "option"]
    share_of = _mean_shares(lsm, keys)
    opinion_of = _mean_shares(everybody.filter(pl.col("engine") == "lpm_opinion"), keys)
    baseline_of = dict(scenarios.select("scenario_id", "baseline").unique().iter_rows())
    options = scenarios.filter(pl.col("kind") == "question").sort("scenario_id", "position")
    rows = []
    for scenario_id, question_id, labels in options.select("scenario_id", "name", "options").iter_rows():
        ours = lsm.filter((pl.col("scenario_id") == scenario_id) & (pl.col("question_id") == question_id))
        if ours.is_empty():
            continue
        final = ours.filter(pl.col("timestep") == pl.col("timestep").max())
        timestep, baseline_id = final["timestep"][0], baseline_of.get(scenario_id)
        for option in labels:
            replicates = final.filter(pl.col("option") == option)
            share, lower, upper = _combined_interval(replicates)
            baseline_share = share_of.get((baseline_id, question_id, timestep, option))
            rows.append(
                {
                    "scenario_id": scenario_id,
                    "question_id": question_id,
                    "option": option,
                    "timestep": timestep,
                    "initial_share": share_of.get((scenario_id, question_id, 0, option)),
                    "share": share,
                    "lower": lower,
                    "upper": upper,
                    "baseline_id": baseline_id,
                    "baseline_share": baseline_share,
                    "difference": None if baseline_share is None else share - baseline_share,
                    "opinion_share": opinion_of.get((scenario_id, question_id, timestep, option)),
                    "num_replicates": len(replicates),
                    "num_agents": replicates["num_agents"][0],
                }
            )
    return pl.DataFrame(rows, schema=SUMMARY_SCHEMA)


def _mean_shares(outcomes: pl.DataFrame, keys: list[str]) -> dict[tuple, float]:
    means = outcomes.group_by(keys).agg(pl.col("share").sort_by("replicate").mean())
    return {tuple(row[:-1]): row[-1] for row in means.select(*keys, "share").iter_rows()}


def _combined_interval(replicates: pl.DataFrame) -> tuple[float, float, float]:
    """Mean share over replicates and the ends of its 95 % interval, within 0…1."""
    shares_R = replicates.sort("replicate")["share"].to_numpy()
    if len(shares_R) == 1:
        return float(shares_R[0]), float(replicates["lower"][0]), float(replicates["upper"][0])
    wider_side = pl.max_horizontal(pl.col("upper") - pl.col("share"), pl.col("share") - pl.col("lower"))
    half_widths_R = replicates.select(wider_side).to_series().to_numpy()
    within = float(np.mean((half_widths_R / NORMAL_QUANTILE) ** 2))
    between = (1 + 1 / len(shares_R)) * float(np.var(shares_R, ddof=1))
    quantile = NORMAL_QUANTILE
    if between > 0:
        degrees_of_freedom = (len(shares_R) - 1) * (1 + within / between) ** 2
        quantile = float(stats.t.ppf(0.975, degrees_of_freedom))
    share, half_width = float(np.mean(shares_R)), quantile * float(np.sqrt(within + between))
    return share, max(share - half_width, 0.0), min(share + half_width, 1.0)
