"""Rollout: a timestep of a million agents against its dense products and one gather, and the cost of more agents."""

import torch
from torch import nn

from benchmarks.isolation import in_own_process
from benchmarks.societies import CONFIG, one_question, random_attributes, random_graph, two_events
from benchmarks.timing import Row, median_seconds
from model.lsm.lsm import LSM
from model.lsm.rollout import rollout

NUM_AGENTS, TIES_PER_AGENT, NUM_TIMESTEPS = 1_000_000, 20, 12
LAPTOP_AGENTS = 10_000
TARGET_FLOOR, TARGET_LINEAR, TARGET_SECONDS = 2.0, 12.0, 1.0

NOT_ON_AGENTS = ("readout", "initial", "identity", "topic", "expression.stance")
NOT_ON_AGENTS += ("exposure.text", "exposure.event", "episodic.key", "episodic.value")
"""Layers that a timestep does not apply to every agent: answers, the initial state, and what is computed per event."""


def measure() -> list[Row]:
    """All rows, each in a process of its own."""
    return [in_own_process(timestep), in_own_process(linear), in_own_process(laptop)]


@torch.no_grad()
def timestep() -> Row:
    """A whole timestep of a million agents against every linear layer once, and one gather of expressions over ties."""
    step, model, graph, expression_NX = _timestep(NUM_AGENTS)
    layers = [
        layer
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear) and not name.startswith(NOT_ON_AGENTS)
    ]
    block = 16_384
    inputs = [torch.randn(block, layer.in_features) for layer in layers]

    def floor() -> None:
        for _ in range(-(-NUM_AGENTS // block)):
            for layer, values in zip(layers, inputs, strict=True):
                layer(values)
        expression_NX.index_select(0, graph.src_E)

    seconds = median_seconds({"ours": step, "floor": floor}, repeats=3)
    name = f"timestep of {NUM_AGENTS:,} agents × {TIES_PER_AGENT} ties, 4 types"
    return Row(name, seconds["ours"], seconds["floor"], "its dense products + gather", TARGET_FLOOR, False)


@torch.no_grad()
def linear() -> Row:
    """Ten times the agents cost at most twelve times the time."""
    small, large = _timestep(NUM_AGENTS // 10)[0], _timestep(NUM_AGENTS)[0]
    seconds = median_seconds({"small": small, "large": large}, repeats=3)
    name = f"timestep of {NUM_AGENTS:,} agents"
    other = f"timestep of {NUM_AGENTS // 10:,} agents"
    return Row(name, seconds["large"], seconds["small"], other, TARGET_LINEAR, False, "linear would be 10")


@torch.no_grad()
def laptop() -> Row:
    """The rollout of the laptop recipe's size, with answers at every timestep, against one second."""
    torch.manual_seed(0)
    model = LSM(CONFIG).eval()
    graph, attributes_NA = random_graph(LAPTOP_AGENTS, TIES_PER_AGENT), random_attributes(LAPTOP_AGENTS)
    timeline, question = two_events(LAPTOP_AGENTS), one_question()
    seconds = median_seconds(
        {
            "ours": lambda: rollout(
                model, attributes_NA, graph, timeline, [question], [], NUM_TIMESTEPS, seed=0, record=lambda _: None
            )
        },
        repeats=5,
    )
    name = f"rollout of {LAPTOP_AGENTS:,} agents × {TIES_PER_AGENT} ties, {NUM_TIMESTEPS} timesteps, after loading"
    return Row(name, seconds["ours"], TARGET_SECONDS, "one second", 1.0, False)


def _timestep(num_agents: int):
    torch.manual_seed(0)
    model = LSM(CONFIG).eval()
    graph, timeline = random_graph(num_agents, TIES_PER_AGENT), two_events(num_agents)
    state = model.initial_state(random_attributes(num_agents), questions=[one_question()])
    return lambda: model.advance(state, graph, timeline, 2), model, graph, state.expression_NX
