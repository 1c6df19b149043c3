"""One partition's rollout of the student: its inputs from tables, and its timesteps one at a time.

The caller pulls, so that rows of a timestep can be written before the next is computed and only one timestep is ever in
memory.

Legend: N agents, A attributes, V events.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import polars as pl
import torch
from torch import Tensor

from assets.simulation.draws import replicate_seed
from assets.tensors import agents_to_tensor, induced_ties, scenario_to_timeline, ties_to_graph
from model.lsm import rollout
from model.lsm.inputs import Question, SocialGraph, Timeline, Trigger
from model.lsm.lsm import LSM
from model.lsm.rollout import Peers, Snapshot, Step
from validation.predicates import compile_predicate

AGENTS_PER_BLOCK = 50_000
"""Agents computed together; bounds memory and changes no bit."""

SHARED_DRAWS = "every scenario"
"""Stands for the scenario in the address of reach draws."""


@dataclass(frozen=True)
class RolloutInputs:
    """What one partition's rollout is made of.

    Attributes:
        attributes_NA: attribute codes of all agents, by agent id.
        graph: social ties between all agents.
        timeline: events and trigger events with whom they reach.
        questions: asked at every timestep.
        triggers: thresholds that start trigger events.
        event_names: names of the timeline's events, in its order.
        num_timesteps: timesteps after the initial state.
        agent_id_N: ids of the agents.
        counted_N: whether the agent belongs to the scenario's population.
        seed: the replicate's seed: initial noise and reach draws.
    """

    attributes_NA: Tensor
    graph: SocialGraph
    timeline: Timeline
    questions: list[Question]
    triggers: list[Trigger]
    event_names: tuple[str, ...]
    num_timesteps: int
    agent_id_N: Tensor
    counted_N: Tensor
    seed: int

    def to(self, device: torch.device) -> "RolloutInputs":
        """The same inputs on another device; ids stay where they are."""
        return replace(
            self,
            attributes_NA=self.attributes_NA.to(device),
            graph=self.graph.to(device),
            timeline=self.timeline.to(device),
            counted_N=self.counted_N.to(device),
        )


def prepare_rollout(
    agents: pl.DataFrame,
    ties: pl.DataFrame,
    media_sources: pl.DataFrame,
    scenario_rows: pl.DataFrame,
    *,
    replicate: int,
    seed: int,
    max_timesteps: int,
    is_part: bool = False,
) -> RolloutInputs:
    """Turns tables into the inputs of one partition's rollout.

    Whom an event reaches is drawn by the event's name and not by the scenario's: an event that a scenario and its
    baseline both hold reaches the same agents in both.

    Args:
        agents: the agents table, or a part of it.
        ties: the ties table, media ties included.
        media_sources: the media_sources table.
        scenario_rows: rows of the scenarios table for one scenario.
        replicate: from 0.
        seed: seed of the run.
        max_timesteps: cap on the timesteps the scenario asks for.
        is_part: whether `agents` are a part of the society; only the ties among them are then heard.

    Raises:
        ValueError: nobody belongs to the scenario's population, or rows of several scenarios are given.
    """
    agents = agents.sort("agent_id")
    agent_id_N = agents["agent_id"].to_numpy().copy()
    counted_N = torch.from_numpy(population_mask(agents, scenario_rows).to_numpy().copy())
    timeline, questions, triggers, num_timesteps = scenario_to_timeline(
        scenario_rows.with_columns(scenario_id=pl.lit(SHARED_DRAWS)),
        agents,
        ties,
        media_sources,
        max_timesteps,
        replicate_seed(seed, replicate),
    )
    names = [
        name
        for kind in ("event", "trigger")
        for name in scenario_rows.filter(pl.col("kind") == kind).sort("position")["name"]
    ]
    return RolloutInputs(
        attributes_NA=agents_to_tensor(agents),
        graph=ties_to_graph(induced_ties(ties, agent_id_N) if is_part else ties, agents.height),
        timeline=timeline,
        questions=questions,
        triggers=triggers,
        event_names=tuple(names),
        num_timesteps=num_timesteps,
        agent_id_N=torch.from_numpy(agent_id_N),
        counted_N=counted_N,
        seed=replicate_seed(seed, replicate),
    )


def population_mask(agents: pl.DataFrame, scenario_rows: pl.DataFrame) -> pl.Series:
    """Whether each agent belongs to the scenario's population, in the order of the rows.

    Raises:
        ValueError: nobody does.
    """
    where = scenario_rows["population_where"][0]
    is_counted = agents.select(pl.repeat(True, pl.len()) & compile_predicate(where)).to_series().fill_null(False)
    if not is_counted.any():
        raise ValueError(
            f"Scenario {scenario_rows['scenario_id'][0]}: no agent satisfies population.where = {where!r}. "
            "Widen it, or make more agents."
        )
    return is_counted


def steps_of(
    model: LSM,
    inputs: RolloutInputs,
    *,
    is_recorded: bool = True,
    is_checkpointed: bool = False,
    after: Snapshot | None = None,
    peers: Peers | None = None,
) -> Iterator[Step]:
    """Timesteps of a rollout of these inputs, with gradient where that is switched on; see `model.lsm.rollout`."""
    return rollout.rollout_steps(
        model,
        inputs.attributes_NA,
        inputs.graph,
        inputs.timeline,
        inputs.questions,
        inputs.triggers,
        inputs.num_timesteps,
        seed=inputs.seed,
        is_recorded=is_recorded,
        agent_id_N=inputs.agent_id_N,
        counted_N=inputs.counted_N,
        agents_per_block=AGENTS_PER_BLOCK,
        is_checkpointed=is_checkpointed,
        after=after,
        peers=peers,
    )


def rollout_steps(
    model: LSM, inputs: RolloutInputs, after: Snapshot | None = None, peers: Peers | None = None
) -> Iterator[Step]:
    """Timesteps 0 … num_timesteps with their records, each computed without gradient when it is asked for.

    Args:
        model: the student.
        inputs: the rollout.
        after: where an interrupted rollout of the same inputs was left; None for the beginning.
        peers: the other shards, where these agents are one of several.
    """
    steps = steps_of(model, inputs, after=after, peers=peers)
    while True:
        with torch.no_grad():
            step = next(steps, None)
        if step is None:
            return
        yield step
