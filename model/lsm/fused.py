"""A timestep on a graphics processor as three kernels: what agents ask, social attention, and all that follows.

One operation after another would move some 35,000 bytes per agent; the kernels move about 3,800, ties included. What
they compute is what `timestep.py` computes, and agrees with it to rounding, not to the bit. Everybody is computed,
reached or not, and whom nothing reaches keeps every bit of the state.

Legend: N agents, B agents of a block, Q query, E ties.
"""

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from model.kernels.social_attention import timestep_kernels
from model.lsm.inputs import InTies, SocialGraph, Timeline
from model.lsm.packed import Packed
from model.lsm.state import Episodes, Perception, State

if TYPE_CHECKING:
    from model.lsm.lsm import LSM
    from model.lsm.timestep import Step

AGENTS_PER_BLOCK = 4_194_304
"""Between the kernels a block holds its queries and what it heard: 512 bytes per agent."""
AGENTS_PER_PROGRAM, WARPS = 64, 4
"""A warp group multiplies 64 rows at a time."""
WIDTHS = ("identity_dim", "memory_dim", "num_channels", "latent_dim", "message_dim", "hidden_dim", "num_episode_slots")
WIDEST = 128
"""A layer of more outputs or inputs does not fit into the registers of a program."""
FOR_ASKING = ("Z", "PZ", "PS", "K", "PK", "U", "PU", "Q", "PQ", "ALL")


def packed_for(
    model: "LSM",
    state: State,
    timeline: Timeline,
    events: tuple[Tensor, Tensor],
    active: Sequence[tuple[int, int]],
    begun: list[int],
) -> Packed | None:
    """What the kernels need beside the state; None where they do not know everything that this timestep is made of.

    They know no gradient, no delays, no evolving trust, no societies side by side with topics of their own, no student
    without events, memory, episodes, latent or conviction, and none much larger than the shipped one: such timesteps
    run one operation at a time, as they do without a device.
    """
    config = model.config
    is_whole = config.use_exposure and config.use_memory and config.use_episodes
    is_whole = is_whole and config.use_latent and config.use_conviction and model.trust is None
    is_plain = not torch.is_grad_enabled() and timeline.delay_V is None and state.topic_P.ndim == 1
    asked = config.num_heads * config.expression_dim
    is_small = max(asked, *(getattr(config, name) for name in WIDTHS)) <= WIDEST
    is_known = is_whole and is_plain and is_small and model.precision == torch.float32
    if not is_known or timestep_kernels(state.channels_NK) is None:
        return None
    return Packed.of(model, state.topic_P, timeline, events, active, begun)


def advance(
    model: "LSM", state: State, step: "Step", agents_per_block: int = AGENTS_PER_BLOCK
) -> tuple[State, Perception]:
    """The next state and what the timestep did to each agent.

    Args:
        model: the student.
        state: state after the timestep before, on the device.
        step: from `timestep.plan`, with what the kernels need.
        agents_per_block: agents whose queries exist at a time, to bound memory; changes no bit of the result.
    """
    after, perception = _room(model, state)
    for first in range(0, state.num_agents, agents_per_block):
        agents = slice(first, min(first + agents_per_block, state.num_agents))
        move(model, state, step, agents, step.graph.in_ties(agents), after, perception)
    return after, perception


def advance_everybody(model: "LSM", state: State, step: "Step", in_ties: InTies) -> tuple[State, Perception]:
    """The same in one piece: nothing is asked of the device, which may be recording."""
    after, perception = _room(model, state)
    move(model, state, step, slice(0, state.num_agents), in_ties, after, perception)
    return after, perception


@torch.no_grad()
def move(
    model: "LSM", state: State, step: "Step", agents: slice, in_ties: InTies, after: State, perception: Perception
) -> None:
    """Moves a block of agents: fills their rows of what comes after and of the perception."""
    packed, kernels = step.packed, timestep_kernels(state.channels_NK)
    assert packed is not None, "`packed_for` found that the kernels know this timestep"
    assert kernels is not None, "`packed_for` found the kernels"
    config, sizes, graph = model.config, packed.sizes, step.graph
    num_agents = agents.stop - agents.start
    grid = (-(-num_agents // AGENTS_PER_PROGRAM),)
    run: dict[str, Any] = {"AGENTS": AGENTS_PER_PROGRAM, "PRECISION": precision_of_products()}
    run |= {"num_warps": WARPS, "enable_fp_fusion": True}
    own = [tensor[agents] for tensor in (state.identity_NZ, state.channels_NK, state.latent_NU)]
    has_peers = config.use_graph and graph.num_ties > 0
    heard_BQ = packed.biases_C
    if has_peers:
        query_BQ = packed.biases_C.new_empty(num_agents, sizes["Q"])
        chosen = {name: sizes[name] for name in FOR_ASKING}
        kernels.ask[grid](*own, packed.layers_IC, packed.biases_C, query_BQ, num_agents, **chosen, **run)
        heard_BQ = _hear(model, graph, step, in_ties, query_BQ)
    exposure_VB = step.timeline.exposure_VN[:, agents]
    exposure_VB = exposure_VB.view(torch.uint8) if exposure_VB.dtype == torch.bool else exposure_VB
    assert exposure_VB.stride(1) == 1, "whom an event reaches lies side by side"
    kernels.move[grid](
        *own,
        *(tensor[agents] for tensor in _remembered(state)),
        heard_BQ,
        in_ties.offsets_B1,
        exposure_VB,
        *(tensor[agents] for tensor in (after.channels_NK, after.latent_NU, *_remembered(after))),
        perception.exposed_N[agents].view(torch.uint8),
        *(tensor[agents] for tensor in (perception.salience_N, perception.episode_event_N, perception.appraisal_N)),
        *packed.tensors(),
        torch.as_tensor(step.timestep, dtype=torch.int32, device=heard_BQ.device),
        num_agents,
        exposure_VB.stride(0),
        len(step.active),
        len(packed.content_number_C),
        **sizes,
        THRESHOLD=config.salience_threshold,
        DECAY=math.log(2) / config.salience_half_life,
        HAS_PEERS=has_peers,
        RESTS=config.rests_when_unreached,
        ROUNDS=config.state_storage == "bfloat16",
        **run,
    )


def precision_of_products() -> str:
    """How the device multiplies: in TensorFloat-32 thrice, nearly single precision, or once where torch may too."""
    return "tf32x3" if torch.get_float32_matmul_precision() == "highest" else "tf32"


def _hear(model: "LSM", graph: SocialGraph, step: "Step", in_ties: InTies, query_BQ: Tensor) -> Tensor:
    social = model.social
    log_strength_E = graph.log_strength_E[in_ties.place].to(query_BQ)
    return social.hear(query_BQ.unflatten(1, social.shape), step.stored_SX, log_strength_E, in_ties).flatten(1)


def _remembered(state: State) -> list[Tensor]:
    slots = [getattr(state.episodes, field.name) for field in fields(Episodes)]
    return [state.memory_NS, state.conviction_N, state.expression_NX, *slots]


def _room(model: "LSM", state: State) -> tuple[State, Perception]:
    """Memory for what a timestep leaves; what no timestep changes is the same."""
    slots = {field.name: torch.empty_like(getattr(state.episodes, field.name)) for field in fields(Episodes)}
    names = ("channels_NK", "latent_NU", "memory_NS", "conviction_N", "expression_NX")
    numbers = {name: torch.empty_like(getattr(state, name)) for name in names}
    felt_N = model.exposure.null_score.new_empty(state.num_agents)
    perception = Perception(
        exposed_N=torch.empty(state.num_agents, dtype=torch.bool, device=felt_N.device),
        salience_N=felt_N,
        episode_event_N=torch.empty(state.num_agents, dtype=torch.int64, device=felt_N.device),
        appraisal_N=torch.empty_like(felt_N),
    )
    return replace(state, episodes=Episodes(**slots), **numbers), perception
