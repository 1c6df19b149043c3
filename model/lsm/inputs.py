"""What a rollout is given and what it hands back at every timestep: frozen tensors, checked once when they are made.

    InputError   a tensor has the wrong shape, type or range; the message names the field, what was found and allowed

Legend: N agents, E ties, V events, O options, D text dimensions, K channels, U latent, X expression.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from model.kernels.social_attention import sort_by_source
from model.lsm.hysteresis import lower_level

SLACK = 1e-3
"""How far a number may lie beyond its range: sums round, and finite differences step over its ends."""
NEVER = 2**31
"""Start of an event that has not begun: trigger events wait there until their trigger fires."""


INTEGERS = {
    "offsets_N1": (torch.int64,),
    "src_E": (torch.int32, torch.int64),
    "tie_type_E": (torch.uint8, torch.int64),
}
"""Types that the integer fields of a graph may have; the narrow ones need a quarter of the memory."""


class InputError(ValueError):
    """An input of the engine cannot be used."""


def _expect(is_valid: bool, where: str, found: object, allowed: str) -> None:
    if not is_valid:
        raise InputError(f"{where} is {found}; allowed: {allowed}.")


@dataclass(frozen=True, eq=False)
class SocialGraph:
    """Typed ties between agents, sorted by receiver: the in-ties of agent i are rows offsets[i] to offsets[i + 1].

    Attributes:
        offsets_N1: int64 [N + 1], from 0 to E, never falling.
        src_E: int32 or int64 [E], the agent that speaks; int32 is what the kernels read.
        tie_type_E: uint8 or int64 [E], 0 … 3 in the order household, friend, professional, weak.
        strength_E: float [E], trust of the receiver in the speaker, above 0; may carry gradient.
        speakers: agents that may be heard, where they are more than those that listen: a part of a society that is
            spread over several processes hears neighbours from outside. None for the listeners themselves.

    Raises:
        InputError: lengths disagree, offsets fall, or an entry is out of range.
    """

    offsets_N1: Tensor
    src_E: Tensor
    tie_type_E: Tensor
    strength_E: Tensor
    speakers: int | None = None

    def __post_init__(self) -> None:
        offsets, num_ties = self.offsets_N1, len(self.src_E)
        for name, allowed in INTEGERS.items():
            dtype = getattr(self, name).dtype
            _expect(dtype in allowed, f"SocialGraph.{name}.dtype", dtype, " or ".join(str(kind) for kind in allowed))
        _expect(offsets.ndim == 1 and len(offsets) >= 1, "SocialGraph.offsets_N1", list(offsets.shape), "shape [N + 1]")
        for name in ("tie_type_E", "strength_E"):
            shape = list(getattr(self, name).shape)
            _expect(shape == [num_ties], f"The shape of SocialGraph.{name}", shape, f"[{num_ties}], as src_E")
        ends = (int(offsets[0]), int(offsets[-1]))
        _expect(ends == (0, num_ties), "First and last of SocialGraph.offsets_N1", ends, f"(0, {num_ties})")
        _expect(bool((offsets.diff() >= 0).all()), "SocialGraph.offsets_N1", "falling somewhere", "never falling")
        if num_ties:
            reach = (int(self.src_E.min()), int(self.src_E.max()))
            _expect(
                reach[0] >= 0 and reach[1] < self.num_speakers,
                "The range of SocialGraph.src_E",
                reach,
                f"0 … {self.num_speakers - 1}",
            )
            _expect(int(self.tie_type_E.min()) >= 0, "SocialGraph.tie_type_E", "negative somewhere", "0 or more")
            is_positive = bool((self.strength_E > 0).all() and torch.isfinite(self.strength_E).all())
            _expect(is_positive, "SocialGraph.strength_E", "zero, negative or not finite somewhere", "above 0")

    @property
    def num_agents(self) -> int:
        """Agents of the graph, with or without ties."""
        return len(self.offsets_N1) - 1

    @property
    def num_speakers(self) -> int:
        """Agents that may be heard."""
        return self.num_agents if self.speakers is None else self.speakers

    @property
    def num_ties(self) -> int:
        """Directed ties of the graph."""
        return len(self.src_E)

    @cached_property
    def highest_tie_type(self) -> int:
        """The highest type of a tie; −1 without ties."""
        return int(self.tie_type_E.max()) if self.num_ties else -1

    @property
    def log_strength_E(self) -> Tensor:
        """float [E], logarithm of the trust in each tie; kept, unless it carries gradient."""
        return self.strength_E.log() if self.strength_E.requires_grad else self._log_strength_E

    @cached_property
    def _log_strength_E(self) -> Tensor:
        return self.strength_E.log()

    @cached_property
    def has_ties_N(self) -> Tensor:
        """bool [N], whether the agent hears anybody."""
        return self.offsets_N1.diff() > 0

    @cached_property
    def by_source(self) -> tuple[Tensor, Tensor]:
        """Order [E] that sorts ties by speaker, and the speakers' offsets [speakers + 1] in that order."""
        return sort_by_source(self.src_E, self.num_speakers)

    def in_ties(self, agents: slice, rows_R: Tensor | None = None) -> "InTies":
        """The ties by which a block of agents hears, or those of some of its rows that hold all of its ties."""
        offsets_B1 = self.offsets_N1[agents.start : agents.stop + 1]
        first, last = int(offsets_B1[0]), int(offsets_B1[-1])
        offsets_B1 = offsets_B1 - first
        if rows_R is not None:
            ends_R = offsets_B1[1:].index_select(0, rows_R)
            offsets_B1 = torch.cat([offsets_B1[:1], ends_R])
        return InTies(slice(first, last), offsets_B1, self.src_E[first:last], self.tie_type_E[first:last])

    def to(self, device: torch.device | str) -> "SocialGraph":
        """The same graph on another device."""
        tensors = (self.offsets_N1, self.src_E, self.tie_type_E, self.strength_E)
        return SocialGraph(*(tensor.to(device) for tensor in tensors), speakers=self.speakers)


class InTies(NamedTuple):
    """The ties of a block of listeners: their place among all ties, offsets within them, speakers and types."""

    place: slice
    offsets_B1: Tensor
    src_E: Tensor
    tie_type_E: Tensor


def empty_graph(num_agents: int) -> SocialGraph:
    """A graph without ties."""
    none = torch.zeros(0, dtype=torch.int64)
    return SocialGraph(torch.zeros(num_agents + 1, dtype=torch.int64), none, none, torch.zeros(0))


@dataclass(frozen=True, eq=False)
class Timeline:
    """The events of a scenario, trigger events included, and whom each reaches.

    Attributes:
        embedding_VD: float [V, D], text and framing.
        valence_V: float [V], −1 … 1, push towards options with score +1 (+) or −1 (−).
        credibility_V: float [V], 0 … 1.
        source_type_V: int64 [V], kind of speaker.
        start_V: int64 [V], first active timestep, 1 or later; NEVER for a trigger event.
        duration_V: int64 [V], timesteps for which the event stays active, 1 or more.
        exposure_VN: bool or float [V, N], whom the event reaches; a fraction is a soft exposure and carries gradient.
        delay_V: float [V], timesteps by which each event comes later (below 0: earlier) than `start_V` says; None for
            none. Between whole numbers an event is partly active: the soft schedule interpolates the schedules of the
            two whole delays beside it, so that outcomes are differentiable in time. At a whole delay the gradient is
            that of delaying further. What of an event falls before timestep 1 is lost.

    Raises:
        InputError: shapes disagree, a number is not finite or out of range, or an event starts before timestep 1.
    """

    embedding_VD: Tensor
    valence_V: Tensor
    credibility_V: Tensor
    source_type_V: Tensor
    start_V: Tensor
    duration_V: Tensor
    exposure_VN: Tensor
    delay_V: Tensor | None = None

    def __post_init__(self) -> None:
        num_events = self.num_events
        for name in ("valence_V", "credibility_V", "source_type_V", "start_V", "duration_V"):
            shape = list(getattr(self, name).shape)
            _expect(shape == [num_events], f"The shape of Timeline.{name}", shape, f"[{num_events}], as embedding_VD")
        shape = list(self.exposure_VN.shape)
        _expect(
            len(shape) == 2 and shape[0] == num_events,
            "The shape of Timeline.exposure_VN",
            shape,
            f"[{num_events}, number of agents]",
        )
        for name in ("embedding_VD", "valence_V", "credibility_V", "exposure_VN"):
            is_finite = bool(torch.isfinite(getattr(self, name)).all())
            _expect(is_finite, f"Timeline.{name}", "not finite somewhere", "finite numbers")
        for name, low in (("valence_V", -1), ("credibility_V", 0)):
            values_V = getattr(self, name).detach()
            is_within = bool(((values_V >= low - SLACK) & (values_V <= 1 + SLACK)).all())
            _expect(is_within, f"Timeline.{name}", f"beyond {low} … 1 somewhere", f"{low} … 1")
        is_share = bool(((self.exposure_VN >= 0) & (self.exposure_VN <= 1)).all())
        _expect(is_share, "Timeline.exposure_VN", "below 0 or above 1 somewhere", "0 … 1")
        if num_events:
            first, shortest = int(self.start_V.min()), int(self.duration_V.min())
            _expect(first >= 1, "The earliest Timeline.start_V", first, "1 or later; 0 is the state before any event")
            _expect(shortest >= 1, "The shortest Timeline.duration_V", shortest, "1 or more")
        if self.delay_V is not None:
            shape = list(self.delay_V.shape)
            _expect(shape == [num_events], "The shape of Timeline.delay_V", shape, f"[{num_events}], as embedding_VD")
            is_finite = bool(torch.isfinite(self.delay_V).all())
            _expect(is_finite, "Timeline.delay_V", "not finite somewhere", "finite numbers of timesteps")

    @property
    def num_events(self) -> int:
        """Events, trigger events included."""
        return len(self.embedding_VD)

    @cached_property
    def source_types(self) -> tuple[int, int]:
        """The lowest and the highest kind of speaker; (0, −1) without events."""
        return (int(self.source_type_V.min()), int(self.source_type_V.max())) if self.num_events else (0, -1)

    def active(self, timestep: int) -> Tensor:
        """int64 indices of the events that are active: start ≤ timestep < start + duration, or partly so."""
        activity_V = self.activity(timestep)
        return torch.nonzero(self._is_on(timestep) if activity_V is None else activity_V > 0).squeeze(1)

    def touched(self, timestep: int) -> Tensor:
        """Those and the events that would be active were they delayed a little more: activity 0 with a derivative."""
        return torch.nonzero(self._is_on(timestep) | self._is_on(timestep, later=1)).squeeze(1)

    def begun(self, timestep: int) -> list[int]:
        """Events that have begun."""
        return torch.nonzero(self.start_V + self._whole_delay_V() <= timestep)[:, 0].tolist()

    def activity(self, timestep: int | Tensor) -> Tensor | None:
        """float [V], 0 … 1, how far each event is active; None without delays, where an event is active or is not."""
        if self.delay_V is None:
            return None
        part_V = self.delay_V - self.delay_V.detach().floor()
        now_V, later_V = (self._is_on(timestep, later=later).to(part_V) for later in (0, 1))
        return now_V * (1 - part_V) + later_V * part_V

    def to(self, device: torch.device | str) -> "Timeline":
        """The same timeline on another device."""
        return self._with(lambda tensor: tensor.to(device))

    def of_agents(self, agents_N: Tensor) -> "Timeline":
        """The same events for some of the agents."""
        return replace(self, exposure_VN=self.exposure_VN[:, agents_N])

    def _with(self, change: Callable[[Tensor], Tensor]) -> "Timeline":
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: change(value) for name, value in values.items() if value is not None})

    def _whole_delay_V(self) -> Tensor:
        return torch.zeros_like(self.start_V) if self.delay_V is None else self.delay_V.detach().floor().long()

    def _is_on(self, timestep: int | Tensor, later: int = 0) -> Tensor:
        """Whether each event is active when delayed by whole timesteps; `later` only counts where there are delays."""
        start_V = self.start_V + self._whole_delay_V() + (later if self.delay_V is not None else 0)
        return (start_V <= timestep) & (timestep < start_V + self.duration_V)


def empty_timeline(num_agents: int, text_dim: int) -> Timeline:
    """A timeline without events."""
    none, none_float = torch.zeros(0, dtype=torch.int64), torch.zeros(0)
    exposure_VN = torch.zeros(0, num_agents, dtype=torch.bool)
    return Timeline(torch.zeros(0, text_dim), none_float, none_float, none, none, none, exposure_VN)


def check_codes(graph: SocialGraph, timeline: Timeline, num_tie_types: int, num_source_types: int) -> None:
    """Says where types of ties or kinds of speakers are not those that a student knows.

    A device is asked once per graph and timeline, not at every timestep.

    Raises:
        InputError: there is such a code.
    """
    ranges = {
        "SocialGraph.tie_type_E": ((0, graph.highest_tie_type), num_tie_types),
        "Timeline.source_type_V": (timeline.source_types, num_source_types),
    }
    for name, ((lowest, highest), number) in ranges.items():
        allowed = f"0 … {number - 1}, as the model's config says"
        _expect(lowest >= 0 and highest < number, f"The range of {name}", (lowest, highest), allowed)


@dataclass(frozen=True, eq=False)
class Question:
    """A question that agents can be asked: a decision or a survey item, seen or unseen in training.

    Attributes:
        embedding_D: float [D], wording of the question.
        option_embeddings_OD: float [O, D], wording of each option.
        option_scores_O: float [O], position of each option on −1 … 1.
        is_ordinal: whether the options are ordered by their scores.

    Raises:
        InputError: fewer than two options, shapes disagree, or a number is not finite.
    """

    question_id: str
    embedding_D: Tensor
    option_embeddings_OD: Tensor
    option_scores_O: Tensor
    is_ordinal: bool

    def __post_init__(self) -> None:
        where = f"of question {self.question_id}"
        shape = list(self.option_embeddings_OD.shape)
        _expect(
            len(shape) == 2 and shape[0] >= 2 and shape[1:] == list(self.embedding_D.shape),
            f"The shape of option_embeddings_OD {where}",
            shape,
            f"[2 options or more, {len(self.embedding_D)} text dimensions]",
        )
        shape_scores = list(self.option_scores_O.shape)
        _expect(shape_scores == shape[:1], f"The shape of option_scores_O {where}", shape_scores, f"{shape[:1]}")
        for name in ("embedding_D", "option_embeddings_OD", "option_scores_O"):
            is_finite = bool(torch.isfinite(getattr(self, name)).all())
            _expect(is_finite, f"{name} {where}", "not finite somewhere", "finite numbers")

    @property
    def num_options(self) -> int:
        """Options to choose from."""
        return len(self.option_scores_O)


@dataclass(frozen=True)
class Trigger:
    """Starts an event when the population's share of an option has stayed above a threshold.

    The event starts one timestep after the share has been above `share_above` for `hold_for` timesteps in a row. It
    fires again only after the share has fallen to `rearm_below` in between; None for nine tenths of `share_above`.

    Raises:
        InputError: the threshold is no fraction, the lower level lies above it, or hold_for is below 1.
    """

    event_index: int
    question_index: int
    option_index: int
    share_above: float
    hold_for: int
    rearm_below: float | None = None

    def __post_init__(self) -> None:
        _expect(0.0 <= self.share_above <= 1.0, "Trigger.share_above", self.share_above, "0 … 1")
        is_lower = 0.0 <= self.rearms_at <= self.share_above
        _expect(is_lower, "Trigger.rearm_below", self.rearm_below, f"0 … {self.share_above}, its share_above")
        _expect(self.hold_for >= 1, "Trigger.hold_for", self.hold_for, "1 or more timesteps")

    @property
    def rearms_at(self) -> float:
        """The share to which it must fall before the trigger may fire again."""
        return lower_level(self.share_above, self.rearm_below)


@dataclass(frozen=True, eq=False)
class StepRecord:
    """What is known of every agent after one timestep.

    Attributes:
        timestep: 0 for the initial state.
        channels_NK: −1 … 1.
        latent_NU: −1 … 1.
        conviction_N: 0 … 1.
        expression_NX: −1 … 1, what the agent broadcasts.
        option_probabilities: [N, O] per question, rows sum to one; empty when no question was asked.
        exposed_N: bool, whether any active event reached the agent.
        salience_N: 0 … 1, how strongly the timestep will be remembered; 0 for agents whom nothing reached.
        episode_event_N: int64, the event behind the timestep's episode; −1 when peers, or nothing, made it.
        appraisal_N: −1 … 1, how the timestep was taken; 0 for agents whom nothing reached.
        public_stance_N: −1 … 1, what the agent's expression says to others.
        active_V: int64 indices of the events that were active.
    """

    timestep: int
    channels_NK: Tensor
    latent_NU: Tensor
    conviction_N: Tensor
    expression_NX: Tensor
    option_probabilities: Sequence[Tensor]
    exposed_N: Tensor
    salience_N: Tensor
    episode_event_N: Tensor
    appraisal_N: Tensor
    public_stance_N: Tensor
    active_V: Tensor
