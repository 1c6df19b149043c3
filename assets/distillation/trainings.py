"""Trains several students that do not depend on one another: members, and students that lack a part or scenarios."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from assets.distillation.schedule import TrainingSettings
from assets.distillation.side_by_side import side_by_side
from assets.distillation.training import DEFAULT_SETTINGS, TrainedStudent, train_student
from assets.distillation.training_set import TrainingSet
from model.lsm.config import LSMConfig

LONG_ENOUGH = 200
"""Epochs × timesteps from which on a training takes several times as long as a process takes to start."""


@dataclass(frozen=True, eq=False)
class Training:
    """What one student is trained on, its sizes, and the seed of its weights and noise."""

    training_set: TrainingSet
    config: LSMConfig
    seed: int

    @property
    def num_timesteps(self) -> int:
        """Of the longest scenario."""
        return max(rollout.num_timesteps for rollout in self.training_set.rollouts)


def train_students(
    trainings: Mapping[str, Training],
    *,
    epochs: int,
    settings: TrainingSettings = DEFAULT_SETTINGS,
    progress: Callable[[str], None] | None = None,
    checkpoints: Path | None = None,
    processes: int = 1,
) -> dict[str, TrainedStudent]:
    """Trains one student each, side by side where that saves time; by name, in the order of the trainings.

    Args:
        trainings: by name, which begins what each says.
        epochs: passes over all rollouts.
        settings: how to train.
        progress: told what trainings say.
        checkpoints: folder in which every training keeps its epochs; None to keep nothing.
        processes: trainings at a time, at most; changes no bit. Short trainings run one after another all the same.

    Raises:
        TrainingEnded: a process that trained was ended from outside.
        Exception: whatever `train_student` raises.
    """
    is_long = any(epochs * training.num_timesteps >= LONG_ENOUGH for training in trainings.values())
    shared = {"epochs": epochs, "settings": settings, "checkpoints": checkpoints}
    tasks = {
        name: {"training_set": item.training_set, "config": item.config, "seed": item.seed, **shared}
        for name, item in trainings.items()
    }
    return side_by_side(train_student, tasks, processes=processes if is_long else 1, tell=progress)
