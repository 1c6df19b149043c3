"""Trains a student on a teacher's rollouts: windows that grow, teacher forcing that fades, the best weights kept.

The whole panel rolls out together in its graph. At the start of every window the channels of all agents are set to the
teacher's and the gradient is cut; within a window the student runs on its own. Windows grow from one timestep to the
whole scenario, so that teacher forcing fades from every step to none. Held-out agents are there as neighbours and count
in no loss; validation agents choose the epoch whose weights are kept.

Legend: N stacked agents, T timesteps, K channels.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import polars as pl
import torch
from torch import Tensor

from assets.distillation.losses import (
    LossWeights,
    Window,
    answer_offset,
    initial_loss,
    read_logits,
    window_losses,
    window_of,
)
from assets.distillation.stacking import StackedPanel, stack_panel, start_stack, with_identity
from assets.distillation.training_set import TrainingSet
from model.lsm.config import LSMConfig
from model.lsm.lsm import LSM
from model.lsm.state import State

Progress = Callable[[str], None]
ANCHOR_WEIGHTS = tuple(number / 10 for number in range(11))


@dataclass(frozen=True)
class TrainingSettings:
    """How a student is trained.

    Attributes:
        travel: peak learning rate × number of optimiser steps, so that short trainings take larger steps.
        largest_learning_rate: bound on the peak learning rate.
        windows: lengths of the windows, in timesteps, by stage; 0 is the whole scenario.
        stage_ends: share of all epochs at which each stage ends, rising to 1.
        identity_dropout: share of the identity's entries that are set to zero in each window, so that a student cannot
            recognise single people of a small panel.
        longest_gradient: timesteps after which the gradient is cut within a window.
        evaluate_every: epochs between evaluations on the validation agents.
        patience: share of all epochs without improvement after which training ends, in the last stage.
    """

    travel: float = 0.4
    largest_learning_rate: float = 5e-3
    weight_decay: float = 0.02
    largest_gradient_norm: float = 1.0
    windows: tuple[int, ...] = (1, 2, 4, 8, 0)
    stage_ends: tuple[float, ...] = (0.15, 0.35, 0.6, 0.8, 1.0)
    identity_dropout: float = 0.2
    longest_gradient: int = 8
    evaluate_every: int = 2
    patience: float = 0.3
    weights: LossWeights = field(default_factory=LossWeights)


@dataclass(frozen=True, eq=False)
class TrainedStudent:
    """A student with the weights of its best epoch.

    `curves` has a row per epoch and metric: epoch, metric, value. `anchor_weight`, 0 … 1, is how much of an agent's
    observed answer at timestep 0 its later answers keep (see `losses.answer_offset`), as validation agents say.
    """

    model: LSM
    curves: pl.DataFrame
    best_epoch: int
    num_epochs: int
    anchor_weight: float


def train_student(
    training_set: TrainingSet,
    *,
    epochs: int,
    seed: int,
    config: LSMConfig,
    progress: Progress | None = None,
    settings: TrainingSettings = TrainingSettings(),
) -> TrainedStudent:
    """Fits a student to the training agents of the panel; the same arguments give the same bits on the same machine.

    Args:
        training_set: the teacher's rollouts.
        epochs: passes over all rollouts.
        seed: fixes initial weights and noise.
        config: sizes of the student.
        progress: told once per stage and evaluation.
        settings: how to train.

    Raises:
        ValueError: epochs is not positive.
        FloatingPointError: the loss is not finite.

    Source: truncated backpropagation through time, Williams & Peng (1990); scheduled teacher forcing after Bengio et
    al. (2015), Scheduled sampling, with windows in place of coin flips; AdamW, Loshchilov & Hutter (2019).
    """
    if epochs < 1:
        raise ValueError(f"epochs is {epochs}; training needs 1 or more. Raise training_epochs of the recipe.")
    stack = stack_panel(training_set)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LSM(config)
    noise = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=settings.largest_learning_rate, weight_decay=settings.weight_decay
    )
    is_training_N = stack.repeat(training_set.is_training_P)
    is_validation_N = stack.repeat(training_set.is_validation_P)
    rates = _learning_rates(settings, epochs, stack.num_timesteps)
    curves: list[tuple[int, str, float]] = []
    best = (math.inf, 0, copy.deepcopy(model.state_dict()), 1.0)
    epoch, anchor_weight = 0, ANCHOR_WEIGHTS[-1]
    for epoch in range(1, epochs + 1):
        window = _window(settings, epoch, epochs, stack.num_timesteps)
        for group in optimiser.param_groups:
            group["lr"] = rates[epoch - 1]
        losses = _train_epoch(model, stack, is_training_N, optimiser, window, anchor_weight >= 0.5, noise, settings)
        curves += [(epoch, f"loss_{name}", value) for name, value in losses.items()]
        if epoch % settings.evaluate_every and epoch < epochs:
            continue
        error, anchor_weight = free_running_error(model, stack, is_validation_N)
        curves += [(epoch, "validation_tvd", error), (epoch, "anchor_weight", anchor_weight)]
        if error < best[0]:
            best = (error, epoch, copy.deepcopy(model.state_dict()), anchor_weight)
        if progress is not None:
            progress(f"epoch {epoch}/{epochs}, windows of {window}, validation TVD {error:.4f} (best {best[0]:.4f})")
        if window == stack.num_timesteps and epoch - best[1] > settings.patience * epochs:
            break
    model.load_state_dict(best[2])
    frame = pl.DataFrame(curves, schema={"epoch": pl.Int64, "metric": pl.String, "value": pl.Float64}, orient="row")
    return TrainedStudent(model=model.eval(), curves=frame, best_epoch=best[1], num_epochs=epoch, anchor_weight=best[3])


def free_run(model: LSM, stack: StackedPanel) -> Window:
    """The student's own rollout of all timesteps, from the teacher's channels at timestep 0; no gradient."""
    with torch.no_grad():
        state = start_stack(model, stack, stack.channels_TNK[0])
        states, saliences = [state], [torch.zeros_like(state.conviction_N)]
        for timestep in range(1, stack.num_timesteps + 1):
            state, perception = model.advance(state, stack.graph, stack.timeline, timestep)
            states.append(state)
            saliences.append(perception.salience_N)
        return window_of(0, states, saliences)


def free_running_error(model: LSM, stack: StackedPanel, counts_N: Tensor) -> tuple[float, float]:
    """Mean TVD between student and teacher from timestep 1 on, and the anchor weight at which it is lowest.

    Args:
        model: the student.
        stack: the teacher's answers.
        counts_N: bool, agents that count.
    """
    with torch.no_grad():
        start = start_stack(model, stack, stack.channels_TNK[0])
        window = free_run(model, stack)
        errors = torch.zeros(len(ANCHOR_WEIGHTS))
        num_known = 0
        for asked in stack.questions:
            target_TMO = asked.probability_TMO[1:]
            is_known_TM = counts_N[asked.agents_M] & ~target_TMO.isnan().any(2)
            logits_TMO, offset_MO = read_logits(model, window, asked)[1:], answer_offset(model, start, asked)
            num_known += int(is_known_TM.sum())
            for number, weight in enumerate(ANCHOR_WEIGHTS):
                gap_TM = ((logits_TMO + weight * offset_MO).softmax(2) - target_TMO).abs().sum(2) / 2
                errors[number] += gap_TM[is_known_TM].sum()
    best = int(errors.argmin())
    return float(errors[best]) / max(1, num_known), ANCHOR_WEIGHTS[best]


def _window(settings: TrainingSettings, epoch: int, epochs: int, num_timesteps: int) -> int:
    """Length of the epoch's windows, in timesteps."""
    stage = next(number for number, end in enumerate(settings.stage_ends) if epoch <= end * epochs)
    return settings.windows[stage] or num_timesteps


def _learning_rates(settings: TrainingSettings, epochs: int, num_timesteps: int) -> list[float]:
    """Learning rate by epoch: a short rise to the peak, then half a cosine down to a tenth of it."""
    windows = [_window(settings, epoch, epochs, num_timesteps) for epoch in range(1, epochs + 1)]
    num_steps = sum(math.ceil(num_timesteps / min(window, settings.longest_gradient)) for window in windows)
    peak = min(settings.largest_learning_rate, settings.travel / max(1, num_steps))
    rises = [min(1.0, epoch / max(1.0, 0.05 * epochs)) for epoch in range(1, epochs + 1)]
    falls = [0.1 + 0.45 * (1 + math.cos(math.pi * epoch / epochs)) for epoch in range(1, epochs + 1)]
    return [peak * rise * fall for rise, fall in zip(rises, falls, strict=True)]


def _train_epoch(
    model: LSM,
    stack: StackedPanel,
    counts_N: Tensor,
    optimiser: torch.optim.Optimizer,
    window: int,
    is_anchored: bool,
    noise: torch.Generator,
    settings: TrainingSettings,
) -> dict[str, float]:
    """One pass over all timesteps, with one optimiser step per stretch of gradient; mean losses of the pass."""
    model.train()
    sums: dict[str, float] = {}
    num_steps = 0
    state = start_stack(model, stack, stack.channels_TNK[0])
    offsets = [is_anchored * answer_offset(model, state, asked).detach() for asked in stack.questions]
    state = _drop_identity(state, settings.identity_dropout, noise)
    states, saliences, first = [state], [torch.zeros_like(state.conviction_N)], 0
    for timestep in range(1, stack.num_timesteps + 1):
        state, perception = model.advance(state, stack.graph, stack.timeline, timestep)
        states.append(state)
        saliences.append(perception.salience_N)
        is_window_end = timestep % window == 0 or timestep == stack.num_timesteps
        if not is_window_end and timestep - first < settings.longest_gradient:
            continue
        losses = window_losses(model, stack, window_of(first, states, saliences), counts_N, offsets)
        if first == 0:
            losses["initial"] = _initial_loss(model, stack, counts_N, noise)
        _descend(model, optimiser, losses, settings)
        for name, loss in losses.items():
            sums[name] = sums.get(name, 0.0) + float(loss.detach())
        num_steps += 1
        state = _drop_identity(with_identity(model, stack, state.detach()), settings.identity_dropout, noise)
        if is_window_end:
            state = force_channels(state, stack.channels_TNK[timestep])
        states, saliences, first = [], [], timestep + 1
    return {name: value / (1 if name == "initial" else num_steps) for name, value in sums.items()}


def force_channels(state: State, channels_NK: Tensor) -> State:
    """The state with the teacher's channels where they are known: what teacher forcing does."""
    return replace(state, channels_NK=torch.where(channels_NK.isnan(), state.channels_NK, channels_NK))


def _drop_identity(state: State, share: float, noise: torch.Generator) -> State:
    """Inverted dropout of the identity, Srivastava et al. (2014), section 10."""
    is_kept_NZ = torch.rand(state.identity_NZ.shape, generator=noise) >= share
    return replace(state, identity_NZ=state.identity_NZ * is_kept_NZ / (1 - share))


def _initial_loss(model: LSM, stack: StackedPanel, counts_N: Tensor, noise: torch.Generator) -> Tensor:
    noise_NK = torch.randn(stack.channels_TNK[0].shape, generator=noise)
    typical, drawn = start_stack(model, stack, None), start_stack(model, stack, None, noise_NK)
    return initial_loss(model, stack, typical, drawn, counts_N)


def _descend(
    model: LSM, optimiser: torch.optim.Optimizer, losses: dict[str, Tensor], settings: TrainingSettings
) -> None:
    total = sum((getattr(settings.weights, name) * loss for name, loss in losses.items()), start=torch.zeros(()))
    if not bool(torch.isfinite(total)):
        found: Sequence[str] = [f"{name} {float(loss.detach()):.3g}" for name, loss in losses.items()]
        raise FloatingPointError(
            f"The training loss is not finite ({', '.join(found)}). Lower largest_learning_rate, or check the channels "
            "of the traces."
        )
    optimiser.zero_grad(set_to_none=True)
    total.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), settings.largest_gradient_norm)
    optimiser.step()
