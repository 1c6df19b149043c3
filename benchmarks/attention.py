"""Graph attention: against PyG's TransformerConv, against the machine's floor, and backward against forward.

The floor is what cannot be avoided: one gather of the expression table over all ties, and the dense products of queries
and messages, timed in the same run. TransformerConv gets the width that ours has inside (heads × expression) and the
same million agents; it hears them in parts, since its tensors of ties × heads × width need over 20 GiB in one.
"""

import torch
from torch import Tensor

from benchmarks.isolation import in_own_process
from benchmarks.societies import CONFIG, random_graph
from benchmarks.timing import Row, median_seconds
from model.kernels.social_attention import describe_backend, social_attention

NUM_AGENTS, TIES_PER_AGENT = 1_000_000, 20
PEER_LISTENERS, BACKWARD_AGENTS = 200_000, 300_000
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

    layer = _Layer(NUM_AGENTS)
    graph, offsets_N1 = layer.graph, layer.graph.offsets_N1
    peer = TransformerConv((LATENT, LATENT), WIDTH, heads=HEADS, edge_dim=4, root_weight=False).eval()

    def part(first: int) -> None:
        last = min(first + PEER_LISTENERS, NUM_AGENTS)
        ties = slice(int(offsets_N1[first]), int(offsets_N1[last]))
        listeners_E = torch.repeat_interleave(torch.arange(last - first), offsets_N1[first : last + 1].diff())
        one_hot_ET = torch.nn.functional.one_hot(graph.tie_type_E[ties].long(), 4).float()
        peer(
            (layer.state_NU, layer.state_NU[first:last]),
            torch.stack([graph.src_E[ties].long(), listeners_E]),
            edge_attr=one_hot_ET,
        )

    def theirs() -> None:
        for first in range(0, NUM_AGENTS, PEER_LISTENERS):
            part(first)

    layer.forward()
    part(0)
    seconds = median_seconds({"ours": layer.forward, "theirs": theirs}, repeats=2, is_warmed=False)
    note = f"{NUM_AGENTS // PEER_LISTENERS} parts of {PEER_LISTENERS:,} listeners for PyG"
    return Row(_name(NUM_AGENTS), seconds["ours"], seconds["theirs"], "PyG TransformerConv", TARGET_SPEEDUP, True, note)


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
