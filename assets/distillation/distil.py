"""Distillation from tables to a judged student: training set, student, student without graph, baselines, gates."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from assets.distillation.baselines import (
    predict_demographic_regression,
    predict_persistence,
    predict_uniform,
)
from assets.distillation.endurance import measure_endurance
from assets.distillation.friedkin_johnsen import predict_friedkin_johnsen
from assets.distillation.gates import (
    GateResult,
    evaluate_gates,
    has_passed_gates,
    mean_tvd_by_agent,
    simulation_gates,
)
from assets.distillation.held_out import predict_channels, predict_held_out, predict_student
from assets.distillation.schedule import TrainingSettings
from assets.distillation.simulated_shares import draw_panel, mean_predictions, tabulate_shares
from assets.distillation.static_traces import StaticTraces
from assets.distillation.training import DEFAULT_SETTINGS, TrainedStudent
from assets.distillation.training_set import TrainingSet, build_training_set
from assets.distillation.trainings import Training, train_students
from assets.tensors import attribute_levels
from model.lsm.config import LSMConfig
from model.lsm.lsm import LSM
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
        simulated_shares: rows of `simulated_shares`, likewise.
        gates: the student against every baseline and limit.
        curves: columns model, epoch, metric, value.
        settings: how both were trained.
        others: further members of the ensemble: students that differ from the first in their seed alone.
        member_tvds: mean held-out distance to the teacher of every member, the student first.
    """

    student: TrainedStudent
    no_graph: TrainedStudent
    training_set: TrainingSet
    held_out: pl.DataFrame
    simulated_shares: pl.DataFrame
    gates: tuple[GateResult, ...]
    curves: pl.DataFrame
    settings: TrainingSettings = DEFAULT_SETTINGS
    others: tuple[TrainedStudent, ...] = ()
    member_tvds: tuple[float, ...] = ()

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
    num_members: int = 1,
    progress: Callable[[str], None] | None = None,
    checkpoints: Path | None = None,
    static: StaticTraces | None = None,
    settings: TrainingSettings = DEFAULT_SETTINGS,
    processes: int = 1,
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
        num_members: students that are trained with different seeds; the first is judged and registered, all of them
            say how far chance in training moves the figures.
        progress: told what is being done.
        checkpoints: folder in which trainings keep every epoch, so that a killed one goes on; None to keep nothing.
        static: recorded answers that are mixed into every training; none when left out.
        settings: how to train.
        processes: trainings at a time, at most; changes no bit.

    Raises:
        TrainingSetError: the tables do not fit together.
    """
    tell = progress or (lambda _: None)
    training_set = build_training_set(agents, ties, media_sources, scenarios, traces, seed, static)
    config = student_config(training_set)
    members = {
        f"lsm_member_{number + 1}": Training(training_set, config, seed + number) for number in range(1, num_members)
    }
    trained = train_students(
        {
            "lsm": Training(training_set, config, seed),
            "lsm_no_graph": Training(training_set, replace(config, use_graph=False), seed),
            **members,
        },
        epochs=epochs,
        settings=settings,
        progress=progress,
        checkpoints=checkpoints,
        processes=processes,
    )
    tell("baselines: regression and opinion dynamics")
    others = tuple(trained[name] for name in members)
    panel = draw_panel(trained["lsm"].model, training_set)
    predictions = {name: predict_student(trained[name].model, training_set) for name in ("lsm", "lsm_no_graph")} | {
        "lsm_unanchored": predict_student(trained["lsm"].model, training_set, anchor_weight=0.0),
        "lsm_simulated": mean_predictions(panel),
        "persistence": predict_persistence(training_set),
        "uniform": predict_uniform(training_set),
        "demographic_regression": predict_demographic_regression(training_set),
        "friedkin_johnsen": predict_friedkin_johnsen(training_set),
    }
    channels = {name: predict_channels(trained[name].model, training_set) for name in ("lsm", "lsm_no_graph")}
    held_out = predict_held_out(training_set, predictions, channels=channels)
    tell("gates: held-out agents, simulated shares, 100 timesteps")
    endurance = measure_endurance(trained["lsm"].model, training_set)
    gates = (*evaluate_gates(held_out, seed), *simulation_gates(panel, training_set, endurance, seed))
    return Distilled(
        student=trained["lsm"],
        no_graph=trained["lsm_no_graph"],
        training_set=training_set,
        held_out=held_out,
        simulated_shares=tabulate_shares(
            panel, training_set, [draw_panel(student.model, training_set) for student in others]
        ),
        gates=gates,
        curves=pl.concat(
            [student.curves.select(pl.lit(name).alias("model"), pl.all()) for name, student in trained.items()]
        ),
        settings=settings,
        others=others,
        member_tvds=(gates[0].student_value, *(_held_out_tvd(student.model, training_set) for student in others)),
    )


def _held_out_tvd(model: LSM, training_set: TrainingSet) -> float:
    """Mean over held-out agents of the distance to the teacher, as the gates measure it."""
    held_out = predict_held_out(training_set, {"lsm": predict_student(model, training_set)})
    return float(mean_tvd_by_agent(held_out)["lsm"].to_numpy().mean())
