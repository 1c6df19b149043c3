"""What each part of the student is worth: students trained without it, beside the whole one, on held-out agents.

Every ablated student is trained like the whole one: same data, split, seed and epochs; one switch of its config is off,
or recorded answers are not mixed in. A part that the whole student lacks is tried the other way round: it is added, and
the row is called `<part>_added`.
The student without its graph and the one without leanings are known already and cost nothing.

Legend: H held-out agents, B resamples, P panel agents.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import polars as pl

from assets.distillation.distil import student_config
from assets.distillation.gates import mean_tvd_by_agent
from assets.distillation.held_out import predict_held_out, predict_student
from assets.distillation.simulated_shares import change_errors, draw_panel, held_out_resamples
from assets.distillation.training_set import TrainingSet
from assets.distillation.trainings import Training
from model.lsm.config import LSMConfig
from model.lsm.lsm import LSM
from validation.contracts import CONTRACTS
from validation.intervals import basic_interval, bootstrap_interval

NUM_RESAMPLES = 1_000
GRAPH, LEANING = "use_graph", "leaning"
ADDED = "_added"
"""End of a part's name where the other student has what the whole one lacks: above zero, the part would harm."""
RECORDED = "recorded_answers"
"""Not a part of the engine but of its training: recorded answers that were mixed in."""
FIRST_PARTS = ("use_exposure", "use_memory", "use_episodes", "use_topic")
"""Parts in the order in which a recipe takes them; switches added to the engine later follow by name."""


@dataclass(frozen=True)
class Ablated:
    """A student without a part, or with one added: what it was trained for and its weights."""

    part: str
    model: LSM
    anchor_weight: float | None = None


def switchable_parts(config: LSMConfig) -> tuple[str, ...]:
    """Switches of the config that are on, those of the graph excepted, in the order in which they are taken."""
    switches = sorted(
        field.name
        for field in fields(config)
        if field.name.startswith("use_") and field.name != GRAPH and getattr(config, field.name)
    )
    first = [name for name in FIRST_PARTS if name in switches]
    return (*first, *(name for name in switches if name not in first))


def addable_parts(config: LSMConfig) -> tuple[str, ...]:
    """Switches of the config that are off, by name."""
    return tuple(
        sorted(
            field.name for field in fields(config) if field.name.startswith("use_") and not getattr(config, field.name)
        )
    )


def _turned(config: LSMConfig, part: str) -> LSMConfig:
    """The config with one switch turned; as it is for recorded answers, which are no switch."""
    return config if part == RECORDED else replace(config, **{part: not getattr(config, part)})


def row_name(config: LSMConfig, part: str) -> str:
    """What the table calls a part: parts that are added say so."""
    return part.removeprefix("use_") + (ADDED if part in addable_parts(config) else "")


def training_name(config: LSMConfig, part: str) -> str:
    """The name of the training that leaves a part out, or adds it."""
    name = row_name(config, part)
    return name if name.endswith(ADDED) else f"without {name}"


def trainings_without_parts(training_set: TrainingSet, parts: Sequence[str], seed: int) -> dict[str, Training]:
    """One training per part, a switch of the config or RECORDED, without it; with it where the switch is off."""
    config, bare = student_config(training_set), replace(training_set, static=None)
    return {
        training_name(config, part): Training(bare if part == RECORDED else training_set, _turned(config, part), seed)
        for part in parts
    }


def compare_ablations(
    training_set: TrainingSet,
    whole: LSM,
    no_graph: LSM,
    ablated: Sequence[Ablated],
    *,
    epochs: int,
    seed: int,
    model_version: int,
) -> pl.DataFrame:
    """The table `ablations`: every ablated student against the whole one, paired by held-out agent.

    Args:
        training_set: the panel and the teacher's answers.
        whole: the registered student.
        no_graph: the one trained without its graph.
        ablated: students without other parts, or with parts added.
        epochs: epochs that each was trained for at most.
        seed: fixes the resampling.
        model_version: registered version of the whole student.
    """
    known = [Ablated(LEANING, whole, anchor_weight=0.0), Ablated(GRAPH, no_graph)]
    answers_of_whole = predict_student(whole, training_set)
    weight_BP = held_out_resamples(training_set, NUM_RESAMPLES, seed)
    whole_B = change_errors(draw_panel(whole, training_set), training_set, weight_BP).student_B
    rows = []
    for student in (*known, *ablated):
        predictions = {
            "lsm": answers_of_whole,
            "lsm_no_graph": predict_student(student.model, training_set, student.anchor_weight),
        }
        by_agent = mean_tvd_by_agent(predict_held_out(training_set, predictions))
        whole_H, without_H = by_agent["lsm"].to_numpy(), by_agent["lsm_no_graph"].to_numpy()
        interval = bootstrap_interval(np.mean, without_H - whole_H, seed=seed, num_resamples=NUM_RESAMPLES)
        row: dict[str, object] = {
            "part": student.part.removeprefix("use_"),
            "num_agents": by_agent.height,
            "epochs": epochs,
        }
        row |= {"model_version": model_version}
        rows.append(
            row
            | {
                "metric": "tvd",
                "whole_value": float(whole_H.mean()),
                "without_value": float(without_H.mean()),
                "difference": interval.value,
                "lower": interval.lower,
                "upper": interval.upper,
            }
        )
        if student.part != LEANING:
            rows.append(
                row | {"metric": "share_changes"} | _share_changes(training_set, whole_B, student.model, weight_BP)
            )
    table = pl.DataFrame(rows, schema=CONTRACTS["ablations"].polars_schema())
    return CONTRACTS["ablations"].validate(table.sort("metric", "part"))


def _share_changes(
    training_set: TrainingSet, whole_B: np.ndarray, without: LSM, weight_BP: np.ndarray
) -> dict[str, float]:
    """Error of drawn people's changes of shares on the held-out agents, of both students on the same resamples."""
    without_B = change_errors(draw_panel(without, training_set), training_set, weight_BP).student_B
    difference_B = without_B - whole_B
    interval = basic_interval(float(difference_B[0]), difference_B[1:])
    return {
        "whole_value": float(whole_B[0]),
        "without_value": float(without_B[0]),
        "difference": interval.value,
        "lower": interval.lower,
        "upper": interval.upper,
    }
