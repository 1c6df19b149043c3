"""Timesteps that repeat, recorded once as a CUDA graph and replayed: one start instead of some three hundred.

With few agents a graphics processor waits for the host to start the next operation. What a timestep starts depends on
which events are active and which have begun alone; everything else is numbers in memory. The first timestep of a kind
runs plainly, the second is recorded, and the following are replayed, whatever the state and the timestep. Everybody is
computed, reached or not, which leaves every bit as it is (`timestep.move_everybody`). The recording itself has not been
run on a device yet.

Source: CUDA C++ programming guide, section on CUDA graphs: capture of a stream, then launches of the whole.

Legend: N agents, E ties, S speakers, X expression.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from model.lsm.inputs import InTies, SocialGraph, Timeline
from model.lsm.lsm import LSM
from model.lsm.state import Episodes, Perception, State, map_tensors, nothing_perceived
from model.lsm.timestep import move_everybody, plan, trust_before

logger = logging.getLogger(__name__)

MOST_AGENTS = 262_144
"""With more agents the device is busy for longer than the host takes to start its work (`benchmarks/NOTES.md`)."""

UNCHANGING = ("identity_NZ", "topic_P", "leaning_NA")

Body = Callable[[], None]
Kind = tuple[tuple[int, ...], tuple[int, ...]]
"""Events that are active, and events that have begun."""


@dataclass(frozen=True)
class _Recording:
    """What replays a timestep, and the body that it was made of: it owns the memory that the replay reads."""

    replay: Body
    body: Body


class CapturedTimesteps:
    """The timesteps of one rollout without gradient, of agents who are all there are.

    State and perception lie in memory that every recording reads and writes; what `advance` hands out is a copy.

    Args:
        model: the student.
        graph: ties between the agents.
        record: makes a call that repeats what a function does with memory; a CUDA graph when left out.
    """

    def __init__(self, model: LSM, graph: SocialGraph, record: Callable[[Body], Body] | None = None) -> None:
        self.model = model
        self.graph = graph
        self.num_recorded = 0
        self._record = _on_device() if record is None else record
        self._recorded: dict[Kind, _Recording | None] = {}
        self._memory: _Memory | None = None
        self._has_failed = False

    def fits(self, state: State, timeline: Timeline) -> bool:
        """Whether timesteps of this rollout can be recorded, and recording them can pay."""
        return not self._has_failed and state.num_agents <= MOST_AGENTS and timeline.delay_V is None

    def advance(self, state: State, timeline: Timeline, timestep: int) -> tuple[State, Perception]:
        """The next state and what the timestep did to each agent, as `LSM.advance` gives them.

        All calls are about one timeline, of which nothing but the starts of events may have changed in between. All
        agents are computed together, whatever was asked for to bound memory: they are few.
        """
        kind = (tuple(timeline.touched(timestep).tolist()), tuple(timeline.begun(timestep)))
        if kind not in self._recorded:
            self._recorded[kind] = None
            return self.model.advance(state, self.graph, timeline, timestep)
        if self._memory is None:
            self._memory = _Memory(self.model, self.graph, state)
        memory, recorded = self._memory, self._recorded[kind]
        if recorded is None:
            body = memory.body_of(timeline, timestep)
            try:
                recorded = _Recording(self._record(body), body)
            except RuntimeError as error:
                self._has_failed = True
                logger.warning("Timesteps run one operation at a time: they could not be recorded (%s).", error)
                return self.model.advance(state, self.graph, timeline, timestep)
            self._recorded[kind] = recorded
            self.num_recorded += 1
        memory.load(state, timestep)
        recorded.replay()
        return memory.hand_out(state)


class _Memory:
    """State, perception and timestep at places that recordings know."""

    def __init__(self, model: LSM, graph: SocialGraph, state: State) -> None:
        self.model, self.graph = model, graph
        state = replace(state, trust_E=trust_before(model, state, graph))
        self.state = map_tensors(state, torch.clone, keep=UNCHANGING)
        nothing = nothing_perceived(state.num_agents, model.exposure.null_score.detach())
        self.perception = map_tensors(nothing, torch.clone)
        self.timestep = torch.zeros((), dtype=torch.int32, device=state.channels_NK.device)
        self.in_ties: InTies = graph.in_ties(slice(0, state.num_agents))

    def body_of(self, timeline: Timeline, timestep: int) -> Body:
        """A timestep like this one, from memory to memory."""
        planned = plan(self.model, self.state, self.graph, timeline, timestep, self.state.expression_NX)
        expression_NX = self.state.expression_NX

        def body() -> None:
            stored_NX = self.model.social.stored(expression_NX)
            step = replace(planned, timestep=self.timestep, stored_SX=stored_NX)
            after, perception = move_everybody(self.model, self.state, step, self.in_ties)
            _write(after, self.state)
            _write(perception, self.perception)

        return body

    def load(self, state: State, timestep: int) -> None:
        """Puts the state after the timestep before at its place."""
        _write(replace(state, trust_E=trust_before(self.model, state, self.graph)), self.state)
        self.timestep.fill_(timestep)

    def hand_out(self, before: State) -> tuple[State, Perception]:
        """Copies of what a replay left, with what never changes as it was."""
        after = map_tensors(self.state, torch.clone, keep=UNCHANGING)
        constants = {name: getattr(before, name) for name in UNCHANGING}
        return replace(after, **constants), map_tensors(self.perception, torch.clone)


def _write(record: State | Perception, memory: State | Perception) -> None:
    for source, target in zip(_changing(record), _changing(memory), strict=True):
        target.copy_(source)


def _changing(record: State | Perception | Episodes) -> Iterator[Tensor]:
    for field in fields(record):
        value = getattr(record, field.name)
        if isinstance(value, Episodes):
            yield from _changing(value)
        elif field.name not in UNCHANGING:
            yield value


def _on_device() -> Callable[[Body], Body]:
    """Records as CUDA graphs that share their working memory, since no two of them run at a time."""
    pool = torch.cuda.graph_pool_handle()

    def record(body: Body) -> Body:
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            body()
        torch.cuda.current_stream().wait_stream(aside)
        recorded = torch.cuda.CUDAGraph()
        with torch.cuda.graph(recorded, pool=pool):
            body()
        return recorded.replay

    return record
