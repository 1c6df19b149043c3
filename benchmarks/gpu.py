"""The same measurements on a graphics processor: `python -m benchmarks.gpu [AGENTS]`; says so and stops without one.

Times a whole timestep and the attention alone, and sets the bytes that the attention must move against the bandwidth of
a plain copy on the same device. `benchmarks/NOTES.md` holds the byte counts and what is predicted.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import torch

from benchmarks.societies import CONFIG, one_question, random_attributes, random_graph, two_events
from model.lsm.config import LSMConfig
from model.lsm.lsm import LSM

TIES_PER_AGENT, REPEATS = 20, 10
COPY_BYTES = 2**30


@torch.no_grad()
def main() -> int:
    """Prints the rows; exit code 2 where there is no device."""
    if not torch.cuda.is_available():
        print("No graphics processor is visible to torch, so nothing was measured.", file=sys.stderr)
        return 2
    num_agents = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    torch.manual_seed(0)
    config = LSMConfig.from_dict({**CONFIG.to_dict(), "expression_storage": "bfloat16"})
    model = LSM(config).eval().to("cuda")
    graph = random_graph(num_agents, TIES_PER_AGENT).to("cuda")
    timeline = two_events(num_agents).to("cuda")
    state = model.initial_state(random_attributes(num_agents).to("cuda"), questions=[_on_device(one_question())])
    context_NC = torch.cat([state.identity_NZ, state.channels_NK, state.latent_NU], 1)
    source, target = (torch.empty(COPY_BYTES // 4, device="cuda") for _ in range(2))

    timestep = _seconds(lambda: model.advance(state, graph, timeline, 2))
    attention = _seconds(lambda: model.social(graph, state.expression_NX, slice(0, num_agents), context_NC))
    copy_rate = 2 * COPY_BYTES / _seconds(lambda: target.copy_(source))
    ties = num_agents * TIES_PER_AGENT
    must_move = ties * (2 * config.expression_dim + 4 + 1 + 4) + num_agents * 2 * 4 * 64
    print(f"device              {torch.cuda.get_device_name()}")
    print(f"timestep            {timestep * 1e3:.1f} ms for {num_agents:,} agents × {TIES_PER_AGENT} ties")
    print(
        f"attention           {attention * 1e3:.1f} ms, {must_move / attention / 1e12:.2f} TB/s of bytes that must move"
    )
    floor = must_move / copy_rate * 1e3
    print(f"copy                {copy_rate / 1e12:.2f} TB/s on this device, {floor:.1f} ms as the floor")
    print(f"peak memory         {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
    return 0


def _on_device(record: Any) -> Any:
    tensors = {field.name: getattr(record, field.name) for field in fields(record)}
    return replace(record, **{name: value.to("cuda") for name, value in tensors.items() if torch.is_tensor(value)})


def _seconds(call: Callable[[], object]) -> float:
    call()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(REPEATS):
        call()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / REPEATS


if __name__ == "__main__":
    sys.exit(main())
