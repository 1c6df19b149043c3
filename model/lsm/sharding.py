"""One rollout over several processes or devices: who computes which agents, and what they tell one another.

Every process holds a *shard*: some of the agents, their in-ties, and a place for what outside neighbours broadcast.
Before each timestep the expressions of agents with ties into other shards travel there, and nothing else does. A
listener's ties keep their order, so its sums, and with them all results, have the bits of a rollout in one process.

Legend: N agents, L agents of a shard, H neighbours outside it, S = L + H speakers, E ties, P shards, X expression.
"""

from dataclasses import dataclass

import torch
import torch.distributed
from torch import Tensor

from model.kernels.segments import listeners
from model.lsm.inputs import SocialGraph


def partition_agents(graph: SocialGraph, num_shards: int, *, rounds: int = 8, slack: float = 0.05) -> Tensor:
    """The shard of each agent, int64 [N]: shards of nearly equal size that cut few ties.

    Begins with equal runs of consecutive agents, since societies are stored so that neighbours lie near one another. In
    each round, agents with more neighbours (either way) in another shard than in their own ask to move there; those who
    gain most move, as long as the other shard has room and theirs does not become too small. Odd and even agents take
    turns, so that two neighbours do not swap places for ever. The same graph gives the same partition.

    Args:
        graph: ties of all agents.
        num_shards: 1 or more.
        rounds: passes over the agents; ends sooner where nobody moves.
        slack: how far a shard may grow beyond an equal part.

    Raises:
        ValueError: fewer agents than shards, or no shard.

    Source: Ugander & Backstrom (2013), Balanced label propagation for partitioning massive graphs, section 3, with a
    greedy bound on each shard's size in place of the linear program.
    """
    num_agents = graph.num_agents
    if not 1 <= num_shards <= max(num_agents, 1):
        raise ValueError(
            f"{num_agents} agents cannot be spread over {num_shards} processes; allowed: 1 … {num_agents}."
        )
    shard_N = torch.arange(num_agents) * num_shards // max(num_agents, 1)
    if num_shards == 1 or graph.num_ties == 0:
        return shard_N
    dst_E, src_E = listeners(graph.offsets_N1, graph.num_ties), graph.src_E.long()
    capacity = int((1 + slack) * -(-num_agents // num_shards))
    smallest = max(1, int((1 - slack) * (num_agents // num_shards)))
    for turn in range(2 * rounds):
        neighbours_NP = torch.zeros(num_agents, num_shards)
        for one_E, other_E in ((dst_E, src_E), (src_E, dst_E)):
            place_E = one_E * num_shards + shard_N[other_E]
            neighbours_NP += torch.bincount(place_E, minlength=num_agents * num_shards).view(num_agents, num_shards)
        here_N = neighbours_NP.gather(1, shard_N[:, None])[:, 0]
        most_N, best_N = neighbours_NP.max(1)
        gain_N = torch.where(torch.arange(num_agents) % 2 == turn % 2, most_N - here_N, 0.0)
        asking = torch.nonzero(gain_N > 0)[:, 0]
        if len(asking) == 0 and turn % 2:
            break
        asking = asking[torch.argsort(gain_N[asking], descending=True, stable=True)]
        size_P = torch.bincount(shard_N, minlength=num_shards)
        room_P, spare_P = (capacity - size_P).clamp(min=0), (size_P - smallest).clamp(min=0)
        leaving = [asking[shard_N[asking] == shard][: int(spare_P[shard])] for shard in range(num_shards)]
        asking = asking[torch.isin(asking, torch.cat(leaving))]
        for shard in range(num_shards):
            shard_N[asking[best_N[asking] == shard][: int(room_P[shard])]] = shard
    return shard_N


def cut_share(graph: SocialGraph, shard_N: Tensor) -> float:
    """Fraction of ties whose speaker and listener are in different shards."""
    if graph.num_ties == 0:
        return 0.0
    return float((shard_N[graph.src_E.long()] != shard_N[listeners(graph.offsets_N1, graph.num_ties)]).double().mean())


@dataclass(frozen=True, eq=False)
class Shard:
    """What one process holds of a society.

    Attributes:
        agents_L: int64, the shard's agents, rising.
        graph: their in-ties; speakers are numbered agents of the shard first, then neighbours outside.
        sent_rows: per shard, which of this shard's agents it hears, as int64 rows of `agents_L`.
        num_received_P: int64 [P], how many neighbours of each shard this one hears.
    """

    agents_L: Tensor
    graph: SocialGraph
    sent_rows: tuple[Tensor, ...]
    num_received_P: Tensor


def make_shards(graph: SocialGraph, shard_N: Tensor) -> list[Shard]:
    """Takes a society apart along `shard_N`, the shard of each agent, numbered from 0 without gaps."""
    num_shards = int(shard_N.max()) + 1 if len(shard_N) else 1
    dst_E, src_E = listeners(graph.offsets_N1, graph.num_ties), graph.src_E.long()
    counts_N = graph.offsets_N1.diff()
    row_N = torch.empty_like(shard_N)
    members = [torch.nonzero(shard_N == shard)[:, 0] for shard in range(num_shards)]
    for agents_L in members:
        row_N[agents_L] = torch.arange(len(agents_L))
    heard: list[Tensor] = []
    graphs: list[SocialGraph] = []
    for shard, agents_L in enumerate(members):
        ties = torch.nonzero(shard_N[dst_E] == shard)[:, 0]
        speakers_E = src_E[ties]
        is_outside_E = shard_N[speakers_E] != shard
        outside_H = torch.unique(speakers_E[is_outside_E])
        outside_H = outside_H[torch.argsort(shard_N[outside_H], stable=True)]
        place_N = row_N.clone()
        place_N[outside_H] = len(agents_L) + torch.arange(len(outside_H))
        offsets_L1 = torch.cat([counts_N.new_zeros(1), counts_N[agents_L].cumsum(0)])
        graphs.append(
            SocialGraph(
                offsets_N1=offsets_L1,
                src_E=place_N[speakers_E].to(torch.int32),
                tie_type_E=graph.tie_type_E[ties],
                strength_E=graph.strength_E[ties],
                speakers=len(agents_L) + len(outside_H),
            )
        )
        heard.append(outside_H)
    return [
        Shard(
            agents_L=agents_L,
            graph=graphs[shard],
            sent_rows=tuple(row_N[outside_H[shard_N[outside_H] == shard]] for outside_H in heard),
            num_received_P=torch.bincount(shard_N[heard[shard]], minlength=num_shards),
        )
        for shard, agents_L in enumerate(members)
    ]


class Processes:
    """The other shards as processes of `torch.distributed`, whose default group must be open: see `rollout.Peers`."""

    def __init__(self, sent_rows: tuple[Tensor, ...], num_received_P: Tensor) -> None:
        self.rows = torch.cat(sent_rows)
        self.num_sent = [len(rows) for rows in sent_rows]
        self.num_received = num_received_P.tolist()

    def speakers(self, expression_NX: Tensor) -> Tensor:
        """What the shard's agents and their neighbours outside broadcast, [S, X]; rows travel to whoever hears them."""
        assert not expression_NX.requires_grad, "shards exchange expressions without gradient"
        received_HX = expression_NX.new_empty(sum(self.num_received), expression_NX.shape[1])
        torch.distributed.all_to_all_single(
            received_HX, expression_NX[self.rows].contiguous(), self.num_received, self.num_sent
        )
        return torch.cat([expression_NX, received_HX])

    def total(self, numbers: Tensor) -> Tensor:
        """The sum of whole numbers over all processes."""
        numbers = numbers.clone()
        torch.distributed.all_reduce(numbers)
        return numbers
