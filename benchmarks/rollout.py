"""Rollout: a timestep of a million agents against its dense products and one gather, its memory, and the rest."""

import resource
from dataclasses import replace

import torch
from torch import nn

from benchmarks.isolation import in_own_process
from benchmarks.societies import CONFIG, one_question, random_attributes, random_graph, two_events
from benchmarks.timing import Row, median_seconds
from model.lsm.inputs import SocialGraph
from model.lsm.lsm import LSM
from model.lsm.rollout import rollout

NUM_AGENTS, TIES_PER_AGENT, NUM_TIMESTEPS = 1_000_000, 20, 12
LAPTOP_AGENTS = 10_000
TARGET_FLOOR, TARGET_LINEAR, TARGET_SECONDS, TARGET_GIB = 2.0, 12.0, 1.0, 4.0
GRADIENT_AGENTS, REACHED = 5_000, 0.1

NOT_ON_AGENTS = ("readout", "initial", "identity", "topic", "expression.stance")
NOT_ON_AGENTS += ("exposure.text", "exposure.event", "episodic.key", "episodic.value")
"""Layers that a timestep does not apply to every agent: answers, the initial state, and what is computed per event."""


def measure() -> list[Row]:
    """All rows, each in a process of its own."""
    return [in_own_process(row) for row in (timestep, memory, linear, skipping, laptop, checkpoints)]


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
def memory() -> Row:
    """Peak memory of the process that takes a million agents through three timesteps with answers."""
    torch.manual_seed(0)
    model = LSM(CONFIG).eval()
    graph, attributes_NA = random_graph(NUM_AGENTS, TIES_PER_AGENT), random_attributes(NUM_AGENTS)
    timeline, question = two_events(NUM_AGENTS), one_question()
    rollout(model, attributes_NA, graph, timeline, [question], [], 3, seed=0, record=lambda _: None)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    name = f"peak memory of a rollout of {NUM_AGENTS:,} agents × {TIES_PER_AGENT} ties, answers included"
    return Row(name, peak, TARGET_GIB, "the bound", 1.0, False, unit="GiB")


@torch.no_grad()
def skipping() -> Row:
    """A timestep in which nothing reaches nine of ten agents, against one in which everybody hears peers."""
    num_agents = NUM_AGENTS // 10
    step, model, _, _ = _timestep(num_agents)
    is_reached_N = torch.arange(num_agents) < int(REACHED * num_agents)
    few = random_graph(int(REACHED * num_agents), TIES_PER_AGENT)
    rest = few.offsets_N1.new_full((num_agents - few.num_agents,), few.num_ties)
    quiet = SocialGraph(torch.cat([few.offsets_N1, rest]), few.src_E, few.tie_type_E, few.strength_E)
    timeline = two_events(num_agents)
    timeline = replace(timeline, exposure_VN=timeline.exposure_VN & is_reached_N)
    state = model.initial_state(random_attributes(num_agents), questions=[one_question()])
    seconds = median_seconds({"few": lambda: model.advance(state, quiet, timeline, 2), "all": step}, repeats=5)
    name = f"timestep of {num_agents:,} agents of whom anything reaches {REACHED:.0%}"
    return Row(name, seconds["few"], seconds["all"], "everybody reached", 0.25, False)


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


def checkpoints() -> Row:
    """Gradient of a final share with activation checkpoints against the same without: time for memory."""
    torch.manual_seed(0)
    model = LSM(CONFIG)
    graph, attributes_NA = random_graph(GRADIENT_AGENTS, TIES_PER_AGENT), random_attributes(GRADIENT_AGENTS)
    timeline, question = two_events(GRADIENT_AGENTS), one_question()
    kept: dict[bool, int] = {}

    def gradient(is_checkpointed: bool) -> None:
        kept[is_checkpointed] = 0

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            kept[is_checkpointed] += tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            state = rollout(
                model,
                attributes_NA,
                graph,
                timeline,
                [question],
                [],
                NUM_TIMESTEPS,
                seed=0,
                is_checkpointed=is_checkpointed,
            )
        model.readout(state, question)[:, 0].mean().backward()

    seconds = median_seconds({"with": lambda: gradient(True), "without": lambda: gradient(False)}, repeats=3)
    note = f"autograd keeps {kept[True] / 2**20:,.0f} MiB instead of {kept[False] / 2**20:,.0f} MiB"
    name = f"gradient through {NUM_TIMESTEPS} timesteps of {GRADIENT_AGENTS:,} agents with activation checkpoints"
    return Row(name, seconds["with"], seconds["without"], "without them", 1.6, False, note)


def _timestep(num_agents: int):
    torch.manual_seed(0)
    model = LSM(CONFIG).eval()
    graph, timeline = random_graph(num_agents, TIES_PER_AGENT), two_events(num_agents)
    state = model.initial_state(random_attributes(num_agents), questions=[one_question()])
    return lambda: model.advance(state, graph, timeline, 2), model, graph, state.expression_NX
