"""Trains a student on a teacher's rollouts: windows that grow, teacher forcing that fades, the best weights kept.

The whole panel rolls out together in its graph. At the start of every window the channels of all agents are set to the
teacher's and the gradient is cut; within a window the student runs on its own. Windows grow from one timestep to the
whole scenario, so that teacher forcing fades from every step to none. Recorded answers, where there are any, are mixed
in: every step of the optimiser asks some of the recorded people too. Every rollout is learned with its texts and without
(`unread.py`). In the last stages people drawn from their attributes alone, as simulations draw them, are rolled out too,
and their shares held to the teacher's. Held-out agents are there as neighbours and count in no loss; validation agents
choose the epoch whose weights are kept.

Legend: N stacked agents, T timesteps, K channels.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import polars as pl
import torch
from torch import Tensor

from assets.distillation.auxiliary_heads import AuxiliaryHeads
from assets.distillation.checkpoints import Progress, read_progress, training_key, write_progress
from assets.distillation.free_running import draw_people, drawn_answers, drawn_leanings, drawn_run, free_running_error
from assets.distillation.losses import (
    answer_offset,
    drawn_shares_loss,
    initial_loss,
    settling_loss,
    window_losses,
    window_of,
)
from assets.distillation.readout_training import validation_loss
from assets.distillation.schedule import TrainingSettings
from assets.distillation.share_paths import (
    counted_answers,
    share_error,
    share_path,
    teacher_paths,
    teacher_positions,
)
from assets.distillation.stacking import StackedPanel, stack_panel, start_stack, with_identity
from assets.distillation.static_traces import StaticTraces, static_loss
from assets.distillation.training_set import TrainingSet
from assets.distillation.unread import turned_round, without_texts
from model.lsm.config import LSMConfig
from model.lsm.leaning import SMALLEST_SHARE
from model.lsm.lsm import LSM
from model.lsm.state import State

Tell = Callable[[str], None]
DEFAULT_SETTINGS = TrainingSettings()
VALIDATION_DRAWS = 2
TURNED_SHARE = 0.5


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
        FloatingPointError: the loss is not finite.

    Source: truncated backpropagation through time, Williams & Peng (1990); scheduled teacher forcing after Bengio et
    al. (2015), Scheduled sampling, with windows in place of coin flips; AdamW, Loshchilov & Hutter (2019).
    """
    if epochs < 1:
        raise ValueError(f"epochs is {epochs}; training needs 1 or more. Raise training_epochs of the recipe.")
    tell = progress or (lambda _: None)
    stack = stack_panel(training_set)
    training = _Training.begin(training_set, stack, epochs, seed, config, settings)
    path = None
    if checkpoints is not None:
        key = training_key({"epochs": epochs, "seed": seed, "config": config, "settings": settings}, _data(training))
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
        self,
        stack: StackedPanel,
        model: LSM,
        heads: AuxiliaryHeads,
        seed: int,
        epochs: int,
        settings: TrainingSettings,
        is_training_N: Tensor,
        is_validation_N: Tensor,
        static: StaticTraces | None,
    ) -> None:
        self.stack, self.model, self.heads, self.epochs, self.settings = stack, model, heads, epochs, settings
        self.is_training_N, self.is_validation_N, self.static = is_training_N, is_validation_N, static
        self.is_fitted_N = is_training_N | is_validation_N
        unread = without_texts(stack)
        self.unread = (unread, turned_round(unread))
        self.noise = torch.Generator().manual_seed(seed)
        residuals = list(model.initial.residual_parameters())
        known = {id(parameter) for parameter in residuals}
        others = [item for item in (*model.parameters(), *heads.parameters()) if id(item) not in known]
        self.optimiser = torch.optim.AdamW(
            [{"params": others, "pace": 1.0}, {"params": residuals, "pace": settings.residual_pace}],
            lr=settings.largest_learning_rate,
            weight_decay=settings.weight_decay,
        )
        self.rates = settings.learning_rates(epochs, stack.num_timesteps)
        self.taught = teacher_paths(stack, is_training_N)
        self.placed = teacher_positions(stack, is_training_N, SMALLEST_SHARE)
        self.taught_all = teacher_paths(stack, self.is_fitted_N)
        self.epoch, self.has_ended = 0, False
        self.best_error, self.best_epoch = math.inf, 0
        self.best = copy.deepcopy(model.state_dict())
        self.curves: list[tuple[int, str, float]] = []

    @classmethod
    def begin(
        cls,
        training_set: TrainingSet,
        stack: StackedPanel,
        epochs: int,
        seed: int,
        config: LSMConfig,
        settings: TrainingSettings,
    ) -> "_Training":
        static = training_set.static
        questions = [asked.question for asked in stack.questions] + list(static.fitted.questions if static else ())
        num_events = stack.timeline.num_events
        config = replace(config, num_known_questions=len(questions), num_known_events=num_events)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = LSM(config)
            heads = AuxiliaryHeads(config)
        model.know_texts(questions, stack.timeline.embedding_VD)
        only_validates_N = training_set.is_validation_S.repeat_interleave(training_set.num_agents)
        is_training_N = stack.repeat(training_set.is_training_P) & ~only_validates_N
        is_validation_N = stack.repeat(training_set.is_validation_P) | (
            stack.repeat(training_set.is_training_P) & only_validates_N
        )
        return cls(stack, model, heads, seed, epochs, settings, is_training_N, is_validation_N, static)

    def next_epoch(self, tell: Tell) -> None:
        """Trains one epoch; evaluates where it is time, and notes the best weights and whether training has ended."""
        self.epoch += 1
        epoch, epochs, settings = self.epoch, self.epochs, self.settings
        window = settings.window(epoch, epochs, self.stack.num_timesteps)
        for group in self.optimiser.param_groups:
            group["lr"] = group["pace"] * self.rates[epoch - 1]
        losses = self._observed_pass(window)
        if settings.has_drawn_people(epoch, epochs):
            losses |= self._drawn_pass()
        self.curves += [(epoch, f"loss_{name}", value) for name, value in losses.items()]
        if epoch % settings.evaluate_every and epoch < epochs:
            return
        tvd, anchor_weight = free_running_error(self.model, self.stack, self.is_validation_N)
        self.model.leaning.weight.fill_(anchor_weight)
        self._measure_leanings()
        shares = self._drawn_error()
        self.curves += [
            (epoch, "validation_tvd", tvd),
            (epoch, "validation_shares", shares),
            (epoch, "anchor_weight", anchor_weight),
        ]
        if self.static is not None:
            self.curves.append((epoch, "validation_static", validation_loss(self.model.eval(), self.static.validation)))
        if tvd + shares < self.best_error:
            self.best_error, self.best_epoch = tvd + shares, epoch
            self.best = copy.deepcopy(self.model.state_dict())
        terms = ", ".join(f"{name} {value:.3f}" for name, value in losses.items())
        tell(
            f"epoch {epoch}/{epochs}, windows of {window}, validation TVD {tvd:.4f}, shares {shares:.4f} "
            f"(best epoch {self.best_epoch}); losses: {terms}"
        )
        self.has_ended = self._is_out_of_patience()

    def result(self) -> TrainedStudent:
        """The student with its best weights."""
        self.model.load_state_dict(self.best)
        schema = {"epoch": pl.Int64, "metric": pl.String, "value": pl.Float64}
        return TrainedStudent(
            model=self.model.eval(),
            curves=pl.DataFrame(self.curves, schema=schema, orient="row"),
            best_epoch=self.best_epoch,
            num_epochs=self.epoch,
        )

    def progress(self) -> Progress:
        """What `restore` needs."""
        return Progress(
            epoch=self.epoch,
            model=self.model.state_dict(),
            heads=self.heads.state_dict(),
            best=self.best,
            optimiser={
                f"{number}/{name}": value
                for number, entry in self.optimiser.state_dict()["state"].items()
                for name, value in entry.items()
            },
            noise=self.noise.get_state(),
            best_error=self.best_error,
            best_epoch=self.best_epoch,
            curves=self.curves,
        )

    def restore(self, kept: Progress) -> None:
        """Takes up where a training of the same arguments stood."""
        self.model.load_state_dict(kept.model)
        self.heads.load_state_dict(kept.heads)
        self.best = dict(kept.best)
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in kept.optimiser.items():
            number, name = key.split("/", 1)
            state.setdefault(int(number), {})[name] = value
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": state})
        self.noise.set_state(kept.noise)
        self.epoch, self.curves = kept.epoch, list(kept.curves)
        self.best_error, self.best_epoch = kept.best_error, kept.best_epoch
        if not self.epoch % self.settings.evaluate_every:
            self.has_ended = self._is_out_of_patience()

    def _is_out_of_patience(self) -> bool:
        window = self.settings.window(self.epoch, self.epochs, self.stack.num_timesteps)
        waited = self.epoch - self.best_epoch
        return window == self.stack.num_timesteps and waited > self.settings.patience * self.epochs

    def _observed_pass(self, window: int) -> dict[str, float]:
        """One pass over all timesteps from what was observed, with one optimiser step per stretch of gradient."""
        self.model.train()
        stretches = [_Stretch(self, stack) for stack in self._stacks()]
        num_timesteps = self.stack.num_timesteps
        sums: dict[str, float] = {}
        num_steps, first = 0, 0
        for timestep in range(1, num_timesteps + 1):
            for stretch in stretches:
                stretch.advance(timestep)
            is_window_end = timestep % window == 0 or timestep == num_timesteps
            if not is_window_end and timestep - first < self.settings.longest_gradient:
                continue
            losses, *unread = [stretch.losses() for stretch in stretches]
            if self.static is not None:
                losses["static"] = static_loss(self.model, self.static, self.noise)
            losses |= {"unread": self._weighted(other) for other in unread}
            self._descend(losses)
            for name, loss in losses.items():
                sums[name] = sums.get(name, 0.0) + float(loss.detach())
            num_steps, first = num_steps + 1, timestep + 1
            for stretch in stretches:
                stretch.go_on(is_forced=is_window_end)
        return {name: value / (1 if name == "initial" else num_steps) for name, value in sums.items()}

    def _stacks(self) -> list[StackedPanel]:
        """The rollouts of an epoch, and the same without texts: scales as they are or, by chance, turned round."""
        if not self.settings.weights.unread:
            return [self.stack]
        return [self.stack, self.unread[int(torch.rand((), generator=self.noise) < TURNED_SHARE)]]

    def _drawn_pass(self) -> dict[str, float]:
        """One pass over all timesteps of people drawn from their attributes, and on beyond the last; mean losses."""
        model, stack = self.model.train(), self.stack
        people = draw_people(model, stack, self._next_seed())
        leanings = drawn_leanings(model, people, stack)
        state = start_stack(model, stack, None, people.channels_NK)
        states, saliences, first = [state], [torch.zeros_like(state.conviction_N)], 0
        losses: list[float] = []
        start: list[Tensor] = []
        for timestep in range(1, stack.num_timesteps + 1):
            state, perception = model.advance(state, stack.graph, stack.timeline, timestep)
            states.append(state)
            saliences.append(perception.salience_N)
            if timestep < stack.num_timesteps and timestep - first < self.settings.longest_gradient:
                continue
            window = window_of(first, states, saliences)
            if first == 0:
                start = self._shares_at_start(drawn_answers(model, window, people, stack))
            loss = drawn_shares_loss(
                model, stack, window, leanings, start, self.taught, self.placed, self.is_training_N
            )
            self._descend({"drawn_shares": loss})
            losses.append(float(loss.detach()))
            start = [share_SO.detach() for share_SO in start]
            state = with_identity(model, stack, state.detach())
            states, saliences, first = [], [], timestep + 1
        return {"drawn_shares": sum(losses) / len(losses), "settling": self._settle(state, leanings)}

    def _settle(self, state: State, leanings: Sequence[Tensor]) -> float:
        """Lets time go on after the last event, from 0 to 40 timesteps unseen, then holds shares to where they are."""
        model, stack, settings = self.model, self.stack, self.settings
        unseen = int(torch.randint(settings.longest_settling + 1, (1,), generator=self.noise))
        first = stack.num_timesteps + unseen
        with torch.no_grad():
            for timestep in range(stack.num_timesteps + 1, first + 1):
                state, _ = model.advance(state, stack.graph, stack.timeline, timestep)
        states, saliences = [state], [torch.zeros_like(state.conviction_N)]
        for timestep in range(first + 1, first + settings.longest_gradient + 1):
            state, perception = model.advance(state, stack.graph, stack.timeline, timestep)
            states.append(state)
            saliences.append(perception.salience_N)
        loss = settling_loss(model, stack, window_of(first, states, saliences), leanings, self.is_training_N)
        self._descend({"settling": loss})
        return float(loss.detach())

    def _shares_at_start(self, answers: Sequence[Tensor]) -> list[Tensor]:
        stack = self.stack
        return [
            share_path(
                answer_TMO[:1],
                counted_answers(asked, self.is_training_N)[:1],
                stack.scenario_of(asked.agents_M),
                stack.num_copies,
            ).mean_TSO[0]
            for asked, answer_TMO in zip(stack.questions, answers, strict=True)
        ]

    def _drawn_error(self) -> float:
        """How far the shares of drawn people are from the teacher's, among all agents that are not held out."""
        stack, counts_N = self.stack, self.is_fitted_N
        errors = []
        answers: list[list[Tensor]] = []
        with torch.no_grad():
            for draw in range(VALIDATION_DRAWS):
                people = draw_people(self.model, stack, draw)
                window = drawn_run(self.model, stack, people, stack.num_timesteps)
                answers.append(drawn_answers(self.model, window, people, stack))
            for number, asked in enumerate(stack.questions):
                mean_TMO = torch.stack([drawn[number] for drawn in answers]).mean(0)
                is_known_TM = counted_answers(asked, counts_N)
                ours = share_path(mean_TMO, is_known_TM, stack.scenario_of(asked.agents_M), stack.num_copies)
                errors.append(share_error(ours, self.taught_all[number]))
        return sum(errors) / len(errors)

    def _measure_leanings(self) -> None:
        """Measures the gaps that observed channels leave to first answers, among agents that are not held out."""
        model, stack = self.model, self.stack
        with torch.no_grad():
            start = start_stack(model, stack, stack.channels_TNK[0])
            gaps = [
                (asked.question, answer_offset(model, start, asked)[counted_answers(asked, self.is_fitted_N)[0]])
                for asked in stack.questions
            ]
            model.leaning.measure(gaps)

    def initial_loss(self, stack: StackedPanel) -> Tensor:
        people = draw_people(self.model, stack, self._next_seed())
        typical = start_stack(self.model, stack, None)
        drawn = start_stack(self.model, stack, None, people.channels_NK)
        leanings = drawn_leanings(self.model, people, stack)
        return initial_loss(self.model, stack, typical, drawn, leanings, self.is_training_N)

    def _next_seed(self) -> int:
        return int(torch.randint(2**40, (1,), generator=self.noise))

    def drop_identity(self, state: State) -> State:
        """Inverted dropout of the identity, Srivastava et al. (2014), section 10."""
        share = self.settings.identity_dropout
        is_kept_NZ = torch.rand(state.identity_NZ.shape, generator=self.noise) >= share
        return replace(state, identity_NZ=state.identity_NZ * is_kept_NZ / (1 - share))

    def _weighted(self, losses: dict[str, Tensor]) -> Tensor:
        weights = self.settings.weights
        return sum((getattr(weights, name) * loss for name, loss in losses.items()), start=torch.zeros(()))

    def _descend(self, losses: dict[str, Tensor]) -> None:
        total = self._weighted(losses)
        if not bool(torch.isfinite(total)):
            found = ", ".join(f"{name} {float(loss.detach()):.3g}" for name, loss in losses.items())
            raise FloatingPointError(
                f"The training loss is not finite ({found}). Lower largest_learning_rate, or check the channels of the "
                "traces."
            )
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.largest_gradient_norm)
        self.optimiser.step()


class _Stretch:
    """A rollout of a pass since the gradient was cut last."""

    def __init__(self, training: _Training, stack: StackedPanel) -> None:
        self.training, self.stack = training, stack
        model = training.model
        observed = start_stack(model, stack, stack.channels_TNK[0])
        is_anchored = float(model.leaning.weight) >= 0.5
        self.offsets = [is_anchored * answer_offset(model, observed, asked).detach() for asked in stack.questions]
        self.timestep, self.first = 0, 0
        self.state = training.drop_identity(observed)
        self.states, self.saliences = [self.state], [torch.zeros_like(self.state.conviction_N)]

    def advance(self, timestep: int) -> None:
        """The next timestep."""
        stack, self.timestep = self.stack, timestep
        self.state, perception = self.training.model.advance(self.state, stack.graph, stack.timeline, timestep)
        self.states.append(self.state)
        self.saliences.append(perception.salience_N)

    def losses(self) -> dict[str, Tensor]:
        """Every loss since the gradient was cut last."""
        training, stack = self.training, self.stack
        done = window_of(self.first, self.states, self.saliences)
        losses = window_losses(training.model, stack, done, training.is_training_N, self.offsets)
        losses |= training.heads.losses(stack, done, training.is_training_N)
        if self.first == 0:
            losses["initial"] = training.initial_loss(stack)
        return losses

    def go_on(self, *, is_forced: bool) -> None:
        """Cuts the gradient; where the window ends, the teacher's channels are taken."""
        model, stack = self.training.model, self.stack
        state = self.training.drop_identity(with_identity(model, stack, self.state.detach()))
        self.state = force_channels(state, stack.channels_TNK[self.timestep]) if is_forced else state
        self.states, self.saliences, self.first = [], [], self.timestep + 1


def force_channels(state: State, channels_NK: Tensor) -> State:
    """The state with the teacher's channels where they are known: what teacher forcing does."""
    return replace(state, channels_NK=torch.where(channels_NK.isnan(), state.channels_NK, channels_NK))


def _data(training: _Training) -> dict[str, Tensor]:
    """Every tensor that a training reads."""
    stack = training.stack
    found = {"is_training": training.is_training_N, "is_validation": training.is_validation_N}
    for place, record in (("stack", stack), ("graph", stack.graph), ("timeline", stack.timeline)):
        for field in fields(record):
            value = getattr(record, field.name)
            if isinstance(value, Tensor):
                found[f"{place}.{field.name}"] = value
    if training.static is not None:
        for name, answers in (("fitted", training.static.fitted), ("validation", training.static.validation)):
            found |= {f"static.{name}.codes": answers.codes_PF, f"static.{name}.chosen": answers.chosen_PQ}
            found |= {f"static.{name}.question{n}": item.embedding_D for n, item in enumerate(answers.questions)}
    for number, asked in enumerate(stack.questions):
        found |= {f"question{number}.agents": asked.agents_M, f"question{number}.answers": asked.probability_TMO}
        found |= {
            f"question{number}.{name}": getattr(asked.question, name)
            for name in ("embedding_D", "option_embeddings_OD", "option_scores_O")
        }
    return found
