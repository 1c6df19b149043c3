"""Contracts of the distillation room: held-out predictions and axis probes. The student lives in the registry."""

import polars as pl

from validation.contracts.table import FRACTION, NOT_NEGATIVE, TableContract, column, list_within, one_of, sums_to_one

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
        "channels": column(
            pl.List(pl.Float32),
            "anchored channels of the student that knows first answers, with and without ties; null for other models",
            nullable=True,
        ),
        "model_version": column(pl.Int64, "registered version of the student", NOT_NEGATIVE),
    },
    key=("model", "scenario_id", "question_id", "agent_id", "timestep"),
    rules=(
        sums_to_one("option_probabilities"),
        sums_to_one("teacher_probabilities"),
        list_within("channels", -1.0, 1.0),
    ),
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
        "student_lower": column(pl.Float64, "2.5 % quantile of the draws of all members", FRACTION),
        "student_upper": column(pl.Float64, "97.5 % quantile of the draws of all members", FRACTION),
        "teacher_spread": column(pl.Float64, "standard deviation of probabilities between agents", NOT_NEGATIVE),
        "student_spread": column(pl.Float64, "the same of drawn people, mean of draws", NOT_NEGATIVE),
        "num_agents": column(pl.Int64, "agents whose answers are known", NOT_NEGATIVE),
        "model_version": column(pl.Int64, "registered version of the student", NOT_NEGATIVE),
    },
    key=("scenario_id", "question_id", "option", "timestep", "split"),
)

ABLATIONS = TableContract(
    name="ablations",
    group="distillation",
    row="part of the student × metric",
    columns={
        "part": column(
            pl.String,
            "what the other student lacks: graph, leaning, exposure, memory, topic, recorded_answers, …; a name "
            "that ends in _added: what it has and the whole one lacks",
        ),
        "metric": column(
            pl.String,
            "tvd: distance to the teacher's answers; share_changes: error of simulated changes of shares",
            one_of(("tvd", "share_changes")),
        ),
        "whole_value": column(pl.Float64, "the whole student's, on held-out agents", NOT_NEGATIVE),
        "without_value": column(
            pl.Float64, "that of the other student: without the part, or with the added one", NOT_NEGATIVE
        ),
        "difference": column(
            pl.Float64,
            "other minus whole, paired by agent: above zero a part left out helps, and an added one would harm",
        ),
        "lower": column(pl.Float64, "lower end of the 95 % interval, resampling agents"),
        "upper": column(pl.Float64, "upper end of the interval"),
        "num_agents": column(pl.Int64, "held-out agents", NOT_NEGATIVE),
        "epochs": column(pl.Int64, "epochs that both were trained for at most", NOT_NEGATIVE),
        "model_version": column(pl.Int64, "registered version of the whole student", NOT_NEGATIVE),
    },
    key=("part", "metric"),
)

UNSEEN_SCENARIOS = TableContract(
    name="unseen_scenarios",
    group="distillation",
    row="scenario left out × question × metric × model",
    columns={
        "scenario_id": column(pl.String, "scenario that was left out of training, with all that ask the same"),
        "question_id": column(pl.String, "question; empty where all of the scenario's count together"),
        "metric": column(
            pl.String,
            "tvd: distance to the teacher's answers, told each agent's first; share_changes: error of simulated "
            "changes of shares",
            one_of(("tvd", "share_changes")),
        ),
        "model": column(
            pl.String,
            "lsm: the student that saw none of it; lsm_seen: the registered student, a bound; friedkin_johnsen: with "
            "parameters from the other questions",
            one_of(("lsm", "lsm_seen", "friedkin_johnsen", "persistence", "uniform")),
        ),
        "value": column(pl.Float64, "mean over held-out agents and timesteps", NOT_NEGATIVE),
        "lower": column(pl.Float64, "lower end of the 95 % interval, resampling agents", NOT_NEGATIVE),
        "upper": column(pl.Float64, "upper end of the interval", NOT_NEGATIVE),
        "student_minus_model": column(pl.Float64, "paired by agent; null for the student itself", nullable=True),
        "difference_lower": column(pl.Float64, "lower end of its 95 % interval", nullable=True),
        "difference_upper": column(pl.Float64, "upper end of its 95 % interval", nullable=True),
        "num_agents": column(pl.Int64, "held-out agents", NOT_NEGATIVE),
        "epochs": column(pl.Int64, "epochs that the student was trained for at most", NOT_NEGATIVE),
        "model_version": column(pl.Int64, "registered version of the student that saw the scenario", NOT_NEGATIVE),
    },
    key=("scenario_id", "question_id", "metric", "model"),
    may_be_empty=True,
)

RECORDED_READOUT = TableContract(
    name="recorded_readout",
    group="distillation",
    row="group × metric × model",
    columns={
        "teacher_model": column(pl.String, "LLM whose recorded answers are predicted"),
        "group": column(
            pl.String, "what the student had not seen", one_of(("unseen_personas", "unseen_items", "both"))
        ),
        "metric": column(
            pl.String,
            "tvd: mean over questions of the distance between mean prediction and recorded shares; log_loss: mean over "
            "questions of the individual log loss, natural logarithm",
            one_of(("tvd", "log_loss")),
        ),
        "model": column(
            pl.String,
            "lsm: students fitted to recorded answers alone; lsm_registered: the registered student; or a baseline",
            one_of(
                (
                    "lsm",
                    "lsm_registered",
                    "regression",
                    "regression_attributes",
                    "nearest_personas",
                    "nearest_item",
                    "item_marginal",
                    "uniform",
                )
            ),
        ),
        "value": column(pl.Float64, "mean over questions", NOT_NEGATIVE),
        "lower": column(pl.Float64, "lower end of the 95 % interval, resampling questions", NOT_NEGATIVE),
        "upper": column(pl.Float64, "upper end of the interval", NOT_NEGATIVE),
        "noise_floor": column(
            pl.Float64, "tvd of as many resampled personas; null for the log loss", NOT_NEGATIVE, nullable=True
        ),
        "student_minus_model": column(pl.Float64, "paired by question; null for the student itself", nullable=True),
        "difference_lower": column(pl.Float64, "lower end of its 95 % interval", nullable=True),
        "difference_upper": column(pl.Float64, "upper end of its 95 % interval", nullable=True),
        "num_questions": column(pl.Int64, "questions behind the mean", NOT_NEGATIVE),
        "num_personas": column(pl.Int64, "personas asked", NOT_NEGATIVE),
        "num_splits": column(pl.Int64, "students, each with other unseen questions", NOT_NEGATIVE),
        "note": column(pl.String, "what is asked of whom"),
    },
    key=("group", "metric", "model"),
    may_be_empty=True,
)

CONTRACTS = (HELD_OUT_PREDICTIONS, SIMULATED_SHARES, AXIS_PROBES, ABLATIONS, UNSEEN_SCENARIOS, RECORDED_READOUT)
