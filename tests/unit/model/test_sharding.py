"""Partitions and shards: every agent and tie once, balanced, few ties cut, and the same bits as in one piece."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.lsm.inputs import SocialGraph
from model.lsm.sharding import cut_share, make_shards, partition_agents


def random_graph(num_agents, num_ties, seed):
    generator = torch.Generator().manual_seed(seed)
    src_E, dst_E = torch.randint(0, num_agents, (2, num_ties), generator=generator)
    dst_E = dst_E.sort().values
    counts_N = torch.bincount(dst_E, minlength=num_agents)
    offsets_N1 = torch.cat([counts_N.new_zeros(1), counts_N.cumsum(0)])
    types_E = torch.randint(0, 4, (num_ties,), generator=generator)
    return SocialGraph(offsets_N1, src_E, types_E, torch.rand(num_ties, generator=generator) + 0.1)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 30), st.integers(0, 80), st.integers(1, 5), st.integers(0, 1000))
def test_shards_hold_every_agent_and_every_tie_once_in_order(num_agents, num_ties, num_shards, seed):
    graph = random_graph(num_agents, num_ties, seed)
    num_shards = min(num_shards, num_agents)
    shard_N = partition_agents(graph, num_shards)
    sizes = torch.bincount(shard_N, minlength=num_shards)
    assert int(sizes.max()) <= max(int(1.05 * -(-num_agents // num_shards)), -(-num_agents // num_shards))
    assert torch.equal(shard_N, partition_agents(graph, num_shards))
    if int(sizes.min()) == 0:
        return
    shards = make_shards(graph, shard_N)
    table_NX = torch.arange(num_agents)[:, None]
    for number, shard in enumerate(shards):
        received = [other.agents_L[other.sent_rows[number]] for other in shards]
        assert [len(rows) for rows in received] == shard.num_received_P.tolist()
        speakers_S = torch.cat([table_NX[shard.agents_L, 0], *received])
        for row, agent in enumerate(shard.agents_L.tolist()):
            mine = slice(int(shard.graph.offsets_N1[row]), int(shard.graph.offsets_N1[row + 1]))
            whole = slice(int(graph.offsets_N1[agent]), int(graph.offsets_N1[agent + 1]))
            assert torch.equal(speakers_S[shard.graph.src_E[mine].long()], graph.src_E[whole])
            assert torch.equal(shard.graph.tie_type_E[mine], graph.tie_type_E[whole])
            assert torch.equal(shard.graph.strength_E[mine], graph.strength_E[whole])
    assert torch.equal(torch.cat([shard.agents_L for shard in shards]).sort().values, torch.arange(num_agents))


def test_communities_that_lie_scattered_are_found():
    generator = torch.Generator().manual_seed(0)
    num_agents, side_N = 400, torch.arange(400) % 2
    dst_E = torch.arange(num_agents).repeat_interleave(10)
    within_E = torch.randint(0, num_agents // 2, (len(dst_E),), generator=generator) * 2 + side_N[dst_E]
    anyone_E = torch.randint(0, num_agents, (len(dst_E),), generator=generator)
    src_E = torch.where(torch.rand(len(dst_E), generator=generator) < 0.95, within_E, anyone_E)
    graph = SocialGraph(torch.arange(0, 4001, 10), src_E, torch.zeros_like(src_E), torch.ones(len(src_E)))
    runs_N = torch.arange(num_agents) * 2 // num_agents
    found_N = partition_agents(graph, 2, rounds=40)
    assert cut_share(graph, runs_N) > 0.45
    assert cut_share(graph, found_N) < 0.5 * cut_share(graph, runs_N)


def test_more_processes_than_agents_are_refused():
    with pytest.raises(ValueError, match="3 agents cannot be spread over 4 processes"):
        partition_agents(random_graph(3, 2, 0), 4)
