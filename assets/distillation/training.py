"""Trains a student on a teacher's rollouts: windows that grow, teacher forcing that fades, the best weights kept.

The whole panel rolls out together in its graph. Every epoch is a pass from what was observed (`observed_pass.py`),
whose windows grow from one timestep to the whole scenario, so that teacher forcing fades from every step to none. In
the last stages people drawn from their attributes alone are rolled out too (`drawn_pass.py`). Held-out agents are there
as neighbours and count in no loss; validation agents choose the epoch whose weights are kept.

Legend: N stacked agents.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import torch
from torch import Tensor

from assets.distillation.checkpoints import Progress, data_tensors, read_progress, training_key, write_progress
from assets.distillation.drawn_pass import DrawnPass
from assets.distillation.free_running import drawn_shares_error, free_running_error
from assets.distillation.learner import Learner
from assets.distillation.losses import answer_offset
from assets.distillation.observed_pass import ObservedPass
from assets.distillation.readout_training import validation_loss
from assets.distillation.schedule import TrainingSettings
from assets.distillation.share_paths import counted_answers, teacher_paths
from assets.distillation.stacking import StackedPanel, stack_panel, start_stack
from assets.distillation.training_set import TrainingSet
from model.lsm.config import LSMConfig
from model.lsm.inputs import Question
from model.lsm.lsm import LSM

Tell = Callable[[str], None]
DEFAULT_SETTINGS = TrainingSettings()


@dataclass(frozen=True, eq=False)
class TrainedStudent:
    """A student with the weights of its best epoch.

    `curves` has a row per epoch and metric: epoch, metric, value. How much of an agent's observed answer at timestep 0
    its later answers keep, as validation agents say, is the model's `leaning.weight`.
    """

    model: LSM
    curves: pl.DataFrame
    best_epoch: int
    num_epochs: int

    @property
    def anchor_weight(self) -> float:
        """0 … 1, how much of the first answer's gap stays."""
        return float(self.model.leaning.weight)


def train_student(
    training_set: TrainingSet,
    *,
    epochs: int,
    seed: int,
    config: LSMConfig,
    progress: Tell | None = None,
    settings: TrainingSettings = DEFAULT_SETTINGS,
    checkpoints: Path | None = None,
) -> TrainedStudent:
    """Fits a student to the training agents of the panel; the same arguments give the same bits on the same machine.

    Args:
        training_set: the teacher's rollouts.
        epochs: passes over all rollouts.
        seed: fixes initial weights and noise.
        config: sizes of the student; how many texts it knows is set here.
        progress: told once per evaluation.
        settings: how to train.
        checkpoints: folder in which each epoch is kept, so that a training that was killed goes on from its last one
            and ends with the same bits; None to keep nothing.

    Raises:
        ValueError: epochs is not positive.
        CheckpointError: the checkpoint of this very training is damaged.
        FloatingPointError: the loss or the validation error is not finite.

    Source: truncated backpropagation through time, Williams & Peng (1990); scheduled teacher forcing after Bengio et
    al. (2015), Scheduled sampling, with windows in place of coin flips; AdamW, Loshchilov & Hutter (2019).
    """
    if epochs < 1:
        raise ValueError(f"epochs is {epochs}; training needs 1 or more. Raise training_epochs of the recipe.")
    tell = progress or (lambda _: None)
    training = _Training(training_set, epochs, seed, config, settings)
    path = None
    if checkpoints is not None:
        parts = {"epochs": epochs, "seed": seed, "config": config, "settings": settings}
        key = training_key(parts, training.data())
        path = checkpoints / f"{key}.safetensors"
        kept = read_progress(path)
        if kept is not None:
            training.restore(kept)
            tell(f"going on after epoch {kept.epoch}/{epochs}")
    while training.epoch < epochs and not training.has_ended:
        training.next_epoch(tell)
        if path is not None:
            write_progress(path, training.progress())
    return training.result()


class _Training:
    """The state of a training between two epochs."""

    def __init__(
        self, training_set: TrainingSet, epochs: int, seed: int, config: LSMConfig, settings: TrainingSettings
    ) -> None:
        stack, static = stack_panel(training_set), training_set.static
        self.stack, self.static, self.epochs, self.settings = stack, static, epochs, settings
        only_validates_N = training_set.is_validation_S.repeat_interleave(training_set.num_agents)
        is_training_N = stack.repeat(training_set.is_training_P)
        self.is_training_N = is_training_N & ~only_validates_N
        self.is_validation_N = stack.repeat(training_set.is_validation_P) | (is_training_N & only_validates_N)
        self.is_fitted_N = self.is_training_N | self.is_validation_N
        self.learner = Learner(config, *_learned_texts(training_set, stack), seed, settings)
        self.observed_pass = ObservedPass(self.learner, stack, self.is_training_N, static)
        self.drawn_pass = DrawnPass(self.learner, stack, self.is_training_N)
        self.rates = settings.learning_rates(epochs, stack.num_timesteps)
        self.taught = teacher_paths(stack, self.is_fitted_N)
        self.epoch, self.has_ended = 0, False
        self.best_error, self.best_epoch = math.inf, 0
        self.best = copy.deepcopy(self.learner.model.state_dict())
        self.curves: list[tuple[int, str, float]] = []

    def next_epoch(self, tell: Tell) -> None:
        """Trains one epoch; evaluates where it is time, and notes the best weights and whether training has ended."""
        self.epoch += 1
        epoch, epochs, settings, model = self.epoch, self.epochs, self.settings, self.learner.model
        window = settings.window(epoch, epochs, self.stack.num_timesteps)
        self.learner.set_learning_rate(self.rates[epoch - 1])
        losses = self.observed_pass.run(window)
        if settings.has_drawn_people(epoch, epochs):
            losses |= self.drawn_pass.run()
        self.curves += [(epoch, f"loss_{name}", value) for name, value in losses.items()]
        if epoch % settings.evaluate_every and epoch < epochs:
            return
        model.eval()
        tvd, anchor_weight = free_running_error(model, self.stack, self.is_validation_N)
        model.leaning.weight.fill_(anchor_weight)
        self._measure_leanings()
        shares = drawn_shares_error(model, self.stack, self.taught, self.is_fitted_N)
        self.curves += [
            (epoch, "validation_tvd", tvd),
            (epoch, "validation_shares", shares),
            (epoch, "anchor_weight", anchor_weight),
        ]
        if self.static is not None:
            self.curves.append((epoch, "validation_static", validation_loss(model, self.static.validation)))
        if not math.isfinite(tvd + shares):
            raise FloatingPointError(
                f"The validation error after epoch {epoch} of {epochs} is not finite (TVD {tvd:.3g}, shares "
                f"{shares:.3g}), so that no epoch is best. Lower largest_learning_rate, or check that the traces hold "
                "answers after timestep 0 to every question."
            )
        if tvd + shares < self.best_error:
            self.best_error, self.best_epoch = tvd + shares, epoch
            self.best = copy.deepcopy(model.state_dict())
        terms = ", ".join(f"{name} {value:.3f}" for name, value in losses.items())
        tell(
            f"epoch {epoch}/{epochs}, windows of {window}, validation TVD {tvd:.4f}, shares {shares:.4f} "
            f"(best epoch {self.best_epoch}); losses: {terms}"
        )
        self.has_ended = self._is_out_of_patience()

    def result(self) -> TrainedStudent:
        """The student with its best weights."""
        model = self.learner.model
        model.load_state_dict(self.best)
        schema = {"epoch": pl.Int64, "metric": pl.String, "value": pl.Float64}
        return TrainedStudent(
            model=model.eval(),
            curves=pl.DataFrame(self.curves, schema=schema, orient="row"),
            best_epoch=self.best_epoch,
            num_epochs=self.epoch,
        )

    def data(self) -> dict[str, Tensor]:
        """Every tensor that the training reads."""
        parts = {"is_training": self.is_training_N, "is_validation": self.is_validation_N}
        return parts | data_tensors(self.stack, self.static)

    def progress(self) -> Progress:
        """What `restore` needs."""
        return Progress(
            epoch=self.epoch,
            model=self.learner.model.state_dict(),
            heads=self.learner.heads.state_dict(),
            best=self.best,
            optimiser=self.learner.optimiser_tensors(),
            noise=self.learner.noise.get_state(),
            best_error=self.best_error,
            best_epoch=self.best_epoch,
            curves=self.curves,
        )

    def restore(self, kept: Progress) -> None:
        """Takes up where a training of the same arguments stood."""
        self.learner.model.load_state_dict(kept.model)
        self.learner.heads.load_state_dict(kept.heads)
        self.learner.set_optimiser_tensors(kept.optimiser)
        self.learner.noise.set_state(kept.noise)
        self.best = dict(kept.best)
        self.epoch, self.curves = kept.epoch, list(kept.curves)
        self.best_error, self.best_epoch = kept.best_error, kept.best_epoch
        if not self.epoch % self.settings.evaluate_every:
            self.has_ended = self._is_out_of_patience()

    def _is_out_of_patience(self) -> bool:
        window = self.settings.window(self.epoch, self.epochs, self.stack.num_timesteps)
        waited = self.epoch - self.best_epoch
        return window == self.stack.num_timesteps and waited > self.settings.patience * self.epochs

    def _measure_leanings(self) -> None:
        """Measures the gaps that observed channels leave to first answers, among agents that are not held out."""
        model, stack = self.learner.model, self.stack
        with torch.no_grad():
            start = start_stack(model, stack, stack.channels_TNK[0])
            gaps = [
                (asked.question, answer_offset(model, start, asked)[counted_answers(asked, self.is_fitted_N)[0]])
                for asked in stack.questions
            ]
            model.leaning.measure(gaps)


def _learned_texts(training_set: TrainingSet, stack: StackedPanel) -> tuple[list[Question], Tensor]:
    """Questions and texts of events [V, D] of scenarios that do not only validate; recorded questions count too."""
    only_validates_S = training_set.is_validation_S
    questions = [
        asked.question for asked in stack.questions if not only_validates_S[stack.scenario_of(asked.agents_M)].all()
    ]
    static = training_set.static
    events = [
        rollout.timeline.embedding_VD
        for rollout, only_validates in zip(training_set.rollouts, only_validates_S.tolist(), strict=True)
        if not only_validates
    ]
    return questions + list(static.fitted.questions if static else ()), torch.cat(events)
