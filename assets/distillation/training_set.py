"""The training set of a student: a teacher's rollouts of a panel as tensors, split by agent and never by row.

Legend: P panel agents, A attributes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
import torch
from torch import Tensor

from assets.distillation.static_traces import StaticTraces
from assets.distillation.teacher_rollouts import TeacherRollout, TrainingSetError, teacher_rollout
from assets.tensors import agents_to_tensor, induced_ties, ties_to_graph
from model.lsm.inputs import SocialGraph

HELD_OUT_SHARE = 0.2
"""Share of the panel that no student and no baseline is fitted on."""
VALIDATION_SHARE = 0.15
"""Share of the remaining panel on which training stops early; neither fitted nor reported on."""
SMALLEST_PANEL = 10
FEWEST_QUESTION_SETS = 8
"""Different sets of questions from which on whole scenarios are held out for early stopping too. With fewer, a student
would have to carry over to a question from hardly any others, and the epoch would be chosen by that."""


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """A teacher's rollouts of one panel society.

    Attributes:
        agents: rows of `agents` of the panel, by agent id; positions in every tensor follow them.
        attributes_PA: int64 attribute codes.
        graph: social ties within the panel.
        rollouts: one per scenario, by scenario id.
        is_held_out_P: agents whose answers nothing is fitted on.
        is_validation_P: agents on which training stops early.
        is_validation_S: scenarios that nothing is fitted on and on which training stops early, with all their agents
            but those held out; none where few sets of questions are asked.
        teacher: who answered, as the traces say.
        teacher_model: model that answered.
        text_encoder: what encoded the texts of events, questions and options.
        static: recorded answers at timestep 0 that are mixed in; None for rollouts alone.
    """

    agents: pl.DataFrame
    attributes_PA: Tensor
    graph: SocialGraph
    rollouts: tuple[TeacherRollout, ...]
    is_held_out_P: Tensor
    is_validation_P: Tensor
    is_validation_S: Tensor
    teacher: str
    teacher_model: str
    text_encoder: str
    static: StaticTraces | None = None

    @property
    def num_agents(self) -> int:
        """Agents of the panel."""
        return self.agents.height

    @property
    def agent_ids(self) -> list[int]:
        """Ids of the panel's agents, in the order of every tensor."""
        return self.agents["agent_id"].to_list()

    @cached_property
    def is_training_P(self) -> Tensor:
        """Agents whose answers the student is fitted on."""
        return ~self.is_held_out_P & ~self.is_validation_P


def build_training_set(
    agents: pl.DataFrame,
    ties: pl.DataFrame,
    media_sources: pl.DataFrame,  # noqa: ARG001
    scenarios: pl.DataFrame,
    traces: pl.DataFrame,
    seed: int,
    static: StaticTraces | None = None,
) -> TrainingSet:
    """Turns traces into the panel society with a teacher's targets per scenario and timestep.

    Exposures are those that the traces record; media sources are therefore not read, and stand in the signature because
    every stage that needs exposures takes the same tables.

    Args:
        agents: rows of `agents`, the whole population or any part that holds the panel.
        ties: rows of `ties`.
        media_sources: rows of `media_sources`.
        scenarios: rows of `scenarios`.
        traces: rows of `reasoning_traces` of one teacher model.
        seed: fixes the split.
        static: recorded answers to mix in; none when left out.

    Raises:
        TrainingSetError: traces are missing, of several teachers, or name agents, questions or events that are unknown.
    """
    teacher, teacher_model = _single_teacher(traces)
    panel_ids = traces["agent_id"].unique().sort()
    panel = agents.filter(pl.col("agent_id").is_in(panel_ids.implode())).sort("agent_id")
    if panel.height != len(panel_ids):
        missing = sorted(set(panel_ids) - set(panel["agent_id"]))[:5]
        raise TrainingSetError(
            f"reasoning_traces holds answers of agents {missing} that `agents` does not hold. "
            "The population was made anew after elicitation; elicit again or restore the table version."
        )
    if panel.height < SMALLEST_PANEL:
        raise TrainingSetError(
            f"reasoning_traces holds {panel.height} agents; at least {SMALLEST_PANEL} are needed to hold some out. "
            "Raise panel_size and elicit again."
        )
    is_held_out_P, is_validation_P = split_agents(panel.height, seed)
    rollouts = tuple(
        teacher_rollout(scenario_traces, _rows_of(scenarios, str(scenario_id)), panel)
        for (scenario_id,), scenario_traces in traces.sort("scenario_id").group_by("scenario_id", maintain_order=True)
    )
    asked = [tuple(sorted(target.question.question_id for target in rollout.targets)) for rollout in rollouts]
    return TrainingSet(
        agents=panel,
        attributes_PA=agents_to_tensor(panel),
        graph=ties_to_graph(induced_ties(ties, panel["agent_id"].to_numpy()), panel.height),
        rollouts=rollouts,
        is_held_out_P=is_held_out_P,
        is_validation_P=is_validation_P,
        is_validation_S=split_scenarios(asked, seed),
        teacher=teacher,
        teacher_model=teacher_model,
        text_encoder=_single_encoder(scenarios),
        static=static,
    )


def split_agents(num_agents: int, seed: int) -> tuple[Tensor, Tensor]:
    """Which agents are held out and which validate, two disjoint bool [P]; at least two of each."""
    order = np.random.default_rng(seed).permutation(num_agents)
    num_held_out = max(2, round(HELD_OUT_SHARE * num_agents))
    num_validation = max(2, round(VALIDATION_SHARE * (num_agents - num_held_out)))
    is_held_out_P, is_validation_P = torch.zeros(2, num_agents, dtype=torch.bool)
    is_held_out_P[order[:num_held_out].tolist()] = True
    is_validation_P[order[num_held_out : num_held_out + num_validation].tolist()] = True
    return is_held_out_P, is_validation_P


def split_scenarios(asked: Sequence[tuple[str, ...]], seed: int) -> Tensor:
    """Which scenarios only validate, bool [S]: every scenario of some sets of questions, about 15 % of the sets.

    Args:
        asked: the questions of every scenario; a scenario and its baseline share theirs and stay together.
        seed: fixes the choice.
    """
    sets = sorted(set(asked))
    if len(sets) < FEWEST_QUESTION_SETS:
        return torch.zeros(len(asked), dtype=torch.bool)
    order = np.random.default_rng(seed).permutation(len(sets))
    chosen = {sets[number] for number in order[: max(1, round(VALIDATION_SHARE * len(sets)))]}
    return torch.tensor([questions in chosen for questions in asked])


def _single_encoder(scenarios: pl.DataFrame) -> str:
    encoders = scenarios["text_encoder"].unique().sort().to_list()
    if len(encoders) != 1:
        raise TrainingSetError(
            f"The texts of scenarios were encoded by {', '.join(encoders) or 'nothing'}; allowed: one encoder. "
            "Materialise scenarios again."
        )
    return encoders[0]


def _single_teacher(traces: pl.DataFrame) -> tuple[str, str]:
    teachers = traces.select("teacher", "model").unique().sort("teacher", "model").rows()
    if not teachers:
        raise TrainingSetError("reasoning_traces is empty; elicit or import traces before distilling.")
    if len(teachers) > 1:
        found = "; ".join(f"{teacher}/{model}" for teacher, model in teachers)
        raise TrainingSetError(
            f"reasoning_traces mixes answers of {len(teachers)} teachers ({found}); a student has one teacher. "
            "Filter the table by teacher and model."
        )
    return teachers[0]


def _rows_of(scenarios: pl.DataFrame, scenario_id: str) -> pl.DataFrame:
    rows = scenarios.filter(pl.col("scenario_id") == scenario_id)
    if rows.is_empty():
        allowed = ", ".join(scenarios["scenario_id"].unique().sort())
        raise TrainingSetError(
            f"reasoning_traces answers scenario {scenario_id!r}, which `scenarios` does not hold ({allowed}). "
            "Restore the scenario file or elicit again."
        )
    return rows
