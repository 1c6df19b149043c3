"""Makes the agents of a population that fits into memory: all shards of its plan, one after another."""

import polars as pl

from assets.population.shards import plan_population, synthesise_shard


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
    plan = plan_population(respondents, calibrated, margins, num_agents, seed, second=second)
    return pl.concat([synthesise_shard(plan, shard) for shard in plan.shards])
