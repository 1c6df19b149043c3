"""What the kernels for graphics processors compile to, without one: they compile, spill little, and are short."""

import importlib

import pytest

pytest.importorskip("triton", reason="triton is not installed; it comes with torch for CUDA")

LOOP_OF_TWO = """
        /*0000*/                   MOV R1, c[0x0][0x28] ;
        /*0010*/                   IADD3 R0, R0, 0x1, RZ ;
        /*0020*/                   FADD R2, R2, R3 ;
        /*0030*/                   FADD R4, R4, R3 ;
        /*0040*/               @P0 BRA 0x20 ;
        /*0050*/              @!P1 BRA 0x10 ;
        /*0060*/                   EXIT ;
        /*0070*/                   BRA 0x70;
        /*0080*/                   NOP;
"""


@pytest.fixture(scope="module")
def device_code():
    return importlib.import_module("benchmarks.device_code")


def test_instructions_are_counted_by_loop_and_up_to_the_end(device_code):
    size, loops = device_code.count_instructions(LOOP_OF_TWO)
    assert (size, loops) == (7, (2, 3))
    kernel = device_code.Compiled("two loops", 4, 32, 0, 0, size, loops)
    assert kernel.issued(10, 100) == 4 * (2 + 20 + 300)


@pytest.mark.slow
def test_kernels_compile_for_the_device_without_spilling_what_would_slow_them(device_code):
    attention = device_code.compile_attention()
    assert set(attention) == {"hear", "hear_hubs", "answer", "answer_hubs", "sum_by_speaker", "sum_by_hub"}
    assert {name: kernel.spilled for name, kernel in attention.items()} == dict.fromkeys(attention, 0)
    timestep = device_code.compile_timestep("tf32")
    assert timestep["ask"].spilled == 0
    assert timestep["move"].spilled <= 400, "bytes of a thread; they stay in the first cache"
    assert max(kernel.shared for kernel in timestep.values()) <= 76_000, "three programs share a multiprocessor"
    issued = device_code.issued_per_agent(attention | timestep, num_events=2, num_contents=3)
    allowed = 0.060 * device_code.ISSUED_PER_SECOND / 10_000_000
    assert sum(issued.values()) < allowed / 3, issued
