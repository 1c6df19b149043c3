"""Contracts of the distillation room: held-out predictions and axis probes. The student lives in the registry."""

import polars as pl

from validation.contracts.table import FRACTION, NOT_NEGATIVE, TableContract, column, one_of, sums_to_one

AXIS_PROBES = TableContract(
    name="axis_probes",
    group="distillation",
    row="probed axis",
    columns={
        "axis": column(pl.String, "principal axis of the free latent, for example latent_pc1"),
        "target": column(pl.String, "channel or attribute that the axis is asked to predict"),
        "r2": column(pl.Float64, "cross-validated explained variance on held-out agents"),
        "r2_permuted": column(pl.Float64, "the same with the target permuted: the noise floor"),
        "lower": column(pl.Float64, "lower end of the 95 % bootstrap interval of r2"),
        "upper": column(pl.Float64, "upper end of the interval"),
        "num_agents": column(pl.Int64, "agents behind the estimate", NOT_NEGATIVE),
        "model_version": column(pl.Int64, "registered version of the student", NOT_NEGATIVE),
    },
    key=("axis", "target"),
)

HELD_OUT_PREDICTIONS = TableContract(
    name="held_out_predictions",
    group="distillation",
    row="model × held-out trace",
    columns={
        "model": column(
            pl.String,
            "student or baseline that predicts",
            one_of(
                (
                    "lsm",
                    "lsm_unanchored",
                    "lsm_simulated",
                    "lsm_no_graph",
                    "persistence",
                    "uniform",
                    "demographic_regression",
                    "friedkin_johnsen",
                )
            ),
        ),
        "scenario_id": column(pl.String, "scenario"),
        "question_id": column(pl.String, "question"),
        "agent_id": column(pl.Int64, "agent of the elicitation panel", NOT_NEGATIVE),
        "timestep": column(pl.Int32, "timestep", NOT_NEGATIVE),
        "split": column(pl.String, "what was held out from fitting", one_of(("agents", "scenarios"))),
        "option_probabilities": column(pl.List(pl.Float64), "predicted probability of each option"),
        "teacher_probabilities": column(pl.List(pl.Float64), "the teacher's, first draw"),
        "model_version": column(pl.Int64, "registered version of the student", NOT_NEGATIVE),
    },
    key=("model", "scenario_id", "question_id", "agent_id", "timestep"),
    rules=(sums_to_one("option_probabilities"), sums_to_one("teacher_probabilities")),
)

SIMULATED_SHARES = TableContract(
    name="simulated_shares",
    group="distillation",
    row="scenario × question × option × timestep × part of the panel",
    columns={
        "scenario_id": column(pl.String, "scenario"),
        "question_id": column(pl.String, "question"),
        "option": column(pl.String, "option"),
        "timestep": column(pl.Int32, "timestep, 0 before any event", NOT_NEGATIVE),
        "split": column(pl.String, "agents of the panel whose places are taken", one_of(("held_out", "fitted"))),
        "teacher_share": column(pl.Float64, "mean probability, the teacher's", FRACTION),
        "student_share": column(pl.Float64, "the same of people drawn by their attributes, mean of draws", FRACTION),
        "student_lower": column(pl.Float64, "2.5 % quantile of the draws", FRACTION),
        "student_upper": column(pl.Float64, "97.5 % quantile of the draws", FRACTION),
        "teacher_spread": column(pl.Float64, "standard deviation of probabilities between agents", NOT_NEGATIVE),
        "student_spread": column(pl.Float64, "the same of drawn people, mean of draws", NOT_NEGATIVE),
        "num_agents": column(pl.Int64, "agents whose answers are known", NOT_NEGATIVE),
        "model_version": column(pl.Int64, "registered version of the student", NOT_NEGATIVE),
    },
    key=("scenario_id", "question_id", "option", "timestep", "split"),
)

CONTRACTS = (HELD_OUT_PREDICTIONS, SIMULATED_SHARES, AXIS_PROBES)
