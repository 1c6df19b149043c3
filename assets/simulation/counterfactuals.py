"""Counterfactuals: what a scenario changed against its baseline, per agent and per segment.

Both rollouts share their initial noise, reach draws and decision draws, so that a difference between them is the effect
of the scenario's events and not of chance: an agent's difference is its individual treatment effect under the model, a
segment's is its average treatment effect (ATE for "all", CATE for attribute=level).

Legend: N agents, O options, K channels.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from assets.simulation.questions import AskedQuestion, asked_questions, list_matrix, rows_of_question
from assets.simulation.rows import conform, empty_rows, table_rows
from assets.simulation.segments import segment_agents

ENGINE = "lsm"


def compare_scenarios(
    trajectories: pl.DataFrame, baseline_trajectories: pl.DataFrame, agents: pl.DataFrame, scenario_rows: pl.DataFrame
) -> pl.DataFrame:
    """Differences between a scenario and its baseline at the last timestep that both reach.

    Agents count when both populations hold them. Each agent has one row per option of every question that both
    scenarios ask; segments with fewer than 30 agents are left out.

    Args:
        trajectories: rows of one partition of the scenario; the final timestep is enough when both end together.
        baseline_trajectories: rows of the baseline's partition with the same replicate.
        agents: the agents table.
        scenario_rows: rows of the scenarios table for the scenario.

    Returns:
        The `counterfactuals` table.

    Raises:
        ValueError: replicates differ, or no timestep, question or agent is common to both.
    """
    ours, theirs = (frame.filter(pl.col("engine") == ENGINE) for frame in (trajectories, baseline_trajectories))
    partition = _partition(ours, theirs)
    timestep = _last_common_timestep(ours, theirs)
    ours, theirs = (frame.filter(pl.col("timestep") == timestep) for frame in (ours, theirs))
    asked_by_baseline = set(theirs["question_id"].unique())
    questions = [question for question in asked_questions(scenario_rows) if question.question_id in asked_by_baseline]
    if not questions:
        raise ValueError(
            f"Scenario {partition['scenario_id']} and its baseline {partition['baseline_id']} share no question. "
            f"The baseline asks: {', '.join(sorted(asked_by_baseline))}. Give one question the same id in both files."
        )
    frames = [empty_rows("counterfactuals")]
    for question in questions:
        frames.extend(_question_frames(partition, question, ours, theirs, agents))
    return pl.concat(frames)


def _question_frames(
    partition: dict[str, Any], question: AskedQuestion, ours: pl.DataFrame, theirs: pl.DataFrame, agents: pl.DataFrame
) -> Iterator[pl.DataFrame]:
    ours, theirs = rows_of_question(ours, question), rows_of_question(theirs, question)
    shared = pl.DataFrame({"agent_id": np.intersect1d(ours["agent_id"].to_numpy(), theirs["agent_id"].to_numpy())})
    if shared.is_empty():
        raise ValueError(
            f"No agent answers {question.question_id} both in {partition['scenario_id']} "
            f"and in its baseline {partition['baseline_id']}. "
            "Let the population predicates of the two scenario files overlap."
        )
    ours, theirs = (shared.join(frame, on="agent_id", how="left", maintain_order="left") for frame in (ours, theirs))
    our_NO, their_NO = (list_matrix(frame["option_probabilities"]) for frame in (ours, theirs))
    difference_NO = np.clip(our_NO - their_NO, -1.0, 1.0)
    channels_NK = list_matrix(ours["channels"]) - list_matrix(theirs["channels"])
    has_flipped_N = our_NO.argmax(axis=1) != their_NO.argmax(axis=1)
    agent_id_N = shared["agent_id"].to_numpy()
    yield _agent_rows(partition, question, agent_id_N, difference_NO, channels_NK, has_flipped_N)
    yield _segment_rows(partition, question, agent_id_N, difference_NO, channels_NK, agents)


def _agent_rows(
    partition: dict[str, Any],
    question: AskedQuestion,
    agent_id_N: np.ndarray,
    difference_NO: np.ndarray,
    channels_NK: np.ndarray,
    has_flipped_N: np.ndarray,
) -> pl.DataFrame:
    num_agents, num_options = difference_NO.shape
    channels = pl.Series(channels_NK.astype(np.float32)).cast(pl.List(pl.Float32))
    rows = pl.DataFrame(
        {
            "agent_id": np.repeat(agent_id_N, num_options),
            "option": np.tile(np.array(question.options), num_agents),
            "difference": difference_NO.reshape(-1),
            "has_flipped": np.repeat(has_flipped_N, num_options),
            "channel_differences": channels.gather(np.repeat(np.arange(num_agents), num_options)),
        }
    )
    return conform(
        "counterfactuals",
        rows.with_columns(
            **{name: pl.lit(value) for name, value in partition.items()},
            question_id=pl.lit(question.question_id),
            unit=pl.lit("agent"),
            segment=pl.lit(None),
            lower=pl.lit(None),
            upper=pl.lit(None),
            num_agents=pl.lit(1),
        ),
    )


def _segment_rows(
    partition: dict[str, Any],
    question: AskedQuestion,
    agent_id_N: np.ndarray,
    difference_NO: np.ndarray,
    channels_NK: np.ndarray,
    agents: pl.DataFrame,
) -> pl.DataFrame:
    num_options = len(question.options)
    segments = segment_agents(agents, agent_id_N).means(np.concatenate([difference_NO, channels_NK], axis=1))
    rows = []
    for segment in segments:
        lower_O, upper_O = segment.interval(-1.0, 1.0)
        rows.extend(
            {
                **partition,
                "question_id": question.question_id,
                "unit": "segment",
                "segment": segment.segment,
                "option": option,
                "difference": float(segment.mean_O[index]),
                "lower": float(lower_O[index]),
                "upper": float(upper_O[index]),
                "channel_differences": segment.mean_O[num_options:].tolist(),
                "num_agents": segment.num_agents,
            }
            for index, option in enumerate(question.options)
        )
    return table_rows("counterfactuals", rows)


def _partition(ours: pl.DataFrame, theirs: pl.DataFrame) -> dict[str, Any]:
    found = {
        name: sorted(frame[column].unique().to_list())
        for frame, columns in (
            (ours, (("scenario_id", "scenario_id"), ("replicate", "replicate"))),
            (theirs, (("baseline_id", "scenario_id"), ("baseline_replicate", "replicate"))),
        )
        for name, column in columns
    }
    if any(len(values) != 1 for values in found.values()) or found["replicate"] != found["baseline_replicate"]:
        raise ValueError(
            f"Expected {ENGINE} rows of one scenario and one baseline with the same replicate, found {found}. "
            "Filter both trajectories to the same replicate."
        )
    return {name: found[name][0] for name in ("scenario_id", "replicate", "baseline_id")}


def _last_common_timestep(ours: pl.DataFrame, theirs: pl.DataFrame) -> int:
    common = set(ours["timestep"].unique()) & set(theirs["timestep"].unique())
    if not common:
        raise ValueError(
            f"The scenario's rows hold timesteps {sorted(ours['timestep'].unique())}, the baseline's "
            f"{sorted(theirs['timestep'].unique())}: none in common. Pass whole trajectories, not only final timesteps."
        )
    return max(common)
