"""Behaviour benchmarks: the student's answers to real interventions against outcomes that were published before.

Each case is a scenario file in `scenarios/benchmarks` and a declaration in `behaviour_benchmarks.yaml`: the option that
stands for the published behaviour, the target range, the source and the mapping. Declarations were written before any
simulation and are never fitted to.

    BehaviourError   a declaration is wrong, or names a scenario or an option that does not exist

Legend: N agents, O options, B resamples.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from assets.tensors import agents_to_tensor, induced_ties, scenario_to_timeline, ties_to_graph
from model.lsm.inputs import SocialGraph, StepRecord
from model.lsm.lsm import LSM
from model.lsm.rollout import rollout
from validation.contracts import CONTRACTS

FILE = Path(__file__).with_name("behaviour_benchmarks.yaml")
SCHEMA = CONTRACTS["behaviour_scores"].polars_schema()
MAX_AGENTS = 2_000
"""Agents behind a case: their sampling error is about a point, far below any target range's width."""

NUM_RESAMPLES = 500
UNIFORM, NO_EFFECT = "uniform", "no_effect"


class BehaviourError(ValueError):
    """The declarations cannot be used; the message names the case, what was found and what is allowed."""


class Behaviour(BaseModel):
    """One published outcome and how a simulated quantity stands for it; shares are fractions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scenario: str
    option: str
    quantity: Literal["share", "change"]
    low: float = Field(ge=-1, le=1)
    high: float = Field(ge=-1, le=1)
    is_approximate: bool
    published: int = Field(ge=1900, le=2100)
    source: str = Field(min_length=20)
    mapping: str = Field(min_length=10)

    @model_validator(mode="after")
    def _is_a_range(self) -> "Behaviour":
        if not self.low < self.high:
            raise ValueError(f"low is {self.low} and high {self.high}; low must be below high")
        return self


@dataclass(frozen=True, eq=False)
class Society:
    """The agents that are asked, and what of the tables a scenario needs."""

    agents: pl.DataFrame
    ties: pl.DataFrame
    media_sources: pl.DataFrame
    graph: SocialGraph


@cache
def load_behaviours(path: Path = FILE) -> tuple[Behaviour, ...]:
    """The declarations in the order of the file.

    Raises:
        BehaviourError: an entry is wrong, or a scenario is declared twice.
    """
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))["benchmarks"]
    try:
        found = TypeAdapter(tuple[Behaviour, ...]).validate_python(entries)
    except ValidationError as error:
        raise BehaviourError(f"{path.name} holds a wrong entry: {error}") from error
    names = [entry.scenario for entry in found]
    for name in names:
        if names.count(name) > 1:
            raise BehaviourError(f"{path.name} declares {name} {names.count(name)} times. Allowed: once per scenario.")
    return found


def score_behaviours(
    models: Mapping[str, LSM],
    scenarios: pl.DataFrame,
    agents: pl.DataFrame,
    ties: pl.DataFrame,
    media_sources: pl.DataFrame,
    *,
    teacher: str,
    seed: int,
) -> pl.DataFrame:
    """The `behaviour_scores` table: every model on every declared case.

    Args:
        models: students by name.
        scenarios: rows of the benchmark scenarios, as in the scenarios table.
        agents: the agents table; at most 2,000 of them are asked, drawn by the seed.
        ties: the ties table, media ties included.
        media_sources: the media_sources table.
        teacher: the students' teacher; one that reads the public record can know the outcomes.
        seed: fixes the agents, the initial noise and the resamples.

    Raises:
        BehaviourError: a declared scenario or option is missing from the scenarios.
    """
    society = draw_society(agents, ties, media_sources, seed)
    rows: list[dict[str, Any]] = []
    for declared in load_behaviours():
        scenario = scenarios.filter(pl.col("scenario_id") == declared.scenario)
        question = scenario.filter(pl.col("kind") == "question")
        if question.is_empty():
            raise BehaviourError(
                f"{FILE.name} declares {declared.scenario!r}, which no scenario file describes. Scenarios: "
                f"{', '.join(sorted(scenarios['scenario_id'].unique())) or 'none'}."
            )
        options = question["options"][0].to_list()
        if declared.option not in options:
            raise BehaviourError(
                f"{declared.scenario} has no option {declared.option!r}; options: {', '.join(options)}."
            )
        place = options.index(declared.option)
        for name, model in models.items():
            with_N = final_answers(model, scenario, society, seed)[:, place]
            without_N = final_answers(model, scenario.filter(pl.col("kind") == "question"), society, seed)[:, place]
            quantity_N = with_N - without_N if declared.quantity == "change" else with_N
            rows.append(_row(declared, name, quantity_N, float(without_N.mean()), teacher, seed))
        baseline = 1 / len(options) if declared.quantity == "share" else 0.0
        name = UNIFORM if declared.quantity == "share" else NO_EFFECT
        rows.append(_row(declared, name, np.full(1, baseline), None, teacher, seed))
    return CONTRACTS["behaviour_scores"].validate(pl.DataFrame(rows, schema=SCHEMA))


def draw_society(agents: pl.DataFrame, ties: pl.DataFrame, media_sources: pl.DataFrame, seed: int) -> Society:
    """At most 2,000 agents with the ties among them, renumbered from 0."""
    chosen = agents.sort("agent_id")
    if agents.height > MAX_AGENTS:
        chosen = chosen.sample(MAX_AGENTS, seed=seed).sort("agent_id")
    ids = chosen["agent_id"].to_numpy()
    graph = ties_to_graph(induced_ties(ties, ids), len(ids))
    return Society(chosen, ties, media_sources, graph)


def final_answers(model: LSM, scenario_rows: pl.DataFrame, society: Society, seed: int) -> np.ndarray:
    """Probabilities [N, O] of the first question at the last timestep."""
    num_timesteps = int(scenario_rows["num_timesteps"][0])
    timeline, questions, triggers, _ = scenario_to_timeline(
        scenario_rows, society.agents, society.ties, society.media_sources, num_timesteps, seed
    )
    last: list[StepRecord] = []

    def keep(entry: StepRecord) -> None:
        last[:] = [entry]

    with torch.no_grad():
        rollout(
            model,
            agents_to_tensor(society.agents),
            society.graph,
            timeline,
            questions,
            triggers,
            num_timesteps,
            seed=seed,
            record=keep,
        )
    return last[0].option_probabilities[0].double().numpy()


def _row(
    declared: Behaviour,
    model: str,
    quantity_N: np.ndarray,
    without: float | None,
    teacher: str,
    seed: int,
) -> dict[str, Any]:
    value = float(quantity_N.mean())
    lower, upper = value, value
    if len(quantity_N) > 1:
        drawn = np.random.default_rng(seed).integers(0, len(quantity_N), (NUM_RESAMPLES, len(quantity_N)))
        lower, upper = np.quantile(quantity_N[drawn].mean(axis=1), (0.025, 0.975))
    miss = max(declared.low - value, value - declared.high, 0.0)
    is_student = model not in (UNIFORM, NO_EFFECT)
    return {
        "scenario_id": declared.scenario,
        "model": model,
        "option": declared.option,
        "quantity": declared.quantity,
        "value": value,
        "lower": min(float(lower), value),
        "upper": max(float(upper), value),
        "without_events": without,
        "target_low": declared.low,
        "target_high": declared.high,
        "miss": miss,
        "verdict": "within" if miss == 0 else "below" if value < declared.low else "above",
        "is_approximate": declared.is_approximate,
        "is_leakage_risk": is_student and "embedded" not in teacher,
        "num_agents": len(quantity_N) if is_student else 0,
        "published": declared.published,
        "source": declared.source,
        "mapping": declared.mapping,
    }
