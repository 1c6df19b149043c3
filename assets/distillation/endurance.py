"""A student that runs far longer than it was trained for: whether its shares settle and its people stay different.

Legend: N stacked agents, T timesteps, M agents of a question, S scenarios, O options.
"""

import math
from dataclasses import dataclass

import torch

from assets.distillation.free_running import draw_people, drawn_answers, drawn_run
from assets.distillation.share_paths import share_path
from assets.distillation.stacking import stack_panel
from assets.distillation.training_set import TrainingSet
from model.lsm.lsm import LSM

NUM_TIMESTEPS = 100
DRAW = 0


@dataclass(frozen=True)
class Endurance:
    """A rollout of drawn people over 100 timesteps.

    `largest_change` is the largest change of a share between timestep 50 and 100 over all scenarios and options;
    `smallest_spread_ratio` the smallest ratio of the standard deviation of answers between people at timestep 100 to
    that at timestep 0. Both are nan when a number of the rollout is not finite or a channel has left −1 … 1.
    """

    largest_change: float
    smallest_spread_ratio: float


def measure_endurance(model: LSM, training_set: TrainingSet, num_timesteps: int = NUM_TIMESTEPS) -> Endurance:
    """Rolls one draw of people through every scenario and far beyond its end."""
    stack = stack_panel(training_set)
    people = draw_people(model, stack, DRAW)
    window = drawn_run(model, stack, people, num_timesteps)
    with torch.no_grad():
        answers = drawn_answers(model, window, people, stack)
    tensors = (window.channels_TNK, window.latent_TNU, window.conviction_TN, window.expression_TNX, *answers)
    is_sound = all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
    if not is_sound or bool((window.channels_TNK.abs() > 1).any()):
        return Endurance(math.nan, math.nan)
    changes, ratios = [], []
    for asked, answers_TMO in zip(stack.questions, answers, strict=True):
        everybody_TM = torch.ones(answers_TMO.shape[:2], dtype=torch.bool)
        path = share_path(answers_TMO, everybody_TM, stack.scenario_of(asked.agents_M), stack.num_copies)
        asked_S = ~path.mean_TSO[0].isnan().any(1)
        mean_TSO, spread_TSO = path.mean_TSO[:, asked_S], path.spread_TSO[:, asked_S]
        changes.append(float((mean_TSO[-1] - mean_TSO[num_timesteps // 2]).abs().max()))
        ratios.append(float((spread_TSO[-1].mean(1) / spread_TSO[0].mean(1)).min()))
    return Endurance(max(changes), min(ratios))
