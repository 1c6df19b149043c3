"""A teacher's traces of one scenario as tensors: what it answered, and which events reached whom.

TrainingSetError   traces, agents and scenarios do not fit together; the message names the table and the next step

Legend: P panel agents, T timesteps (0 … last), K channels, O options, V events.
Missing answers (failed or refused requests) are NaN in every target and count in no loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor

from assets.distillation.rationales import NUM_DIMENSIONS, encode_rationales
from assets.tensors import events_to_timeline, row_to_question
from model.lsm.inputs import Question, Timeline
from validation.channels import channel_names

ATTENDED = ("events", "peers", "memory")
"""What attention is shared between, in the order of `attention_TP3`."""


class TrainingSetError(ValueError):
    """Traces cannot become a training set."""


@dataclass(frozen=True, eq=False)
class QuestionTargets:
    """What the teacher answered to one question.

    `probability_TPO` is the mean over repeated draws, `first_draw_TPO` the answer that the teacher's own rollout
    continued from; rows sum to one or are NaN.
    """

    question: Question
    options: tuple[str, ...]
    probability_TPO: Tensor
    first_draw_TPO: Tensor


@dataclass(frozen=True, eq=False)
class TeacherRollout:
    """The teacher's rollout of the panel through one scenario.

    Attributes:
        timeline: the events as they reached the panel in the teacher's run, triggered ones included.
        targets: answers per question.
        channels_TPK: −1 … 1, first draw.
        conviction_TP: 0 … 1.
        public_stance_TP: −1 … 1.
        salience_TP: 0 … 1, how strongly the step is remembered.
        attention_TP3: shares of attention on events, peers and memories.
        will_share_TP: 0 or 1, whether the person speaks.
        rationale_TPR: the reasons, see `rationales`.
    """

    scenario_id: str
    timeline: Timeline
    targets: tuple[QuestionTargets, ...]
    channels_TPK: Tensor
    conviction_TP: Tensor
    public_stance_TP: Tensor
    salience_TP: Tensor
    attention_TP3: Tensor
    will_share_TP: Tensor
    rationale_TPR: Tensor

    @property
    def num_timesteps(self) -> int:
        """Timesteps after the initial state."""
        return len(self.channels_TPK) - 1


def teacher_rollout(traces: pl.DataFrame, scenario_rows: pl.DataFrame, panel: pl.DataFrame) -> TeacherRollout:
    """The traces of one scenario as targets and timeline.

    Exposures are those that the traces record, not drawn again, so that the student is shown exactly what the teacher
    was shown.

    Args:
        traces: rows of `reasoning_traces` of one scenario and one teacher model.
        scenario_rows: the scenario's rows of `scenarios`.
        panel: rows of `agents` of the panel, in the order of the tensors.

    Raises:
        TrainingSetError: the scenario changed after elicitation.
    """
    scenario_id = traces["scenario_id"][0]
    num_steps = int(traces["timestep"].max()) + 1  # pyright: ignore[reportArgumentType]
    position = panel.select("agent_id").with_row_index("position")
    placed = traces.join(position, on="agent_id", how="inner")
    shape = (num_steps, panel.height)
    first = placed.filter(pl.col("draw") == placed["draw"].min())
    questions = scenario_rows.filter(pl.col("kind") == "question").sort("position")
    unknown = sorted(set(traces["question_id"]) - set(questions["name"]))
    if unknown:
        raise TrainingSetError(
            f"reasoning_traces of scenario {scenario_id} answers questions {unknown}; the scenario asks "
            f"{', '.join(questions['name'])}. The scenario changed after elicitation; elicit again."
        )
    return TeacherRollout(
        scenario_id=scenario_id,
        timeline=_recorded_timeline(placed, scenario_rows, num_steps, panel.height),
        targets=tuple(
            _question_targets(row, placed, first, shape)
            for row in questions.iter_rows(named=True)
            if row["name"] in set(traces["question_id"])
        ),
        channels_TPK=_mean_vectors(first, "channels", (*shape, len(channel_names())), scenario_id).clamp(-1, 1),
        conviction_TP=_mean_vectors(first, "conviction", (*shape, 1), scenario_id)[..., 0],
        public_stance_TP=_mean_vectors(first, "public_stance", (*shape, 1), scenario_id)[..., 0],
        salience_TP=_mean_vectors(first, "memory_salience", (*shape, 1), scenario_id)[..., 0],
        attention_TP3=torch.cat(
            [_mean_vectors(first, f"attention_{name}", (*shape, 1), scenario_id) for name in ATTENDED], 2
        ),
        will_share_TP=_mean_vectors(first, "will_share", (*shape, 1), scenario_id)[..., 0],
        rationale_TPR=_mean_vectors(_encoded(first), "rationale", (*shape, NUM_DIMENSIONS), scenario_id),
    )


def _encoded(first: pl.DataFrame) -> pl.DataFrame:
    """The rows that give reasons, with these as vectors."""
    told = first.filter(pl.col("rationale").is_not_null())
    vectors = encode_rationales(told["rationale"].to_list()).tolist()
    return told.with_columns(pl.Series("rationale", vectors, dtype=pl.List(pl.Float64)))


def _question_targets(row: dict, placed: pl.DataFrame, first: pl.DataFrame, shape: tuple[int, int]) -> QuestionTargets:
    is_asked = pl.col("question_id") == row["name"]
    vector_shape = (*shape, len(row["options"]))
    return QuestionTargets(
        question=row_to_question(row),
        options=tuple(row["options"]),
        probability_TPO=_mean_vectors(placed.filter(is_asked), "option_probabilities", vector_shape, row["name"]),
        first_draw_TPO=_mean_vectors(first.filter(is_asked), "option_probabilities", vector_shape, row["name"]),
    )


def _mean_vectors(placed: pl.DataFrame, column: str, shape: tuple[int, int, int], where: str) -> Tensor:
    """Mean of a column per timestep and agent over the rows that hold it; NaN where none does. Float32, given shape."""
    answered = placed.filter(pl.col(column).is_not_null())
    values = answered[column].to_list()
    lengths = (
        {len(value) for value in values}
        if answered.schema[column] in (pl.List(pl.Float32), pl.List(pl.Float64))
        else {1}
    )
    if values and lengths != {shape[2]}:
        raise TrainingSetError(
            f"reasoning_traces.{column} of {where} holds lists of lengths {sorted(lengths)}; expected {shape[2]}. "
            "The channels or the scenario's options changed after elicitation; elicit again."
        )
    total, count = np.zeros(shape), np.zeros(shape[:2])
    cells = (answered["timestep"].to_numpy(), answered["position"].to_numpy())
    np.add.at(total, cells, np.array(values, dtype=np.float64).reshape(-1, shape[2]))
    np.add.at(count, cells, 1.0)
    mean = np.divide(total, count[..., None], out=np.full(shape, np.nan), where=count[..., None] > 0)
    return torch.from_numpy(mean.astype(np.float32))


def _recorded_timeline(placed: pl.DataFrame, scenario_rows: pl.DataFrame, num_steps: int, num_agents: int) -> Timeline:
    """The events as the traces record them: one entry per run of timesteps in which one reached the same agents."""
    events = scenario_rows.filter(pl.col("kind").is_in(["event", "trigger"]))
    seen = (
        placed.select("timestep", "position", pl.col("exposures").alias("name"))
        .explode("name")
        .drop_nulls("name")
        .unique()
    )
    unknown = sorted(set(seen["name"]) - set(events["name"]))
    if unknown:
        raise TrainingSetError(
            f"reasoning_traces of scenario {scenario_rows['scenario_id'][0]} names events {unknown}; the scenario has "
            f"{', '.join(events['name']) or 'none'}. The scenario changed after elicitation; elicit again."
        )
    names: list[str] = []
    starts: list[int] = []
    durations: list[int] = []
    masks: list[Tensor] = []
    for name in events.sort("kind", "position")["name"]:
        rows = seen.filter(pl.col("name") == name)
        reached_TP = torch.zeros(num_steps, num_agents, dtype=torch.bool)
        reached_TP[rows["timestep"].to_list(), rows["position"].to_list()] = True
        for start, duration in constant_runs(reached_TP):
            names.append(name)
            starts.append(start)
            durations.append(duration)
            masks.append(reached_TP[start])
    order = pl.DataFrame({"name": names}, schema={"name": pl.String}).join(
        events, on="name", how="left", maintain_order="left"
    )
    exposure_VN = torch.stack(masks) if masks else torch.zeros(0, num_agents, dtype=torch.bool)
    return events_to_timeline(order, starts, durations, exposure_VN, len(scenario_rows["text_embedding"][0]))


def constant_runs(reached_TP: Tensor) -> Sequence[tuple[int, int]]:
    """(first timestep, length) of every longest run of timesteps with the same, non-empty set of agents."""
    runs: list[tuple[int, int]] = []
    for timestep in range(1, len(reached_TP)):
        if not bool(reached_TP[timestep].any()):
            continue
        if runs and sum(runs[-1]) == timestep and torch.equal(reached_TP[timestep], reached_TP[timestep - 1]):
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((timestep, 1))
    return runs
