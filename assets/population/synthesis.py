"""Makes a population that fits into memory: all shards of its plan, one after another."""

import polars as pl

from assets.population.shards import PopulationPlan, ShardRows, make_shard, plan_population


def synthesise_agents(
    respondents: pl.DataFrame,
    calibrated: pl.DataFrame,
    margins: pl.DataFrame,
    num_agents: int,
    seed: int,
    *,
    second: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Makes the agents of the synthetic population, household by household.

    Donors are drawn with probability proportional to calibrated weight, in numbers per cell that meet the margins as
    closely as whole agents can. One seed gives one population, bit for bit; it is the union of the shards that
    `plan_population` names.

    Args:
        respondents: rows of `survey_respondents`.
        calibrated: rows of `calibrated_respondents`; only these respondents become donors.
        margins: rows of `population_margins` that the weights were calibrated on.
        num_agents: number of agents to make.
        seed: any non-negative integer.
        second: respondents of a second survey with `calibrated_weight`, for attributes that no donor has.

    Returns:
        Rows of `agents`; members of a household are adjacent, households are grouped by state.

    Raises:
        SynthesisError: there are no agents to make or no donors, or an attribute is open for every donor.
    """
    return make_population(plan_population(respondents, calibrated, margins, num_agents, seed, second=second)).agents


def make_population(plan: PopulationPlan) -> ShardRows:
    """All agents and households of a plan, in memory.

    Raises:
        SynthesisError: see `make_shard`.
    """
    shards = [make_shard(plan, shard) for shard in plan.shards]
    return ShardRows(pl.concat([shard.agents for shard in shards]), pl.concat([shard.households for shard in shards]))
