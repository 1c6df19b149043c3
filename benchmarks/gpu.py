"""The same measurements on a graphics processor: `python -m benchmarks.gpu`; says so and stops without one.

Times a whole timestep, by its three kernels and one operation at a time, and the attention alone, and sets the bytes
that they must move against the bandwidth of a plain copy on the same device; then a rollout of a small society, with
and without recorded timesteps (CUDA graphs). `--largest` takes the configuration of the largest population instead:
state in half precision, four episode slots. `benchmarks/NOTES.md` holds the byte counts and what is predicted.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import torch

from benchmarks.societies import CONFIG, one_question, random_attributes, random_graph, two_events
from model.lsm.blocks import AGENTS_PER_BLOCK_ON_DEVICE
from model.lsm.config import LSMConfig
from model.lsm.inputs import SocialGraph, Timeline
from model.lsm.lsm import LSM
from model.lsm.rollout import Snapshot, rollout_steps
from model.lsm.state import Joined, State
from model.lsm.timestep import advance

TIES_PER_AGENT, REPEATS = 20, 10
SMALL_AGENTS, SMALL_TIMESTEPS = 10_000, 100
COPY_BYTES = 2**30
LARGEST = {"state_storage": "bfloat16", "num_episode_slots": 4}


@dataclass(frozen=True, eq=False)
class Town:
    """A population on a device, and the student that simulates it."""

    model: LSM
    graph: SocialGraph
    timeline: Timeline
    state: State

    def timestep(self, *, is_fused: bool = True) -> State:
        """A whole timestep."""
        return advance(self.model, self.state, self.graph, self.timeline, 2, is_fused=is_fused)[0]

    def attention(self) -> None:
        """Queries, attention and messages of a timestep, in blocks."""
        stored_SX = self.model.social.stored(self.state.expression_NX)
        for agents in _blocks(self.state.num_agents):
            block = self.state.select(agents)
            context_BC = torch.cat([block.identity_NZ, block.channels_NK, block.latent_NU], 1).float()
            self.model.social(self.graph, self.graph.in_ties(agents), stored_SX, context_BC)

    def roll_on(self, num_timesteps: int, *, is_captured: bool) -> State:
        """The state after a rollout from here, without records; repeated timesteps are replayed, or not."""
        start = Snapshot(0, self.state, self.timeline.start_V, (), ())
        inputs = (self.model, torch.empty(0), self.graph, self.timeline, [], [], num_timesteps)
        *_, last = rollout_steps(*inputs, seed=0, is_recorded=False, is_captured=is_captured, after=start)
        return last.state


@torch.no_grad()
def make_town(num_agents: int, config: LSMConfig, device: str) -> Town:
    """A random population of the benchmarks, its initial state made in blocks."""
    torch.manual_seed(0)
    model = LSM(config).eval().to(device)
    question, attributes_NA = _to(one_question(), device), random_attributes(num_agents)
    joined = Joined[State](num_agents)
    for agents in _blocks(num_agents):
        joined.add(agents, model.initial_state(attributes_NA[agents].to(device), questions=[question]))
    graph = random_graph(num_agents, TIES_PER_AGENT).to(device)
    return Town(model, graph, two_events(num_agents).to(device), joined.result())


def bytes_of(town: Town) -> int:
    """Bytes that the state, the next state beside it, the ties and whom events reach take, without working memory."""
    state, graph = town.state, town.graph
    static = (state.identity_NZ, state.leaning_NA, town.timeline.exposure_VN)
    ties = (graph.offsets_N1, graph.src_E, graph.tie_type_E, graph.strength_E, graph.log_strength_E, graph.has_ties_N)
    return sum(tensor.nbytes for tensor in (*static, *ties)) + 2 * sum(tensor.nbytes for tensor in _dynamic(state))


def bytes_heard(town: Town) -> int:
    """Bytes that social attention must move: ties, the expressions at their ends, queries, and what was heard."""
    graph, queries = town.graph, 4 * town.model.config.num_heads * town.model.config.expression_dim
    size = 2 if town.model.config.expression_storage == "bfloat16" else 4
    along_ties = graph.num_ties * (size * town.model.config.expression_dim + graph.src_E.element_size())
    along_ties += graph.tie_type_E.nbytes + graph.log_strength_E.nbytes
    return (
        along_ties + graph.offsets_N1.nbytes + town.state.num_agents * (2 * queries + 4 * town.model.config.num_heads)
    )


def bytes_moved(town: Town) -> int:
    """Bytes that the kernels of a timestep must move: the state to ask, all of it to move, the next state, the rest."""
    state, config = town.state, town.model.config
    asking = state.identity_NZ.nbytes + state.channels_NK.nbytes + state.latent_NU.nbytes
    changing = sum(tensor.nbytes for tensor in _dynamic(state))
    queries = state.num_agents * 4 * config.num_heads * config.expression_dim
    stored = state.expression_NX.nbytes + state.num_agents * 2 * config.expression_dim
    perceived = state.num_agents * (1 + 4 + 8 + 4)
    asked_and_heard = asking + queries + bytes_heard(town) + (stored if config.state_storage == "float32" else 0)
    moved = state.identity_NZ.nbytes + 2 * changing + queries + town.graph.offsets_N1.nbytes
    return asked_and_heard + moved + town.timeline.exposure_VN.nbytes + perceived


@torch.no_grad()
def main(arguments: list[str]) -> int:
    """Prints the rows; exit code 2 where there is no device."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("agents", type=int, nargs="?", default=10_000_000)
    parser.add_argument("--largest", action="store_true", help="state in half precision, four episode slots")
    parser.add_argument("--tf32", action="store_true", help="dense products in TensorFloat-32 (products of 10 bits)")
    chosen = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("No graphics processor is visible to torch, so nothing was measured.", file=sys.stderr)
        return 2
    torch.set_float32_matmul_precision("high" if chosen.tf32 else "highest")
    changes = {"expression_storage": "bfloat16", **(LARGEST if chosen.largest else {})}
    town = make_town(chosen.agents, replace(CONFIG, **changes), "cuda")
    timestep, attention = _seconds(town.timestep), _seconds(town.attention)
    must_move = {"timestep": (timestep, bytes_moved(town)), "attention": (attention, bytes_heard(town))}
    held = bytes_of(town)
    peak = torch.cuda.max_memory_allocated()
    source, target = (torch.empty(COPY_BYTES // 4, device="cuda") for _ in range(2))
    copy_rate = 2 * COPY_BYTES / _seconds(lambda: target.copy_(source))
    plain = _seconds(partial(town.timestep, is_fused=False))
    print(f"device              {torch.cuda.get_device_name()}")
    print(f"dense products      {'TensorFloat-32' if chosen.tf32 else 'single precision'}")
    print(f"timestep            {timestep * 1e3:.1f} ms for {chosen.agents:,} agents × {TIES_PER_AGENT} ties")
    print(f"                    {plain * 1e3:.1f} ms one operation at a time, {plain / timestep:.1f} times as long")
    print(f"copy                {copy_rate / 1e12:.2f} TB/s on this device")
    for name, (seconds, size) in must_move.items():
        print(
            f"{name:<18}  {size / 1e9:.1f} GB must move, {seconds * 1e3:.1f} ms, {size / seconds / 1e12:.2f} TB/s; "
            f"{size / copy_rate * 1e3:.1f} ms at the rate of a copy"
        )
    print(f"memory              {held / 1e9:.1f} GB of state and ties, {peak / 1e9:.1f} GB at the peak")
    del town
    small = make_town(SMALL_AGENTS, CONFIG, "cuda")
    ways = (small.timestep(is_fused=is_fused) for is_fused in (True, False))
    error = max(float((mine - other).abs().max()) for mine, other in zip(*(_floats(way) for way in ways), strict=True))
    print(f"agreement           {error:.1e} at most between the two ways, {SMALL_AGENTS:,} agents in single precision")
    plain, replayed = (
        _seconds(lambda is_captured=is_captured: small.roll_on(SMALL_TIMESTEPS, is_captured=is_captured))
        for is_captured in (False, True)
    )
    print(
        f"recorded timesteps  {SMALL_AGENTS:,} agents × {SMALL_TIMESTEPS}: {plain * 1e3:.0f} ms plainly, "
        f"{replayed * 1e3:.0f} ms with CUDA graphs, {plain / replayed:.1f} times as fast"
    )
    return 0


def _dynamic(state: State) -> list[torch.Tensor]:
    """What a timestep makes anew."""
    dynamic = [state.channels_NK, state.latent_NU, state.memory_NS, state.conviction_N, state.expression_NX]
    return dynamic + [getattr(state.episodes, field.name) for field in fields(state.episodes)]


def _floats(state: State) -> tuple[torch.Tensor, ...]:
    return state.channels_NK, state.latent_NU, state.memory_NS, state.conviction_N, state.expression_NX


def _blocks(num_agents: int) -> list[slice]:
    size = AGENTS_PER_BLOCK_ON_DEVICE
    return [slice(first, min(first + size, num_agents)) for first in range(0, num_agents, size)]


def _to(record: Any, device: str) -> Any:
    tensors = {field.name: getattr(record, field.name) for field in fields(record)}
    return replace(record, **{name: value.to(device) for name, value in tensors.items() if torch.is_tensor(value)})


def _seconds(call: Callable[[], object]) -> float:
    call()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(REPEATS):
        call()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / REPEATS


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
