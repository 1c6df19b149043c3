"""Graph attention: against PyG's TransformerConv, against the machine's floor, and backward against forward.

The floor is what cannot be avoided: one gather of the expression table over all ties, and the dense products of queries
and messages, timed in the same run. TransformerConv gets the width that ours has inside (heads × expression); it is
compared on fewer agents than the floor, since its own tensors of ties × heads × width fill the memory before.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.isolation import in_own_process
from benchmarks.societies import CONFIG, random_graph
from benchmarks.timing import Row, median_seconds
from model.kernels.social_attention import describe_backend, social_attention

NUM_AGENTS, TIES_PER_AGENT = 1_000_000, 20
PEER_AGENTS, BACKWARD_AGENTS = 200_000, 300_000
TARGET_SPEEDUP, TARGET_FLOOR, TARGET_BACKWARD = 30.0, 1.3, 3.0
HEADS, WIDTH, LATENT = CONFIG.num_heads, CONFIG.expression_dim, CONFIG.latent_dim


def measure() -> list[Row]:
    """All rows, each in a process of its own."""
    return [in_own_process(against_floor), in_own_process(against_peer), in_own_process(backward)]


@torch.no_grad()
def against_floor() -> Row:
    """Forward pass of a million agents against one gather and the dense products."""
    layer = _Layer(NUM_AGENTS)

    def floor() -> None:
        _ = layer.state_NU @ layer.to_query
        layer.expression_NX.index_select(0, layer.graph.src_E)
        _ = layer.heard_NF @ layer.to_message

    seconds = median_seconds({"ours": layer.forward, "floor": floor}, repeats=5)
    note = f"backend {describe_backend()}"
    return Row(
        _name(NUM_AGENTS), seconds["ours"], seconds["floor"], "gather + dense products", TARGET_FLOOR, False, note
    )


@torch.no_grad()
def against_peer() -> Row:
    """Forward pass against TransformerConv with as many heads of the same width."""
    from torch_geometric.nn import TransformerConv

    layer = _Layer(PEER_AGENTS)
    graph = layer.graph
    peer = TransformerConv((LATENT, LATENT), WIDTH, heads=HEADS, edge_dim=4, root_weight=False).eval()
    listeners_E = torch.repeat_interleave(torch.arange(PEER_AGENTS), graph.offsets_N1.diff())
    edge_index = torch.stack([graph.src_E.long(), listeners_E])
    one_hot_ET = torch.nn.functional.one_hot(graph.tie_type_E.long(), 4).float()
    calls: dict[str, Callable[[], object]] = {
        "ours": layer.forward,
        "theirs": lambda: peer(layer.state_NU, edge_index, edge_attr=one_hot_ET),
    }
    seconds = median_seconds(calls, repeats=3)
    return Row(_name(PEER_AGENTS), seconds["ours"], seconds["theirs"], "PyG TransformerConv", TARGET_SPEEDUP, True)


def backward() -> Row:
    """Backward pass against forward pass, dense products included in both."""
    layer = _Layer(BACKWARD_AGENTS)
    floats = (layer.state_NU, layer.expression_NX, layer.gate_TX, layer.bias_HT, layer.to_query, layer.to_message)
    for value in floats:
        value.requires_grad_()
    message_NF = layer.forward()
    grad_NF = torch.randn_like(message_NF)

    def back() -> None:
        torch.autograd.grad(message_NF, floats, grad_NF, retain_graph=True)

    seconds = median_seconds({"back": back, "forth": layer.forward}, repeats=5)
    name = f"social attention backward, {BACKWARD_AGENTS:,} agents × {TIES_PER_AGENT} ties"
    return Row(name, seconds["back"], seconds["forth"], "its forward pass", TARGET_BACKWARD, False)


def _name(num_agents: int) -> str:
    return f"social attention forward, {num_agents:,} agents × {TIES_PER_AGENT} ties, 4 types"


class _Layer:
    """Queries from latents, attention, messages: what one timestep computes for its ties."""

    def __init__(self, num_agents: int) -> None:
        self.graph = random_graph(num_agents, TIES_PER_AGENT)
        self.state_NU, self.expression_NX = torch.randn(num_agents, LATENT), torch.randn(num_agents, WIDTH).tanh()
        self.to_query, self.to_message = torch.randn(LATENT, HEADS * WIDTH), torch.randn(HEADS * WIDTH, 32)
        self.gate_TX, self.bias_HT = torch.randn(4, WIDTH), torch.randn(HEADS, 4)
        self.heard_NF = torch.randn(num_agents, HEADS * WIDTH)
        self.by_source = self.graph.by_source

    def forward(self) -> Tensor:
        """Messages [N, F]."""
        heard_NHX = social_attention(
            (self.state_NU @ self.to_query).unflatten(1, (HEADS, WIDTH)),
            self.expression_NX,
            self.gate_TX,
            self.bias_HT,
            self.graph.log_strength_E,
            self.graph.offsets_N1,
            self.graph.src_E,
            self.graph.tie_type_E,
            by_source=self.by_source,
        )
        return heard_NHX.flatten(1) @ self.to_message
