"""Contracts of the simulation room: everything a rollout leaves behind, partitioned by scenario and replicate."""

import polars as pl

from validation.contracts.table import (
    FRACTION,
    NOT_NEGATIVE,
    SIGNED_UNIT,
    TableContract,
    between,
    column,
    list_within,
    one_of,
    ordered,
    sums_to_one,
)

PARTITION = {
    "scenario_id": column(pl.String, "scenario"),
    "replicate": column(pl.Int32, "replicate, from 0", NOT_NEGATIVE),
}
PARTITION_BY = ("scenario_id", "replicate")

TRAJECTORIES = TableContract(
    name="trajectories",
    group="simulation",
    row="agent × timestep × question",
    columns={
        **PARTITION,
        "engine": column(pl.String, "lsm for the student, lpm_opinion for the mechanistic baseline"),
        "model_version": column(pl.Int64, "registered version of the student; 0 for the mechanistic baseline"),
        "agent_id": column(pl.Int64, "agent", NOT_NEGATIVE),
        "timestep": column(pl.Int32, "timestep, 0 for the initial state", NOT_NEGATIVE),
        "question_id": column(pl.String, "question"),
        "channels": column(pl.List(pl.Float32), "anchored channels, in file order"),
        "latent_summary": column(pl.List(pl.Float32), "first principal axes of the free latent"),
        "conviction": column(pl.Float32, "strength of the stance", FRACTION),
        "option_probabilities": column(pl.List(pl.Float32), "probability of each option, in order"),
        "decision": column(pl.String, "option drawn from the probabilities"),
        "expression": column(pl.List(pl.Float32), "what the agent broadcasts"),
    },
    key=("scenario_id", "replicate", "engine", "agent_id", "timestep", "question_id"),
    rules=(sums_to_one("option_probabilities", 1e-3), list_within("channels", -1.0, 1.0)),
    partition_by=PARTITION_BY,
)

EPISODES = TableContract(
    name="episodes",
    group="simulation",
    row="episode that an agent remembers at the end",
    columns={
        **PARTITION,
        "agent_id": column(pl.Int64, "agent", NOT_NEGATIVE),
        "timestep": column(pl.Int32, "when the episode happened", NOT_NEGATIVE),
        "kind": column(pl.String, "what the episode is about", one_of(("event", "peers"))),
        "event_id": column(pl.String, "event of the scenario; null when peers made the episode", nullable=True),
        "salience": column(pl.Float32, "how strongly it is remembered", FRACTION),
        "appraisal": column(pl.Float32, "how it was taken, −1…1", SIGNED_UNIT),
    },
    key=("scenario_id", "replicate", "agent_id", "timestep", "kind"),
    partition_by=PARTITION_BY,
)

OUTCOMES = TableContract(
    name="outcomes",
    group="simulation",
    row="scenario × replicate × engine × timestep × segment × option",
    columns={
        **PARTITION,
        "engine": column(pl.String, "lsm or lpm_opinion"),
        "question_id": column(pl.String, "question"),
        "timestep": column(pl.Int32, "timestep", NOT_NEGATIVE),
        "segment": column(pl.String, "all, or attribute=level"),
        "option": column(pl.String, "option of the question"),
        "share": column(pl.Float64, "mean probability of the option in the segment", FRACTION),
        "lower": column(pl.Float64, "lower end of the 95 % interval", FRACTION),
        "upper": column(pl.Float64, "upper end of the 95 % interval", FRACTION),
        "decision_share": column(pl.Float64, "fraction of agents whose drawn decision is the option", FRACTION),
        "num_agents": column(pl.Int64, "agents in the segment", NOT_NEGATIVE),
    },
    key=("scenario_id", "replicate", "engine", "question_id", "timestep", "segment", "option"),
    rules=(ordered("lower", "share", "upper"),),
    partition_by=PARTITION_BY,
)

COUNTERFACTUALS = TableContract(
    name="counterfactuals",
    group="simulation",
    row="agent, or segment, of a pair of scenarios",
    columns={
        **PARTITION,
        "baseline_id": column(pl.String, "scenario compared with"),
        "question_id": column(pl.String, "question"),
        "unit": column(pl.String, "whether the row is one agent or a segment", one_of(("agent", "segment"))),
        "agent_id": column(pl.Int64, "agent; null for segments", nullable=True),
        "segment": column(pl.String, "all or attribute=level; null for agents", nullable=True),
        "option": column(pl.String, "option"),
        "difference": column(pl.Float64, "probability under the scenario minus under the baseline", SIGNED_UNIT),
        "lower": column(pl.Float64, "lower end of the 95 % interval; null for agents", nullable=True),
        "upper": column(pl.Float64, "upper end of the 95 % interval; null for agents", nullable=True),
        "has_flipped": column(pl.Boolean, "whether the likeliest option differs; null for segments", nullable=True),
        "channel_differences": column(pl.List(pl.Float32), "channels under the scenario minus under the baseline"),
        "num_agents": column(pl.Int64, "agents behind the row", NOT_NEGATIVE),
    },
    key=("scenario_id", "replicate", "baseline_id", "question_id", "unit", "agent_id", "segment", "option"),
    partition_by=PARTITION_BY,
)

REASONING_PROFILES = TableContract(
    name="reasoning_profiles",
    group="simulation",
    row="cluster of agents that reason alike",
    columns={
        **PARTITION,
        "cluster": column(pl.Int32, "cluster, 0 for the largest", NOT_NEGATIVE),
        "size": column(pl.Int64, "agents in the cluster", NOT_NEGATIVE),
        "share": column(pl.Float64, "fraction of agents in the cluster", FRACTION),
        "silhouette": column(pl.Float64, "mean silhouette of the clustering", SIGNED_UNIT),
        "channel_centroid": column(pl.List(pl.Float32), "mean channels of the cluster"),
        "option_probabilities": column(pl.List(pl.Float32), "mean option probabilities of the cluster"),
        "defining_attributes": column(pl.List(pl.String), "attribute=level with the highest lift"),
        "exemplar_agents": column(pl.List(pl.Int64), "agents nearest to the centroid"),
    },
    key=("scenario_id", "replicate", "cluster"),
    partition_by=PARTITION_BY,
)

INTERVENTION_SURFACE = TableContract(
    name="intervention_surface",
    group="simulation",
    row="grid point, gradient or finite difference of an intervention",
    columns={
        **PARTITION,
        "kind": column(
            pl.String,
            "grid: simulated at a value; gradient: derivative at the file's value, no size for exposure.reach and at; "
            "finite_difference: derivative by these two, a difference quotient of rollouts around the file's value",
            one_of(("grid", "gradient", "finite_difference")),
        ),
        "parameter": column(pl.String, "path of the changed field, for example events.ad.credibility"),
        "value": column(pl.Float64, "value of the field; that of the file for derivatives; timesteps for at"),
        "value_below": column(pl.Float64, "lower value of a finite difference; null for other kinds", nullable=True),
        "value_above": column(pl.Float64, "upper value of a finite difference; null for other kinds", nullable=True),
        "question_id": column(pl.String, "question"),
        "outcome": column(pl.String, "option whose final share is the outcome"),
        "share": column(pl.Float64, "final share of the option", FRACTION),
        "derivative": column(
            pl.Float64,
            "d share / d value; null for grid points, and where both values of a finite difference are the file's",
            nullable=True,
        ),
        "difference": column(pl.Float64, "share minus share at the file's value", between(-1, 1)),
    },
    key=("scenario_id", "replicate", "kind", "parameter", "value", "question_id", "outcome"),
    rules=(ordered("value_below", "value", "value_above"),),
    partition_by=PARTITION_BY,
)

CONTRACTS = (TRAJECTORIES, EPISODES, OUTCOMES, COUNTERFACTUALS, REASONING_PROFILES, INTERVENTION_SURFACE)
