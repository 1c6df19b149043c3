"""Rollout: twelve timesteps of the student, against its dense products alone, and ten times the agents."""

import statistics
import time

import torch
from torch import nn

from benchmarks.societies import CONFIG, one_question, random_attributes, random_graph, two_events
from benchmarks.timing import Row, median_seconds
from model.lsm.lsm import LSM
from model.lsm.rollout import rollout

NUM_AGENTS, TIES_PER_AGENT, NUM_TIMESTEPS = 10_000, 15, 12
TARGET_FLOOR, TARGET_LINEAR = 6.0, 12.0


@torch.no_grad()
def measure() -> list[Row]:
    """The whole rollout against one pass of every linear layer per timestep, and 10 × the agents against 1 ×."""
    torch.manual_seed(0)
    model = LSM(CONFIG).eval()
    question = one_question()

    def simulate(num_agents: int):
        graph, attributes = random_graph(num_agents, TIES_PER_AGENT), random_attributes(num_agents)
        timeline = two_events(num_agents)
        return lambda: rollout(model, attributes, graph, timeline, [question], [], NUM_TIMESTEPS, seed=0)

    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.GRUCell)]
    inputs = [
        torch.randn(NUM_AGENTS, layer.in_features if isinstance(layer, nn.Linear) else layer.input_size)
        for layer in layers
    ]

    def floor() -> None:
        for _ in range(NUM_TIMESTEPS):
            for layer, values in zip(layers, inputs, strict=True):
                layer(values)

    ours = simulate(NUM_AGENTS)
    seconds = median_seconds({"ours": ours, "floor": floor}, repeats=5)
    large = simulate(10 * NUM_AGENTS)
    large()
    times = []
    for _ in range(3):
        start = time.perf_counter()
        large()
        times.append(time.perf_counter() - start)
    name = f"rollout of {NUM_AGENTS:,} agents × {TIES_PER_AGENT} ties, {NUM_TIMESTEPS} timesteps"
    return [
        Row(name, seconds["ours"], seconds["floor"], "its dense products alone", TARGET_FLOOR, is_speedup=False),
        Row(
            f"rollout of {10 * NUM_AGENTS:,} agents",
            statistics.median(times),
            seconds["ours"],
            f"rollout of {NUM_AGENTS:,} agents",
            TARGET_LINEAR,
            is_speedup=False,
            note="cost linear in agents: ten times the agents cost at most twelve times the time",
        ),
    ]
