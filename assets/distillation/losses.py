"""What a student is trained to match, per agent and timestep; missing targets are NaN and count in no loss.

Legend: T timesteps, N stacked agents, M agents of a question, K channels, O options.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from assets.distillation.share_paths import SharePath, counted_answers, position_path, share_path
from assets.distillation.stacking import StackedPanel, StackedQuestion
from model.lsm.leaning import answer_gap
from model.lsm.lsm import LSM
from model.lsm.state import State

HUBER_WIDTH = 0.2
"""Channel error, on the scale −1 … 1, from which on the loss grows linearly."""
RARE_POWER = 0.25
"""How far rare answers are weighted up: an answer of share p has weight p^−RARE_POWER before normalisation."""
SETTLING_TIMESTEPS = 50
"""Timesteps over which the pace of shares without events is carried on, as the gate on 100 timesteps does."""
POSITION_WEIGHT = 0.2
"""Weight of a squared gap in log-odds beside one in shares: positions spread some four times as widely as shares."""
LARGEST_LOGIT = 3.0
"""Observed channels are read as tanh of at most this, where the spread of the initial state is fitted."""


@dataclass(frozen=True)
class LossWeights:
    """Weight of each target in the training loss; the options are what is finally read.

    `unread` is the weight of all targets together where no text is read (see `unread.py`); 0 leaves that out.
    """

    options: float = 0.5
    anchored_options: float = 1.0
    ranked_options: float = 1.0
    channels: float = 2.0
    conviction: float = 0.3
    public_stance: float = 0.3
    salience: float = 0.1
    rationale: float = 0.03
    attention: float = 0.02
    will_share: float = 0.02
    shares: float = 5.0
    drawn_shares: float = 5.0
    settling: float = 5.0
    initial: float = 0.3
    static: float = 0.5
    unread: float = 0.5


@dataclass(frozen=True, eq=False)
class Window:
    """What a student did over consecutive timesteps, stacked: the input of every loss.

    `first` is the timestep of row 0.
    """

    first: int
    channels_TNK: Tensor
    latent_TNU: Tensor
    memory_TNS: Tensor
    conviction_TN: Tensor
    expression_TNX: Tensor
    salience_TN: Tensor

    @property
    def timesteps(self) -> slice:
        """The window's rows of the targets."""
        return slice(self.first, self.first + len(self.channels_TNK))


def window_of(first: int, states: list[State], saliences: list[Tensor]) -> Window:
    """Stacks states of consecutive timesteps."""
    return Window(
        first=first,
        channels_TNK=torch.stack([state.channels_NK for state in states]),
        latent_TNU=torch.stack([state.latent_NU for state in states]),
        memory_TNS=torch.stack([state.memory_NS for state in states]),
        conviction_TN=torch.stack([state.conviction_N for state in states]),
        expression_TNX=torch.stack([state.expression_NX for state in states]),
        salience_TN=torch.stack(saliences),
    )


def read_logits(model: LSM, window: Window, asked: StackedQuestion) -> Tensor:
    """Logits of a question over the window for the agents who are asked, [T, M, O]."""
    channels_TMK = window.channels_TNK[:, asked.agents_M]
    latent_TMU = window.latent_TNU[:, asked.agents_M]
    logits = model.readout_head(channels_TMK.flatten(0, 1), latent_TMU.flatten(0, 1), asked.question)
    return logits.unflatten(0, channels_TMK.shape[:2])


def answer_offset(model: LSM, start: State, asked: StackedQuestion) -> Tensor:
    """What the teacher's answer at timestep 0 adds to the log-odds of the student's, [M, O].

    The gap is what an agent's channels do not tell about its answer: a person's own leaning, which stays. It is zero
    where that answer is not known.

    Args:
        model: the student.
        start: the initial state, from the teacher's channels.
        asked: the question.
    """
    logits_MO = model.readout_head(start.channels_NK[asked.agents_M], start.latent_NU[asked.agents_M], asked.question)
    return answer_gap(asked.probability_TMO[0], logits_MO)


def window_losses(
    model: LSM, stack: StackedPanel, window: Window, counts_N: Tensor, offsets: Sequence[Tensor]
) -> dict[str, Tensor]:
    """Every loss over a window, each a mean over answered targets of the agents that count.

    Args:
        model: the student.
        stack: targets.
        window: what the student did.
        counts_N: bool, agents whose targets count.
        offsets: `answer_offset` of every question, for the losses of anchored answers.

    Source: channels, Huber (1964), equation 1; options, cross-entropy with soft targets as in Hinton, Vinyals & Dean
    (2015), section 2; ordinal options, the ranked probability score of Epstein (1969), the discrete form of the CRPS.
    """
    rows = window.timesteps
    option_losses = [
        _option_losses(model, stack, window, asked, counts_N, offset_MO)
        for asked, offset_MO in zip(stack.questions, offsets, strict=True)
    ]
    ranked = [ranked for _, _, ranked, _ in option_losses if ranked is not None]
    zero = window.conviction_TN.new_zeros(())
    stance_TN = model.expression.public_stance(window.expression_TNX.flatten(0, 1)).unflatten(
        0, window.conviction_TN.shape
    )
    channel_error_TNK = (
        nn.functional.huber_loss(
            window.channels_TNK, stack.channels_TNK[rows].nan_to_num(), reduction="none", delta=HUBER_WIDTH
        )
        / HUBER_WIDTH
    )
    return {
        "options": torch.stack([plain for plain, *_ in option_losses]).mean(),
        "anchored_options": torch.stack([anchored for _, anchored, *_ in option_losses]).mean(),
        "ranked_options": torch.stack(ranked).mean() if ranked else zero,
        "shares": torch.stack([shares for *_, shares in option_losses]).mean(),
        "channels": _mean(channel_error_TNK.mean(2), counts_N & ~stack.channels_TNK[rows].isnan().any(2)),
        "conviction": _squared(window.conviction_TN, stack.conviction_TN[rows], counts_N),
        "public_stance": _squared(stance_TN, stack.public_stance_TN[rows], counts_N),
        "salience": _squared(window.salience_TN, stack.salience_TN[rows], counts_N) if window.first else zero,
    }


def drawn_shares_loss(
    model: LSM,
    stack: StackedPanel,
    window: Window,
    leanings: Sequence[Tensor],
    start: Sequence[Tensor],
    teacher: Sequence[SharePath],
    positions: Sequence[SharePath],
    counts_N: Tensor,
) -> Tensor:
    """How badly drawn people move: their shares' change since timestep 0, and their spread, against the teacher's.

    Squared gaps, summed over options, mean over scenarios and timesteps. Changes, and not levels, since a draw's level
    at timestep 0 is chance and stays; levels at timestep 0 are `initial_loss`'s. Spread counts in shares and, so that
    the firmest people stay as firm, in log-odds along the scale.

    Args:
        model: the student.
        stack: targets.
        window: what drawn people did.
        leanings: their leanings, [M, O] per question.
        start: their shares at timestep 0, [S, O] per question.
        teacher: the teacher's shares of every question.
        positions: the teacher's positions of every question, see `share_paths.position_path`.
        counts_N: bool, agents that count.
    """
    losses = []
    for asked, leaning_MO, start_SO, theirs, placed in zip(
        stack.questions, leanings, start, teacher, positions, strict=True
    ):
        logits_TMO = read_logits(model, window, asked) + leaning_MO
        answers_TMO = logits_TMO.softmax(2)
        is_known_TM = counted_answers(asked, counts_N)[window.timesteps]
        ours = share_path(answers_TMO, is_known_TM, stack.scenario_of(asked.agents_M), stack.num_copies)
        rows = window.timesteps
        change_TSO = (ours.mean_TSO - start_SO) - (theirs.mean_TSO[rows] - theirs.mean_TSO[0])
        spread_TSO = ours.spread_TSO - theirs.spread_TSO[rows]
        is_asked_TSO = ~(change_TSO.isnan() | spread_TSO.isnan())
        squares_TSO = torch.where(is_asked_TSO, change_TSO, 0.0) ** 2 + torch.where(is_asked_TSO, spread_TSO, 0.0) ** 2
        ours_TS1 = position_path(logits_TMO, asked, is_known_TM, stack).spread_TSO
        squares_TS1 = (ours_TS1 - placed.spread_TSO[rows]) ** 2  # NaN where nobody is asked
        squares = squares_TSO.sum() + POSITION_WEIGHT * squares_TS1.nansum()
        losses.append(squares / is_asked_TSO[..., 0].sum().clamp(min=1))
    return torch.stack(losses).mean()


def settling_loss(
    model: LSM, stack: StackedPanel, window: Window, leanings: Sequence[Tensor], counts_N: Tensor
) -> Tensor:
    """How far drawn people's shares would move in `SETTLING_TIMESTEPS` at the pace of a window without events.

    Squared, summed over options, mean over scenarios and questions. The teacher is not asked for ever, but a world in
    which nothing happens any more does not move its shares for ever either.

    Args:
        model: the student.
        stack: whose questions are asked.
        window: what drawn people did once the last event was over.
        leanings: their leanings, [M, O] per question.
        counts_N: bool, agents that count.
    """
    losses = []
    for asked, leaning_MO in zip(stack.questions, leanings, strict=True):
        answers_TMO = (read_logits(model, window, asked) + leaning_MO).softmax(2)[[0, -1]]
        is_counted_TM = counts_N[asked.agents_M].expand(2, -1)
        path = share_path(answers_TMO, is_counted_TM, stack.scenario_of(asked.agents_M), stack.num_copies)
        pace_SO = (path.mean_TSO[1] - path.mean_TSO[0]) / (len(window.channels_TNK) - 1)
        squares_S = ((SETTLING_TIMESTEPS * pace_SO) ** 2).sum(1)  # NaN where the scenario does not ask
        losses.append(squares_S.nansum() / (~squares_S.isnan()).sum().clamp(min=1))
    return torch.stack(losses).mean()


def initial_loss(
    model: LSM,
    stack: StackedPanel,
    typical: State,
    drawn: State,
    leanings: Sequence[Tensor],
    counts_N: Tensor,
) -> Tensor:
    """How badly the student starts agents of whom only attributes are known.

    Three parts: the negative log likelihood of the teacher's channels at timestep 0 under the drawn initial state; the
    cross-entropy of the typical agent's answers; and, per question, the squared gaps between drawn agents and teacher
    in the mean and in the spread of the answers, so that people differ as much as the teacher's do.

    Args:
        model: the student.
        stack: targets.
        typical: initial state without noise.
        drawn: initial state with noise.
        leanings: leanings of the drawn agents, [M, O] per question.
        counts_N: bool, agents whose targets count.
    """
    target_NK = stack.channels_TNK[0]
    is_known_N = counts_N & ~target_NK.isnan().any(1)
    limit = torch.tanh(torch.tensor(LARGEST_LOGIT))
    location_NK = torch.atanh(typical.channels_NK.clamp(-limit, limit))
    wanted_NK = torch.atanh(target_NK.nan_to_num().clamp(-limit, limit))
    width_NK = model.initial.widths(typical.topic_P)
    residual_NK = (wanted_NK - location_NK) / width_NK
    residual_KN = torch.linalg.solve_triangular(model.initial.factor_KK, residual_NK.T, upper=False)
    likelihood_NK = 0.5 * residual_KN.T**2 + model.initial.scale_K.log() + width_NK.log()
    total = _mean(likelihood_NK.mean(1), is_known_N)
    for asked, leaning_MO in zip(stack.questions, leanings, strict=True):
        probability_MO = asked.probability_TMO[0]
        is_known_M = counts_N[asked.agents_M] & ~probability_MO.isnan().any(1)
        typical_MO, drawn_MO = (
            model.readout_head(state.channels_NK[asked.agents_M], state.latent_NU[asked.agents_M], asked.question)
            for state in (typical, drawn)
        )
        target_MO = probability_MO.nan_to_num()
        total = total + _mean(-(target_MO * typical_MO.log_softmax(1)).sum(1), is_known_M) / len(stack.questions)
        mean_O, spread_O = _mean_and_spread((drawn_MO + leaning_MO).softmax(1), is_known_M)
        wanted_mean_O, wanted_spread_O = _mean_and_spread(target_MO, is_known_M)
        gap_O, spread_gap_O = mean_O - wanted_mean_O, spread_O - wanted_spread_O
        total = total + 10 * (gap_O**2 + spread_gap_O**2).sum() / len(stack.questions)
    return total


def _option_losses(
    model: LSM, stack: StackedPanel, window: Window, asked: StackedQuestion, counts_N: Tensor, offset_MO: Tensor
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """Cross-entropy of plain and of anchored answers; the ranked score of plain ones where options are ordered; the
    squared gap between the shares of anchored answers and of the teacher's, mean over scenarios and timesteps."""
    target_TMO = asked.probability_TMO[window.timesteps]
    is_known_TM = counted_answers(asked, counts_N)[window.timesteps]
    target_TMO = target_TMO.nan_to_num()
    logits_TMO = read_logits(model, window, asked)
    weight_TM = _rare_weight(target_TMO, is_known_TM)
    plain, anchored = (
        _mean(-(target_TMO * log_TMO).sum(2) * weight_TM, is_known_TM)
        for log_TMO in (logits_TMO.log_softmax(2), (logits_TMO + offset_MO).log_softmax(2))
    )
    scenario_M = stack.scenario_of(asked.agents_M)
    ours, theirs = (
        share_path(answers_TMO, is_known_TM, scenario_M, stack.num_copies).mean_TSO
        for answers_TMO in ((logits_TMO + offset_MO).softmax(2), target_TMO)
    )
    squares_TS = ((ours - theirs) ** 2).sum(2)  # NaN where a question has no counted answer
    shares = squares_TS.nansum() / (~squares_TS.isnan()).sum().clamp(min=1)
    if not asked.question.is_ordinal:
        return plain, anchored, None, shares
    gap_TMO = (logits_TMO.softmax(2) - target_TMO).cumsum(2)[..., :-1]
    return plain, anchored, _mean((gap_TMO**2).mean(2) * weight_TM, is_known_TM), shares


def _mean_and_spread(answers_MO: Tensor, is_counted_M: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over the counted agents, each [O]; the latter differentiable where nobody differs."""
    weight_M1 = (is_counted_M / is_counted_M.sum().clamp(min=1))[:, None]
    mean_O = (weight_M1 * answers_MO).sum(0)
    return mean_O, ((weight_M1 * (answers_MO - mean_O) ** 2).sum(0) + 1e-6).sqrt()


def _rare_weight(target_TMO: Tensor, is_known_TM: Tensor) -> Tensor:
    """Weight per answer with mean 1 over the known ones, larger where the answer is rare."""
    share_O = target_TMO[is_known_TM].mean(0).clamp(min=0.01) if bool(is_known_TM.any()) else target_TMO[0, 0] + 1
    weight_TM = target_TMO @ share_O**-RARE_POWER
    return weight_TM / _mean(weight_TM, is_known_TM).clamp(min=1e-6)


def _squared(value_TN: Tensor, target_TN: Tensor, counts_N: Tensor) -> Tensor:
    return _mean((value_TN - target_TN.nan_to_num()) ** 2, counts_N & ~target_TN.isnan())


def _mean(value: Tensor, is_counted: Tensor) -> Tensor:
    return (value * is_counted).sum() / is_counted.sum().clamp(min=1)
