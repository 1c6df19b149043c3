"""What the kernels for graphics processors compile to: `python -m benchmarks.device_code`; no device is needed.

Triton brings NVIDIA's assembler, so the very code that a device would run can be counted here: registers, spills, and
instructions per listener or agent. Registers that spill, or more instructions than 60 ms of issuing allow, would
decide against a kernel before a device is found; what memory makes of it only a device can tell (`benchmarks/gpu.py`).
"""

# pyright: reportMissingImports=false, reportMissingTypeStubs=false

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import mangle_type

from benchmarks.societies import CONFIG, one_question, random_attributes, random_graph, two_events
from model.kernels import triton_answer, triton_attention, triton_hear, triton_timestep
from model.lsm import fused
from model.lsm.lsm import LSM
from model.lsm.timestep import plan

COMPUTE_CAPABILITY = 90
"""H100 and H200."""
ISSUED_PER_SECOND = 132 * 4 * 1.75e9
"""Instructions of a warp that an H200 issues at most: 132 multiprocessors × 4 schedulers × 1.75 GHz."""
NUM_AGENTS, TIES_PER_AGENT = 256, 20
INSTRUCTION = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(.*?);")
JUMP = re.compile(r"\bBRA(?:\.\S+)? (?:\S+, )?0x([0-9a-f]+)")
USAGE = re.compile(r"REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)")


@dataclass(frozen=True)
class Compiled:
    """A kernel in the device's own instructions.

    `loops` holds the instructions of every loop, in the order of the code; `shared` is what launches ask for, and
    `spilled` what lies in memory for want of registers, both in bytes per program and per thread.
    """

    name: str
    warps: int
    registers: int
    spilled: int
    shared: int
    instructions: int
    loops: tuple[int, ...]

    def issued(self, *rounds: float) -> float:
        """Instructions that a program's warps issue when its loops run so many rounds each."""
        once = self.instructions - sum(self.loops)
        return self.warps * (once + sum(size * times for size, times in zip(self.loops, rounds, strict=True)))


class _Recorder:
    """Stands where a kernel stands: compiles it for what it is called with instead of running it."""

    def __init__(self, kernel: Any, compiled: list[Compiled]) -> None:
        self.kernel, self.compiled = kernel, compiled

    def __getitem__(self, grid: object) -> Any:
        return self._compile

    def _compile(self, *arguments: object, **named: object) -> None:
        parameters = self.kernel.params
        names = [parameter.name for parameter in parameters]
        values = dict(zip(names, arguments, strict=False)) | named
        constants = {parameter.name: values[parameter.name] for parameter in parameters if parameter.is_constexpr}
        signature = {name: "constexpr" if name in constants else _type_of(values[name]) for name in names}
        aligned = {
            (place,): [["tt.divisibility", 16]] for place, kind in enumerate(signature.values()) if kind.startswith("*")
        }
        options = {name: value for name, value in named.items() if name not in names}
        self.compiled.append(_compiled(self.kernel, signature, constants, aligned, options))


def compile_attention() -> dict[str, Compiled]:
    """The kernels of social attention by name, for expressions in bfloat16 and the shipped student."""
    graph, types = random_graph(NUM_AGENTS, TIES_PER_AGENT), 4
    query_NHX = torch.zeros(NUM_AGENTS, CONFIG.num_heads, CONFIG.expression_dim)
    floats = (query_NHX, query_NHX[:, 0].bfloat16(), torch.ones(types, CONFIG.expression_dim))
    ties = (torch.zeros(CONFIG.num_heads, types), graph.log_strength_E, graph.offsets_N1, graph.src_E, graph.tie_type_E)
    with _recorded(triton_hear, "hear", "hear_hubs") as compiled:
        heard_NHX, denominator_NH = triton_attention.hear(*floats, *ties)
    with _recorded(triton_answer, "answer", "answer_hubs", "sum_by_speaker", "sum_by_hub") as backward:
        triton_attention.answer(heard_NHX, denominator_NH, *floats, *ties, *graph.by_source)
    return {kernel.name: kernel for kernel in (*compiled, *backward)}


@torch.no_grad()
def compile_timestep(precision: str) -> dict[str, Compiled]:
    """The two other kernels of a timestep by name, with dense products in TensorFloat-32 once or thrice.

    Args:
        precision: tf32 or tf32x3.
    """
    model = LSM(replace(CONFIG, expression_storage="bfloat16")).eval()
    graph, timeline = random_graph(NUM_AGENTS, TIES_PER_AGENT), two_events(NUM_AGENTS)
    state = model.initial_state(random_attributes(NUM_AGENTS), questions=[one_question()])
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        with (
            _recorded(triton_timestep, "ask", "move") as compiled,
            patch.object(fused, "timestep_kernels", return_value=triton_timestep),
        ):
            step = plan(model, state, graph, timeline, 2, state.expression_NX)
            fused.advance(model, state, step)
    finally:
        torch.set_float32_matmul_precision(before)
    return {kernel.name: kernel for kernel in compiled}


def issued_per_agent(kernels: Mapping[str, Compiled], num_events: int, num_contents: int) -> dict[str, float]:
    """Instructions of a warp that a timestep issues per agent of 20 ties, by kernel of the forward pass.

    Args:
        kernels: of attention and timestep, by name.
        num_events: active events.
        num_contents: what episodes can be about: events that have begun, and peers.
    """
    agents = fused.AGENTS_PER_PROGRAM
    return {
        "ask": kernels["ask"].issued() / agents,
        "hear": kernels["hear"].issued(TIES_PER_AGENT / triton_attention.AT_ONCE) / triton_attention.LISTENERS,
        "move": kernels["move"].issued(num_events, num_contents) / agents,
    }


def main() -> int:
    """Prints a table of kernels, and what a timestep would issue per agent."""
    attention = compile_attention()
    print("kernel           products  warps  registers  spilled B  shared B  instructions  of them in loops")
    rows, issued = [("", kernel) for kernel in attention.values()], {}
    for precision in ("tf32", "tf32x3"):
        dense = compile_timestep(precision)
        rows += [(precision, kernel) for kernel in dense.values()]
        issued[precision] = issued_per_agent(attention | dense, num_events=2, num_contents=3)
    for precision, kernel in rows:
        loops = " ".join(str(size) for size in kernel.loops)
        print(
            f"{kernel.name:15}  {precision:8}  {kernel.warps:5}  {kernel.registers:9}  {kernel.spilled:9}  "
            f"{kernel.shared:8}  {kernel.instructions:12}  {loops}"
        )
    for precision, per_agent in issued.items():
        total = sum(per_agent.values())
        parts = ", ".join(f"{name} {value:,.0f}" for name, value in per_agent.items())
        print(
            f"{precision}: {total:,.0f} instructions of a warp per agent ({parts}); 10,000,000 agents are "
            f"{total * 1e7 / ISSUED_PER_SECOND * 1e3:.1f} ms of an H200 that issues without a pause"
        )
    return 0


@contextmanager
def _recorded(module: ModuleType, *names: str) -> Iterator[list[Compiled]]:
    """While this lasts, kernels of the module are compiled when they are called, and not run."""
    compiled: list[Compiled] = []
    kernels = {name: _Recorder(getattr(module, name), compiled) for name in names}
    with patch.multiple(module, **kernels):
        yield compiled


def _type_of(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return mangle_type(value)
    return "i32"


def _compiled(
    kernel: Any,
    signature: dict[str, str],
    constants: dict[str, object],
    aligned: dict[Any, Any],
    options: dict[str, Any],
) -> Compiled:
    source = ASTSource(kernel, signature, constants, aligned)
    made = triton.compile(source, target=GPUTarget("cuda", COMPUTE_CAPABILITY, 32), options=options)
    tools = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder) / "kernel.cubin"
        cubin.write_bytes(made.asm["cubin"])
        usage, code = (
            subprocess.run([tools / "cuobjdump", option, cubin], capture_output=True, text=True, check=True).stdout
            for option in ("-res-usage", "-sass")
        )
    found = USAGE.search(usage)
    assert found is not None, usage
    registers, stack, _, local = (int(number) for number in found.groups())
    size, loops = count_instructions(code)
    return Compiled(kernel.__name__, options["num_warps"], registers, stack + local, made.metadata.shared, size, loops)


def count_instructions(code: str) -> tuple[int, tuple[int, ...]]:
    """How many there are, and how many of them belong to every loop and to none within it.

    A loop lies between a jump back and its goal. The listing ends with a jump to itself, and nothing behind it is
    reached.
    """
    listing = [(int(address, 16), text) for address, text in INSTRUCTION.findall(code)]
    jumps = [(int(goal[1], 16), address) for address, text in listing if (goal := JUMP.search(text))]
    end = next(address for goal, address in jumps if goal == address)
    last_of: dict[int, int] = {}
    for goal, address in jumps:
        if goal < address < end:
            last_of[goal] = max(address, last_of.get(goal, 0))
    places = [address for address, _ in listing if address < end]
    own = dict.fromkeys(last_of, 0)
    for place in places:
        around = [goal for goal, last in last_of.items() if goal <= place <= last]
        if around:
            own[max(around)] += 1
    return len(places), tuple(own[goal] for goal in sorted(own))


if __name__ == "__main__":
    sys.exit(main())
