"""Reading a scenario's questions and the list columns of trajectories.

Legend: N agents, O options, K channels.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from assets.tensors import single_scenario_id


@dataclass(frozen=True)
class AskedQuestion:
    """A question of a scenario as the outcome tables need it: its id and its options in order."""

    question_id: str
    options: tuple[str, ...]


def asked_questions(scenario_rows: pl.DataFrame) -> list[AskedQuestion]:
    """The scenario's questions in file order.

    Args:
        scenario_rows: rows of the scenarios table for one scenario.

    Raises:
        ValueError: the rows hold several scenarios, or no question.
    """
    scenario_id = single_scenario_id(scenario_rows)
    questions = scenario_rows.filter(pl.col("kind") == "question").sort("position")
    if questions.is_empty():
        raise ValueError(f"Scenario {scenario_id} asks no question; every scenario needs at least one.")
    return [
        AskedQuestion(question_id=row["name"], options=tuple(row["options"])) for row in questions.iter_rows(named=True)
    ]


def list_matrix(values: pl.Series) -> np.ndarray:
    """A list column with rows of one length as a float64 matrix, one row per entry.

    Raises:
        ValueError: the lists differ in length.
    """
    lengths = values.list.len().unique().to_list()
    if len(lengths) != 1:
        raise ValueError(f"Column {values.name} holds lists of lengths {sorted(lengths)}; expected a single length.")
    width = int(lengths[0])
    if width == 0:
        return np.zeros((len(values), 0))
    return values.explode().to_numpy().astype(np.float64).reshape(len(values), width)


def warn_of_new_questions(
    scenarios: pl.DataFrame, simulated: Iterable[str], trained: Sequence[str], version: int
) -> list[str]:
    """A warning per scenario that asks what the student was not trained on.

    Args:
        scenarios: rows of `scenarios`.
        simulated: scenarios that are simulated.
        trained: questions that the student was trained on.
        version: the student's registered version.
    """
    asked = scenarios.filter((pl.col("kind") == "question") & pl.col("scenario_id").is_in(set(simulated)))
    new = asked.filter(~pl.col("name").is_in(list(trained))).group_by("scenario_id").agg("name").sort("scenario_id")
    return [
        f"Scenario {scenario_id} asks {', '.join(sorted(names))}, on which student version {version} was not trained: "
        "do not rely on its answers (unseen_scenarios says how badly they carry over). `populace run` puts it "
        "through the teacher and trains on it."
        for scenario_id, names in new.iter_rows()
    ]


def rows_of_question(frame: pl.DataFrame, question: AskedQuestion) -> pl.DataFrame:
    """The frame's rows of one question, by agent.

    Raises:
        ValueError: an agent appears twice, or the rows hold another number of options than the question has.
    """
    rows = frame.filter(pl.col("question_id") == question.question_id).sort("agent_id")
    if rows["agent_id"].n_unique() != len(rows):
        raise ValueError(
            f"Question {question.question_id}: an agent appears more than once at one timestep of one engine. "
            "Rows of several replicates or scenarios were mixed; pass one partition at a time."
        )
    if len(rows):
        found = rows["option_probabilities"].list.len().unique().to_list()
        if found != [len(question.options)]:
            raise ValueError(
                f"Question {question.question_id} has {len(question.options)} options, but its trajectories hold "
                f"{found} probabilities. The scenario changed after the simulation; simulate it again."
            )
    return rows
