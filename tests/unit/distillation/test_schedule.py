"""Settings of the training: those that cannot train are refused before anything is trained."""

import math

import pytest

from assets.distillation.schedule import TrainingSettings


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"stage_ends": (0.5,)}, "5 windows and 1 stage_ends"),
        ({"windows": (1,), "stage_ends": (0.5,)}, r"stage_ends \(0.5,\) must rise to 1"),
        ({"windows": (), "stage_ends": ()}, "windows is empty"),
        ({"windows": (1, -2), "stage_ends": (0.5, 1.0)}, r"windows \(1, -2\)"),
        ({"stage_ends": (0.15, 0.35, 0.35, 0.8, 1.0)}, "must rise to 1"),
        ({"longest_gradient": 0}, "longest_gradient is 0"),
        ({"evaluate_every": 0}, "evaluate_every is 0"),
        ({"longest_settling": -1}, "longest_settling is -1"),
        ({"first_drawn_stage": -1}, "first_drawn_stage is -1"),
        ({"identity_dropout": 1.0}, "identity_dropout is 1.0"),
        ({"patience": math.nan}, "patience is nan"),
        ({"travel": 0.0}, "travel is 0.0"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1"),
        ({"largest_learning_rate": math.inf}, "largest_learning_rate is inf"),
    ],
)
def test_settings_that_cannot_train_are_refused(wrong: dict, said: str) -> None:
    with pytest.raises(ValueError, match=f"TrainingSettings: .*{said}"):
        TrainingSettings(**wrong)


def test_every_fault_of_the_settings_is_named_at_once() -> None:
    with pytest.raises(ValueError, match=r"longest_gradient is 0.*evaluate_every is 0"):
        TrainingSettings(longest_gradient=0, evaluate_every=0)
