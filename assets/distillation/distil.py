"""Distillation from tables to a judged student: training set, student, student without graph, baselines, gates."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import polars as pl

from assets.distillation.baselines import (
    predict_demographic_regression,
    predict_persistence,
    predict_uniform,
)
from assets.distillation.friedkin_johnsen import predict_friedkin_johnsen
from assets.distillation.gates import GateResult, evaluate_gates, has_passed_gates
from assets.distillation.held_out import predict_held_out, predict_student
from assets.distillation.training import TrainedStudent, train_student
from assets.distillation.training_set import TrainingSet, build_training_set
from assets.tensors import attribute_levels
from model.lsm.config import LSMConfig
from validation.channels import channel_names
from validation.events import SOURCE_TYPES


@dataclass(frozen=True, eq=False)
class Distilled:
    """A student with everything that was found out about it.

    Attributes:
        student: the student with its graph.
        no_graph: the same student trained without its graph: the baseline for what ties are worth.
        training_set: what both were trained on.
        held_out: rows of `held_out_predictions`, with model_version 0 until the student is registered.
        gates: the student against every baseline.
        curves: columns model, epoch, metric, value.
    """

    student: TrainedStudent
    no_graph: TrainedStudent
    training_set: TrainingSet
    held_out: pl.DataFrame
    gates: tuple[GateResult, ...]
    curves: pl.DataFrame

    @property
    def has_passed_gates(self) -> bool:
        """Whether the student may be the champion."""
        return has_passed_gates(self.gates)


def student_config(training_set: TrainingSet) -> LSMConfig:
    """The sizes of a student that fits the vocabulary of agents, events and texts."""
    question = training_set.rollouts[0].targets[0].question
    return LSMConfig(
        attribute_levels=attribute_levels(),
        num_source_types=len(SOURCE_TYPES),
        text_dim=len(question.embedding_D),
        num_channels=len(channel_names()),
    )


def distil(
    agents: pl.DataFrame,
    ties: pl.DataFrame,
    media_sources: pl.DataFrame,
    scenarios: pl.DataFrame,
    traces: pl.DataFrame,
    *,
    epochs: int,
    seed: int,
    progress: Callable[[str], None] | None = None,
) -> Distilled:
    """Trains a student and its baselines on a teacher's traces and judges them on held-out agents.

    Args:
        agents: rows of `agents`.
        ties: rows of `ties`.
        media_sources: rows of `media_sources`.
        scenarios: rows of `scenarios`.
        traces: rows of `reasoning_traces` of one teacher model.
        epochs: passes over the traces.
        seed: fixes split, weights, noise and resampling.
        progress: told what is being done.

    Raises:
        TrainingSetError: the tables do not fit together.
    """
    tell = progress or (lambda _: None)
    training_set = build_training_set(agents, ties, media_sources, scenarios, traces, seed)
    config = student_config(training_set)
    trained: dict[str, TrainedStudent] = {}
    for name, variant in (("lsm", config), ("lsm_no_graph", replace(config, use_graph=False))):
        trained[name] = train_student(
            training_set,
            epochs=epochs,
            seed=seed,
            config=variant,
            progress=lambda message, name=name: tell(f"{name}: {message}"),
        )
    tell("baselines: regression and opinion dynamics")
    predictions = {name: predict_student(student, training_set) for name, student in trained.items()} | {
        "lsm_unanchored": predict_student(replace(trained["lsm"], anchor_weight=0.0), training_set),
        "persistence": predict_persistence(training_set),
        "uniform": predict_uniform(training_set),
        "demographic_regression": predict_demographic_regression(training_set),
        "friedkin_johnsen": predict_friedkin_johnsen(training_set),
    }
    held_out = predict_held_out(training_set, predictions)
    return Distilled(
        student=trained["lsm"],
        no_graph=trained["lsm_no_graph"],
        training_set=training_set,
        held_out=held_out,
        gates=tuple(evaluate_gates(held_out, seed)),
        curves=pl.concat(
            [student.curves.select(pl.lit(name).alias("model"), pl.all()) for name, student in trained.items()]
        ),
    )
