"""Outcomes: what share of each segment holds each option, at every timestep, with an interval.

Share is the mean probability of the option; its 95 % interval is the Monte-Carlo interval *given the model*: it says
how far the share could move had other donors been drawn for the agents. It does not hold the model's own error, which
the evidence tables report, nor the spread over replicates, which `decision_summary` adds.

Legend: N agents, O options.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import polars as pl

from assets.simulation.questions import AskedQuestion, asked_questions, list_matrix, rows_of_question
from assets.simulation.rows import table_rows
from assets.simulation.segments import Segmentation, segment_agents


def summarise_outcomes(
    trajectories: pl.DataFrame | Iterable[pl.DataFrame], agents: pl.DataFrame, scenario_rows: pl.DataFrame
) -> pl.DataFrame:
    """Shares of every option by segment, engine and timestep, read one chunk at a time.

    Segments are the whole population and the levels of seven attributes; levels with fewer than 30 agents are left out.

    Args:
        trajectories: rows of one partition, whole or as chunks; a timestep of an engine must lie in a single chunk.
        agents: the agents table.
        scenario_rows: rows of the scenarios table for the partition's scenario.

    Returns:
        The `outcomes` table.

    Raises:
        ValueError: a timestep is spread over chunks, or rows do not fit the scenario's questions.
    """
    questions = asked_questions(scenario_rows)
    chunks = [trajectories] if isinstance(trajectories, pl.DataFrame) else trajectories
    rows: list[dict[str, Any]] = []
    seen: set[tuple[Any, ...]] = set()
    segmentation: Segmentation | None = None
    for chunk in chunks:
        for key, step in _steps(chunk):
            if key in seen:
                raise ValueError(
                    f"Timestep {key[-1]} of engine {key[2]} arrives in more than one chunk. "
                    "Pass every row of a timestep in the same chunk."
                )
            seen.add(key)
            for question in questions:
                answers = rows_of_question(step, question)
                if answers.is_empty():
                    continue
                agent_id_N = answers["agent_id"].to_numpy()
                if segmentation is None or not np.array_equal(segmentation.agent_id_N, agent_id_N):
                    segmentation = segment_agents(agents, agent_id_N)
                rows.extend(_outcome_rows(key, question, answers, segmentation))
    return table_rows("outcomes", rows)


def _steps(chunk: pl.DataFrame) -> Iterator[tuple[tuple[Any, ...], pl.DataFrame]]:
    keys = ["scenario_id", "replicate", "engine", "timestep"]
    if chunk.is_empty():
        return
    yield from sorted(chunk.partition_by(keys, as_dict=True).items(), key=lambda item: item[0])


def _outcome_rows(
    key: tuple[Any, ...], question: AskedQuestion, answers: pl.DataFrame, segmentation: Segmentation
) -> Iterator[dict[str, Any]]:
    scenario_id, replicate, engine, timestep = key
    num_options = len(question.options)
    probability_NO = list_matrix(answers["option_probabilities"])
    decision_N = answers["decision"].to_numpy()
    decided_NO = np.stack([decision_N == option for option in question.options], axis=1).astype(np.float64)
    for segment in segmentation.means(np.concatenate([probability_NO, decided_NO], axis=1)):
        lower_O, upper_O = segment.interval(0.0, 1.0)
        for index, option in enumerate(question.options):
            share = min(max(float(segment.mean_O[index]), 0.0), 1.0)
            yield {
                "scenario_id": scenario_id,
                "replicate": replicate,
                "engine": engine,
                "question_id": question.question_id,
                "timestep": timestep,
                "segment": segment.segment,
                "option": option,
                "share": share,
                "lower": min(float(lower_O[index]), share),
                "upper": min(max(float(upper_O[index]), share), 1.0),
                "decision_share": float(segment.mean_O[num_options + index]),
                "num_agents": segment.num_agents,
            }
