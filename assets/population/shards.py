"""Populations in shards: one plan fixes how many agents every donor gives; each shard is then made by itself.

A shard is a state, or a block of a state with very many agents. The plan takes memory that grows with the seed survey,
a shard memory that grows with its own agents, so a population larger than memory is made shard after shard, or on
several machines at once. Shards share nothing but the plan: each has its own stream of random numbers and knows its
first agent and household, so neither their order nor who makes them changes a bit.

Legend: R respondents (donors), U units (a donor in a state), N agents of one shard.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from assets.population.allotment import allot_to_donors
from assets.population.errors import SynthesisError
from assets.population.hot_deck import HotDeck
from assets.population.household_rows import describe_households
from assets.population.households import assign_households, household_numbers
from assets.population.laying import lay_margins
from assets.population.noise import Originals, make_distinct
from assets.population.records import level_codes
from assets.population.seed_survey import FILLED
from validation.attributes import ATTRIBUTE_BY_NAME, ATTRIBUTES, REGION_OF_STATE, STATES_BY_REGION

LARGEST_SHARD = 250_000
"""Agents of a shard at most. A shard of this size takes some 400 MB while it is made."""

STATES = STATES_BY_REGION

AGENT_COLUMNS = (
    "agent_id",
    "household_id",
    "respondent_id",
    "geography",
    "age",
    *(attribute.name for attribute in ATTRIBUTES),
    "imputed_attributes",
)


@dataclass(frozen=True)
class Shard:
    """Agents that are made together: block `block` of `num_blocks` of one state, with the ids they get."""

    state: str
    block: int
    num_blocks: int
    num_agents: int
    first_agent_id: int
    num_households: int
    first_household_id: int

    @property
    def name(self) -> str:
        """The state, and the block where there are several, for file names and logs."""
        return self.state if self.num_blocks == 1 else f"{self.state}-{self.block}"


@dataclass(frozen=True)
class ShardRows:
    """Rows of `agents` and of `households` of one shard."""

    agents: pl.DataFrame
    households: pl.DataFrame


@dataclass(frozen=True)
class PopulationPlan:
    """Who gives how many agents in which state, and the shards; made by `plan_population`.

    Attributes:
        donors: seed respondents with attributes, age and `calibrated_weight`, R rows.
        donor_U: row of the donor of each unit, units ordered by state.
        state_U: index into `STATES` of each unit.
        count_U: agents of each unit.
        shards: all shards, in the order of their agents' ids.
        seed: seed of the population.
        deck: donors of the attributes that a donor left open.
        counties: per state, the counties with their shares of its people, as `county_shares` gives them.
        originals: records of the donors when agents are made distinct from them, else none.
        fixed: attributes that margins use.
    """

    donors: pl.DataFrame
    donor_U: np.ndarray
    state_U: np.ndarray
    count_U: np.ndarray
    shards: tuple[Shard, ...]
    seed: int
    deck: HotDeck
    counties: Mapping[str, pl.DataFrame]
    originals: Originals | None
    fixed: frozenset[str]

    @property
    def num_agents(self) -> int:
        """Agents of all shards."""
        return int(self.count_U.sum())

    def counts_by(self, attributes: tuple[str, ...]) -> pl.DataFrame:
        """Agents of the whole population by attributes that every donor answered, without making an agent.

        Returns:
            The attributes and `num_agents`.
        """
        state = pl.Series("state", STATES).gather(self.state_U)
        rows = self.donors[self.donor_U].with_columns(state, pl.Series("num_agents", self.count_U))
        return rows.group_by(attributes, maintain_order=True).agg(pl.sum("num_agents"))


def plan_population(
    respondents: pl.DataFrame,
    calibrated: pl.DataFrame,
    margins: pl.DataFrame,
    num_agents: int,
    seed: int,
    *,
    second: pl.DataFrame | None = None,
    counties: Mapping[str, pl.DataFrame] | None = None,
    is_distinct: bool = False,
) -> PopulationPlan:
    """Plans a population of any size: cost and memory depend on the seed survey, not on the number of agents.

    Donors give whole numbers of agents that together meet the margins as closely as whole agents can, so the union of
    all shards meets them, whatever is made when. Use it with `synthesise_shard`:

        plan = plan_population(respondents, calibrated, margins, 151_000_000, seed)
        for shard in plan.shards:
            write(shard.name, synthesise_shard(plan, shard))

    Args:
        respondents: rows of `survey_respondents`.
        calibrated: rows of `calibrated_respondents`; only these respondents become donors.
        margins: rows of `population_margins` that the weights were calibrated on.
        num_agents: number of agents of the whole population.
        seed: any non-negative integer.
        second: respondents of a second survey with `calibrated_weight`, for attributes that no donor has.
        counties: shares of counties per state (`county_shares`); without them households have no county.
        is_distinct: whether agents are changed until none equals a respondent.

    Raises:
        SynthesisError: there are no agents to make or no donors, or nobody has an attribute that a donor left open.
    """
    if num_agents < 1:
        raise SynthesisError(f"num_agents is {num_agents}; a population needs at least one agent. Raise it.")
    names = [attribute.name for attribute in ATTRIBUTES]
    donors = calibrated.select("respondent_id", "calibrated_weight").join(
        respondents.select("respondent_id", "age", *names, *([FILLED] if FILLED in respondents.columns else [])),
        on="respondent_id",
        how="inner",
        maintain_order="left",
    )
    if donors.height != calibrated.height or donors.is_empty():
        raise SynthesisError(
            f"Only {donors.height} of {calibrated.height} calibrated respondents are in survey_respondents. "
            "Both tables must come from the same run: materialise them again."
        )
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
    deck = HotDeck(donors, second)
    codes = donors.select(pl.col("state", "party").rank("dense").fill_null(0)).to_numpy().astype(np.int64)
    order_key_R = codes[:, 0] * (codes[:, 1].max() + 1) + codes[:, 1]
    weight_R = donors["calibrated_weight"].to_numpy()
    count_R = allot_to_donors(weight_R, lay_margins(donors, margins), order_key_R, num_agents, rng)

    state_R = level_codes(donors["state"], STATES)
    known_R = np.flatnonzero((state_R >= 0) & (count_R > 0))
    open_R = np.flatnonzero((state_R < 0) & (count_R > 0))
    donor_U, state_U, count_U = known_R, state_R[known_R], count_R[known_R]
    if len(open_R):
        count_RS = rng.multinomial(count_R[open_R], deck.distribution("state", donors[open_R]))
        row, state = np.nonzero(count_RS)
        index_S = np.array([STATES.index(name) for name in ATTRIBUTE_BY_NAME["state"].levels])
        donor_U = np.concatenate([donor_U, open_R[row]])
        state_U = np.concatenate([state_U, index_S[state]])
        count_U = np.concatenate([count_U, count_RS[row, state]])
    order_U = np.argsort(state_U, kind="stable")
    donor_U, state_U, count_U = donor_U[order_U], state_U[order_U], count_U[order_U]
    return PopulationPlan(
        donors=donors,
        donor_U=donor_U,
        state_U=state_U,
        count_U=count_U,
        shards=_shards(state_U, count_U),
        seed=seed,
        deck=deck,
        counties=counties or {},
        originals=Originals.of(donors) if is_distinct else None,
        fixed=frozenset(part for name in margins["margin"].unique() for part in name.split("*")),
    )


def synthesise_shard(plan: PopulationPlan, shard: Shard) -> pl.DataFrame:
    """Makes the agents of one shard, household by household.

    The same plan and shard give the same rows bit for bit, whichever other shards are made, before or after.

    Args:
        plan: the plan of the whole population.
        shard: one of `plan.shards`.

    Returns:
        Rows of `agents` of this shard: `agent_id` counts from `shard.first_agent_id` and `household_id` from
        `shard.first_household_id` without gaps; members of a household are adjacent, and so are neighbours.

    Raises:
        SynthesisError: an attribute is open for every donor, or an agent stays a copy of a respondent.
    """
    return make_shard(plan, shard).agents


def make_shard(plan: PopulationPlan, shard: Shard) -> ShardRows:
    """Makes the agents of one shard and the households they live in, as `synthesise_shard` does.

    Raises:
        SynthesisError: an attribute is open for every donor, or an agent stays a copy of a respondent.
    """
    state_index = STATES.index(shard.state)
    fill_rng, household_rng, neighbour_rng, noise_rng, children_rng = (
        np.random.default_rng(np.random.SeedSequence(plan.seed, spawn_key=(1, state_index, shard.block, stream)))
        for stream in range(5)
    )
    donor_N = _donors_of(plan, state_index, shard)
    people = plan.donors[donor_N].with_columns(
        pl.lit(shard.state).alias("state"), pl.lit(REGION_OF_STATE[shard.state]).alias("region")
    )
    people = plan.deck.fill(people, fill_rng)
    marks = [
        pl.when(plan.donors[name].is_null().gather(donor_N)).then(pl.lit(name))
        for name in ("region", "state")
        if plan.donors[name].has_nulls()
    ]
    earlier = [FILLED] if FILLED in people.columns else []
    if marks or earlier:
        every = pl.concat_list(*earlier, "imputed_attributes", *marks).list.drop_nulls()
        people = people.with_columns(every.alias("imputed_attributes"))
    if plan.originals is not None:
        people = make_distinct(people, donor_N, plan.originals, plan.fixed, noise_rng)
    grouped = in_neighbourhoods(assign_households(people, household_rng), neighbour_rng)
    households = describe_households(grouped, plan.counties.get(shard.state), children_rng)
    agents = grouped.with_columns(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("agent_id") + shard.first_agent_id,
        pl.col("household_id") + shard.first_household_id,
        pl.format("US-{}", "state").alias("geography"),
    ).select(AGENT_COLUMNS)
    return ShardRows(agents, households.with_columns(pl.col("household_id") + shard.first_household_id))


def in_neighbourhoods(people: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Lines households up as neighbours in random order, whole, and numbers them in that order.

    Households are made size by size; tied as they come, couples would have couples alone as neighbours.

    Args:
        people: rows with a dense `household_id`, members adjacent.
        rng: source of randomness.
    """
    household_N = people["household_id"].to_numpy()
    place_H = rng.permutation(int(household_N.max()) + 1)
    order_N = np.argsort(place_H[household_N], kind="stable")
    return people[order_N].with_columns(pl.Series("household_id", place_H[household_N][order_N]))


def _donors_of(plan: PopulationPlan, state_index: int, shard: Shard) -> np.ndarray:
    """Donor row of each agent of a shard: every `num_blocks`-th agent of the state, so that blocks are alike."""
    first, last = np.searchsorted(plan.state_U, [state_index, state_index + 1])
    donor_U, count_U = plan.donor_U[first:last], plan.count_U[first:last]
    end_U = np.cumsum(count_U)

    def upto(position_U: np.ndarray) -> np.ndarray:
        return (position_U - 1 - shard.block) // shard.num_blocks

    return np.repeat(donor_U, upto(end_U) - upto(end_U - count_U))


def _shards(state_U: np.ndarray, count_U: np.ndarray) -> tuple[Shard, ...]:
    count_S = np.bincount(state_U, weights=count_U, minlength=len(STATES)).astype(np.int64)
    shards, first_agent, first_household = [], 0, 0
    for state, count in zip(STATES, count_S.tolist(), strict=True):
        num_blocks = -(-count // LARGEST_SHARD)
        for block in range(num_blocks):
            size = (count - block + num_blocks - 1) // num_blocks
            num_households = sum(household_numbers(size).values())
            shards.append(Shard(state, block, num_blocks, size, first_agent, num_households, first_household))
            first_agent += size
            first_household += num_households
    return tuple(shards)
