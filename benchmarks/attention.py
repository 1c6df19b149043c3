"""Graph attention: ours in expression space against PyG's TransformerConv, and against the machine's floor.

The floor is what cannot be avoided: one gather of the expression table over all ties, and the dense products of queries
and messages, timed in the same run. TransformerConv gets the width that ours has inside (heads × expression).
"""

import torch

from benchmarks.societies import CONFIG, random_graph
from benchmarks.timing import Row, median_seconds
from model.kernels.social_attention import social_attention

NUM_AGENTS, TIES_PER_AGENT = 100_000, 20
TARGET_SPEEDUP, TARGET_FLOOR = 5.0, 4.0


@torch.no_grad()
def measure() -> list[Row]:
    """Both rows; peers on the same graph, the same number of heads and the same width."""
    from torch_geometric.nn import TransformerConv

    heads, width, latent = CONFIG.num_heads, CONFIG.expression_dim, CONFIG.latent_dim
    graph = random_graph(NUM_AGENTS, TIES_PER_AGENT)
    state_NU, expression_NX = torch.randn(NUM_AGENTS, latent), torch.randn(NUM_AGENTS, width)
    to_query, to_message = torch.randn(latent, heads * width), torch.randn(heads * width, CONFIG.message_dim)
    gate_TX, bias_HT = torch.randn(4, width), torch.randn(heads, 4)
    log_strength_E = graph.strength_E.log()
    one_hot_ET = torch.nn.functional.one_hot(graph.tie_type_E, 4).float()
    peer = TransformerConv((latent, latent), width, heads=heads, edge_dim=4, root_weight=False).eval()
    edge_index = torch.stack([graph.src_E, graph.dst_E])
    query_NHX = (state_NU @ to_query).view(NUM_AGENTS, heads, width)

    def ours() -> None:
        query = (state_NU @ to_query).view(NUM_AGENTS, heads, width)
        heard = social_attention(
            query,
            expression_NX,
            gate_TX,
            bias_HT,
            log_strength_E,
            graph.offsets_N1,
            graph.src_E,
            graph.dst_E,
            graph.tie_type_E,
        )
        _ = heard.flatten(1) @ to_message

    def theirs() -> None:
        peer(state_NU, edge_index, edge_attr=one_hot_ET)

    def floor() -> None:
        _ = state_NU @ to_query
        expression_NX.index_select(0, graph.src_E)
        _ = query_NHX.flatten(1) @ to_message

    seconds = median_seconds({"ours": ours, "theirs": theirs, "floor": floor}, repeats=3)
    name = f"social attention forward, {NUM_AGENTS:,} agents × {TIES_PER_AGENT} ties, 4 types"
    return [
        Row(name, seconds["ours"], seconds["theirs"], "PyG TransformerConv", TARGET_SPEEDUP, is_speedup=True),
        Row(name, seconds["ours"], seconds["floor"], "gather + dense products", TARGET_FLOOR, is_speedup=False),
    ]
