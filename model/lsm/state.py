"""The state of every agent between two timesteps, and what a timestep did to it.

Legend: N agents, Z identity, P topic, K channels, U latent, S memory, X expression, M episode slots, A options of all
questions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

PEERS = -1
"""Event reference of an episode that other agents made."""


@dataclass(frozen=True, eq=False)
class Episodes:
    """Episodic memory; a slot with salience 0 is empty.

    Attributes:
        event_NM: int32, index of the event; PEERS where other agents made the episode.
        timestep_NM: int32, when it happened.
        salience_NM: 0 … 1.
        appraisal_NM: −1 … 1.
    """

    event_NM: Tensor
    timestep_NM: Tensor
    salience_NM: Tensor
    appraisal_NM: Tensor


@dataclass(frozen=True, eq=False)
class State:
    """State of all agents.

    Attributes:
        identity_NZ: static, from attributes.
        topic_P: what the scenario's questions are about, [P] for all agents alike, or [N, P] where agents of several
            scenarios lie side by side.
        channels_NK: anchored channels, −1 … 1.
        latent_NU: free latent, −1 … 1.
        memory_NS: running summary of what was taken in, −1 … 1.
        conviction_N: 0 … 1.
        expression_NX: what agents broadcast, −1 … 1.
        leaning_NA: what an agent's own leaning adds to the log-odds of each option of the scenario's questions, one
            question after the other; static. No columns where no question was known at the start.
        episodes: remembered episodes.
        trust_E: change of the logarithm of trust in each tie since the beginning, in the order of the graph's ties;
            empty at the beginning, and for ever where trust does not evolve.
    """

    identity_NZ: Tensor
    topic_P: Tensor
    channels_NK: Tensor
    latent_NU: Tensor
    memory_NS: Tensor
    conviction_N: Tensor
    expression_NX: Tensor
    leaning_NA: Tensor
    episodes: Episodes
    trust_E: Tensor

    @property
    def num_agents(self) -> int:
        """Agents of the state."""
        return len(self.channels_NK)

    def detach(self) -> "State":
        """The same values, cut off from the gradient: where backpropagation is truncated."""
        return map_tensors(self, lambda tensor: tensor.detach())

    def to(self, device: torch.device | str) -> "State":
        """The same state on another device."""
        return map_tensors(self, lambda tensor: tensor.to(device))

    def kept_as(self, dtype: torch.dtype) -> "State":
        """The same state with its numbers in another precision; topic and trust stay as they are."""
        return map_tensors(
            self, lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor, keep=("topic_P", "trust_E")
        )

    def select(self, index_N: Tensor | slice) -> "State":
        """The state of some agents, without trust: ties belong to the whole."""
        part = map_tensors(self, lambda tensor: tensor[index_N], keep=_shared(self))
        return replace(part, trust_E=self.trust_E[:0])


@dataclass(frozen=True, eq=False)
class Perception:
    """What one timestep did to each agent: see `StepRecord` for the meaning of the fields."""

    exposed_N: Tensor
    salience_N: Tensor
    episode_event_N: Tensor
    appraisal_N: Tensor


Record = TypeVar("Record", State, Perception, Episodes)


def map_tensors(record: Record, function: Callable[[Tensor], Tensor], *, keep: Sequence[str] = ()) -> Record:
    """The record with every tensor changed but those of the fields to keep."""
    changes = {}
    for field in fields(record):
        value = getattr(record, field.name)
        if field.name not in keep:
            changes[field.name] = map_tensors(value, function) if isinstance(value, Episodes) else function(value)
    return replace(record, **changes)


class Joined(Generic[Record]):
    """Blocks of agents put together in order; without gradient, each block is copied away as soon as it is made."""

    def __init__(self, num_agents: int) -> None:
        self.num_agents = num_agents
        self.whole: Record | None = None
        self.parts: list[Record] = []

    def add(self, agents: slice, part: Record) -> None:
        """Takes the next block; `agents` says which of all agents it holds."""
        num_here = agents.stop - agents.start
        if num_here == self.num_agents or torch.is_grad_enabled():
            self.parts.append(part)
            return
        if self.whole is None:
            shape = (self.num_agents,)
            self.whole = map_tensors(
                part, lambda tensor: tensor.new_empty(shape + tensor.shape[1:]), keep=_shared(part)
            )
        _copy(part, self.whole, agents)

    def result(self) -> Record:
        """All agents."""
        return self.whole if self.whole is not None else join_agents(self.parts)


def _copy(part: Record, whole: Record, agents: slice) -> None:
    shared = _shared(part)
    for field in fields(part):
        value = getattr(part, field.name)
        if isinstance(value, Episodes):
            _copy(value, getattr(whole, field.name), agents)
        elif field.name not in shared:
            getattr(whole, field.name)[agents] = value


def join_agents(parts: Sequence[Record]) -> Record:
    """Puts blocks of agents, or societies side by side, together in order."""
    first = parts[0]
    if len(parts) == 1:
        return first
    changes: dict[str, Any] = {}
    shared = _shared(first)
    for field in fields(first):
        values = [getattr(part, field.name) for part in parts]
        if field.name in shared and field.name != "trust_E":
            changes[field.name] = values[0]
        else:
            changes[field.name] = join_agents(values) if isinstance(values[0], Episodes) else torch.cat(values)
    return replace(first, **changes)


def _shared(record: object) -> tuple[str, ...]:
    """Fields that are not by agent."""
    if not isinstance(record, State):
        return ()
    return ("topic_P", "trust_E") if record.topic_P.ndim == 1 else ("trust_E",)


def place_rows(part: Record, whole: Record, rows_R: Tensor) -> Record:
    """The whole with some of its agents, given by number, as they are in the part."""
    shared = _shared(whole)
    changes: dict[str, Any] = {}
    for field in fields(whole):
        mine, theirs = getattr(part, field.name), getattr(whole, field.name)
        if isinstance(theirs, Episodes):
            changes[field.name] = place_rows(mine, theirs, rows_R)
        elif field.name not in shared:
            changes[field.name] = theirs.index_copy(0, rows_R, mine)
    return replace(whole, **changes)


def nothing_perceived(num_agents: int, like: Tensor) -> Perception:
    """The perception of timestep 0, where nothing has happened."""
    zeros_N = like.new_zeros(num_agents)
    return Perception(
        exposed_N=torch.zeros(num_agents, dtype=torch.bool, device=like.device),
        salience_N=zeros_N,
        episode_event_N=torch.full((num_agents,), PEERS, dtype=torch.int64, device=like.device),
        appraisal_N=zeros_N,
    )
