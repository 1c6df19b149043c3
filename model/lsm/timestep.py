"""One timestep for every agent: in blocks, skipping whom nothing reaches, or in one piece without asking the device.

Legend: N agents, V events, X expression, S speakers, E ties, B agents of a block, R agents of a block whom anything
reaches.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from model.lsm import fused
from model.lsm.blocks import block_size, take_in, without_constants
from model.lsm.inputs import InputError, InTies, SocialGraph, Timeline, check_codes
from model.lsm.packed import Packed
from model.lsm.state import Joined, Perception, State, nothing_perceived, place_rows

if TYPE_CHECKING:
    from model.lsm.lsm import LSM


@dataclass(frozen=True, eq=False)
class Step:
    """What all blocks of a timestep have in common: numbers that the host must know are asked for here, once.

    `timestep` is a whole number, or a tensor of one where the device alone shall know it. `packed` is what the fused
    kernels need, where they compute the timestep.
    """

    timeline: Timeline
    timestep: int | Tensor
    events: tuple[Tensor, Tensor]
    active: list[tuple[int, int]]
    begun: list[int]
    graph: SocialGraph
    expression_SX: Tensor
    stored_SX: Tensor
    packed: Packed | None


def plan(
    model: "LSM",
    state: State,
    graph: SocialGraph,
    timeline: Timeline,
    timestep: int,
    expression_SX: Tensor,
    *,
    is_fused: bool = True,
) -> Step:
    """What a timestep is made of; `expression_SX` is what all speakers broadcast before it."""
    events = model.exposure.describe_events(timeline)
    active = [(event, int(timeline.source_type_V[event])) for event in timeline.touched(timestep).tolist()]
    begun = timeline.begun(timestep)
    return Step(
        timeline=timeline,
        timestep=timestep,
        events=events,
        active=active,
        begun=begun,
        packed=fused.packed_for(model, state, timeline, events, active, begun) if is_fused else None,
        graph=graph,
        expression_SX=expression_SX,
        stored_SX=model.social.stored(expression_SX),
    )


def advance(
    model: "LSM",
    state: State,
    graph: SocialGraph,
    timeline: Timeline,
    timestep: int,
    *,
    agents_per_block: int | None = None,
    expression_SX: Tensor | None = None,
    is_fused: bool = True,
) -> tuple[State, Perception]:
    """The next state and what the timestep did to each agent, without asking anything: the method `LSM.advance`.

    Agents whom neither events, peers nor memories reach are skipped where no gradient is asked for: computing them
    would leave every bit of their state as it is. On a graphics processor the kernels of `fused.py` compute whatever
    they know.

    Args:
        model: the student.
        state: and the following, as for `LSM.step`.
        graph: ties between the agents.
        timeline: events.
        timestep: 1 or later.
        agents_per_block: agents computed together, to bound memory; changes no bit of the result.
        expression_SX: what all speakers of the graph broadcast, where they are more than the agents of the state.
        is_fused: whether fused kernels may compute it; without them it runs one operation at a time.

    Raises:
        InputError: state, graph, timeline and speakers do not fit together, or the student.
    """
    num_agents = state.num_agents
    if graph.num_agents != num_agents or timeline.exposure_VN.shape[1] != num_agents:
        raise InputError(
            f"The state has {num_agents} agents, the graph {graph.num_agents}, the timeline "
            f"{timeline.exposure_VN.shape[1]}; allowed: one population for all three."
        )
    expression_SX = state.expression_NX if expression_SX is None else expression_SX
    if len(expression_SX) != graph.num_speakers:
        raise InputError(f"{len(expression_SX)} speakers are heard; allowed: {graph.num_speakers}, as the graph says.")
    check_codes(graph, timeline, model.config.num_tie_types, model.config.num_source_types)
    step = plan(model, state, graph, timeline, timestep, expression_SX, is_fused=is_fused)
    if step.packed is not None:
        return fused.advance(model, state, step, agents_per_block or fused.AGENTS_PER_BLOCK)
    trust_E = trust_before(model, state, graph)
    size = block_size(agents_per_block, num_agents, state.channels_NK.device)
    states, perceptions = Joined[State](num_agents), Joined[Perception](num_agents)
    trusts: list[Tensor] = []
    for first in range(0, num_agents, size) if num_agents else (0,):
        agents = slice(first, min(first + size, num_agents))
        block = state if size >= num_agents else state.select(agents)
        rows_R = _rows_to_move(model, block, step, agents)
        in_ties = graph.in_ties(agents, rows_R)
        if rows_R is None:
            after, perception = _move(model, block, step, agents, in_ties, trust_E)
        elif len(rows_R) == 0:
            after, perception = block, nothing_perceived(block.num_agents, model.exposure.null_score)
        else:
            moved, felt = _move(model, block.select(rows_R), step, agents.start + rows_R, in_ties, trust_E)
            after = place_rows(moved, block, rows_R)
            perception = place_rows(felt, nothing_perceived(block.num_agents, model.exposure.null_score), rows_R)
        if model.trust is not None:
            own_BX = block.expression_NX if rows_R is None else block.expression_NX[rows_R]
            trusts.append(_trust_after(model, own_BX, step, in_ties, trust_E))
        states.add(agents, without_constants(after))
        perceptions.add(agents, perception)
    after = replace(
        states.result(),
        identity_NZ=state.identity_NZ,
        leaning_NA=state.leaning_NA,
        trust_E=torch.cat(trusts) if trusts else trust_E,
    )
    return after, perceptions.result()


def move_everybody(model: "LSM", state: State, step: Step, in_ties: InTies) -> tuple[State, Perception]:
    """The same in one piece for every agent, reached or not: the same bits, and nothing is asked of the device.

    Args:
        model: the student.
        state: state after the timestep before; it holds trust in every tie where trust evolves.
        step: from `plan`; its timestep may be a tensor where the timeline has no delays.
        in_ties: all ties of the graph.
    """
    if step.packed is not None:
        return fused.advance_everybody(model, state, step, in_ties)
    after, perception = _move(model, state, step, slice(0, state.num_agents), in_ties, state.trust_E)
    if model.trust is None:
        return after, perception
    return replace(after, trust_E=_trust_after(model, state.expression_NX, step, in_ties, state.trust_E)), perception


def trust_before(model: "LSM", state: State, graph: SocialGraph) -> Tensor:
    """Change of the logarithm of trust in every tie so far, [E]; empty where trust does not evolve.

    Raises:
        InputError: the state comes from another graph.
    """
    if model.trust is None or (len(state.trust_E) == 0 and graph.num_ties == 0):
        return state.trust_E
    if len(state.trust_E) == 0:
        return model.exposure.null_score.detach().new_zeros(graph.num_ties)
    if len(state.trust_E) != graph.num_ties:
        raise InputError(
            f"The state holds trust in {len(state.trust_E)} ties, the graph has {graph.num_ties}; allowed: the "
            "graph that the rollout began with."
        )
    return state.trust_E


def _trust_after(model: "LSM", own_BX: Tensor, step: Step, in_ties: InTies, trust_E: Tensor) -> Tensor:
    assert model.trust is not None, "trust evolves"
    return model.trust(trust_E[in_ties.place], in_ties, own_BX.to(trust_E), step.expression_SX.to(trust_E))


def _rows_to_move(model: "LSM", block: State, step: Step, agents: slice) -> Tensor | None:
    """Numbers within the block of the agents whom anything reaches; None for everybody.

    With gradient everybody is computed, since an audience that does not reach an agent has a derivative there.
    """
    if torch.is_grad_enabled() or not model.config.rests_when_unreached:
        return None
    is_reached_B = _hears_peers(model, step.graph, agents)
    if bool(is_reached_B.all()):
        return None
    for event, _ in step.active if model.config.use_exposure else ():
        is_reached_B = is_reached_B | (step.timeline.exposure_VN[event, agents] > 0)
    if model.config.use_episodes:
        salience_BM = block.episodes.salience_NM.to(model.precision)
        is_reached_B = is_reached_B | (salience_BM > model.config.salience_threshold).any(1)
    return None if bool(is_reached_B.all()) else torch.nonzero(is_reached_B)[:, 0]


def _move(
    model: "LSM", block: State, step: Step, agents: slice | Tensor, in_ties: InTies, trust_E: Tensor
) -> tuple[State, Perception]:
    """The next state of a block of agents, given by slice or number, and what the timestep did to them."""
    block = model.widened(block)
    mind_BC = torch.cat([block.channels_NK, block.latent_NU], 1)
    heard = model.exposure(
        step.timeline,
        step.timestep,
        step.events,
        step.active,
        agents,
        block.identity_NZ,
        block.channels_NK,
        block.topic_P,
    )
    strength_BM = model.episodic.strength(block.episodes, step.timestep)
    message_BF = model.social(
        step.graph,
        in_ties,
        step.stored_SX,
        torch.cat([block.identity_NZ, mind_BC], 1),
        trust_E[in_ties.place] if model.trust is not None else None,
    )
    recalled_BF, recall_B = model.episodic.recall(block.episodes, strength_BM, step.begun, step.events[1], mind_BC)
    peers_B = _hears_peers(model, step.graph, agents).to(heard.exposure_N)
    received_B = 1 - (1 - peers_B) * (1 - heard.exposure_N)
    taken_in = take_in(block, mind_BC, (heard.message_NF, message_BF, recalled_BF))
    perception = model.appraisal(taken_in.mind_BI, received_B, heard.exposure_N > 0, heard.top_event_N)
    reached_B = torch.ones_like(peers_B)
    if model.config.rests_when_unreached:
        reached_B = 1 - (1 - received_B) * (1 - recall_B)
    channels_BK, latent_BU = model.transition(taken_in.all_BI, block.channels_NK, block.latent_NU, reached_B)
    channels_BK, latent_BU = model.rounded(channels_BK), model.rounded(latent_BU)
    conviction_B, expression_BX = model.expression(channels_BK, latent_BU)
    is_kept = not model.config.use_memory
    after = replace(
        block,
        channels_NK=channels_BK,
        latent_NU=latent_BU,
        memory_NS=block.memory_NS if is_kept else model.memory(taken_in.messages_BF, block.memory_NS, reached_B),
        conviction_N=conviction_B,
        expression_NX=expression_BX,
        episodes=model.episodic.store(block.episodes, strength_BM, step.timestep, perception),
    )
    return model.kept(after), perception


def _hears_peers(model: "LSM", graph: SocialGraph, agents: slice | Tensor) -> Tensor:
    has_ties_B = graph.has_ties_N[agents]
    return has_ties_B if model.config.use_graph else torch.zeros_like(has_ties_B)
