"""How a timestep is cut into blocks of agents, and what the layers of a block read.

Legend: N agents, I inputs, F message, B agents of a block.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model.lsm.state import State

AGENTS_PER_BLOCK = 16_384
"""Agents computed together where nobody says otherwise and no gradient is kept: their numbers stay in the caches."""
AGENTS_PER_BLOCK_ON_DEVICE = 1_048_576
"""The same on a graphics processor, where starting the operations of a block costs some milliseconds."""


def block_size(agents_per_block: int | None, num_agents: int, device: torch.device) -> int:
    """Agents per block: as many as asked for, else all where a gradient is kept, else what suits the device."""
    by_default = AGENTS_PER_BLOCK if device.type == "cpu" else AGENTS_PER_BLOCK_ON_DEVICE
    whole = num_agents if torch.is_grad_enabled() else by_default
    return max(1, min(agents_per_block or whole, num_agents))


def without_constants(block: State) -> State:
    """A block of agents without what no timestep changes, and without trust: none of it need be copied."""
    return replace(
        block, identity_NZ=block.identity_NZ[:, :0], leaning_NA=block.leaning_NA[:, :0], trust_E=block.trust_E[:0]
    )


@dataclass(frozen=True, eq=False)
class TakenIn:
    """What the layers of a timestep read: the messages, those with channels and latent, and all of it."""

    messages_BF: Tensor
    mind_BI: Tensor
    all_BI: Tensor


def _rows_of_topic(block: State) -> Tensor:
    """The topic of every agent, [B, P], in memory of its own: columns of one row are put together slowly."""
    return block.topic_P.expand(block.num_agents, -1).contiguous()


def take_in(block: State, mind_BC: Tensor, messages: tuple[Tensor, ...]) -> TakenIn:
    """Puts the inputs of the layers together; without gradient once, the shorter ones being columns of the longest."""
    context = (block.identity_NZ, _rows_of_topic(block), block.memory_NS)
    if torch.is_grad_enabled():
        messages_BF = torch.cat(messages, 1)
        mind_BI = torch.cat([mind_BC, messages_BF], 1)
        all_BI = torch.cat([*context, block.channels_NK, block.latent_NU, messages_BF], 1)
        return TakenIn(messages_BF, mind_BI, all_BI)
    all_BI = torch.cat([*context, mind_BC, *messages], 1)
    num_context = sum(part.shape[1] for part in context)
    return TakenIn(all_BI[:, num_context + mind_BC.shape[1] :], all_BI[:, num_context:], all_BI)
