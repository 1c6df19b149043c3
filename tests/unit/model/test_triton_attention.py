"""The Triton kernel against the oracle: interpreted, or compiled where there is a graphics processor."""

import os
import subprocess
import sys

import pytest
import torch

from orchestration.settings import PROJECT_ROOT

pytest.importorskip("triton", reason="triton is not installed; it comes with torch for CUDA")

CHECK = """
import sys

import torch

sys.path.insert(0, "tests/property")
from test_attention_backends import make_problem
from model.kernels import reference_attention, triton_attention
from model.kernels.social_attention import sort_by_source

device = "cuda" if torch.cuda.is_available() else "cpu"
def own(agents):
    return lambda src: torch.arange(len(src)) % agents


problems = {
    "several pieces": ([3, 0, 40, 1, 7], 4, 16, None),
    "no ties": ([0, 0], 2, 8, None),
    "a single agent that hears itself": ([5], 1, 3, torch.zeros_like),
    "a single agent without ties": ([0], 2, 4, None),
    "odd widths": ([1, 90, 2, 33], 3, 5, None),
    "one listener hears everybody": ([0, 0, 200, 0], 2, 8, own(4)),
    "everybody hears one": ([33] * 4, 2, 8, torch.zeros_like),
    "everybody hears only itself": ([1] * 6, 2, 8, own(6)),
    "one tie many times": ([0, 65, 0], 2, 8, lambda src: torch.full_like(src, 2)),
    "hubs among others": ([128, 129, 3, 0, 257, 300], 2, 8, None),
    "hubs among many": ([1] * 127 + [130, 2, 140] + [0] * 20, 1, 4, None),
}
for name, (counts, heads, width, speakers) in problems.items():
    floats, ties = make_problem(torch.tensor(counts), heads, width)
    ties = ties if speakers is None else (ties[0], speakers(ties[1]), ties[2])
    floats, ties = [value.to(device) for value in floats], [value.to(device) for value in ties]
    exact = [value.double() for value in floats]
    heard, denominator = triton_attention.hear(*floats, *ties)
    wanted, wanted_denominator = reference_attention.hear(*exact, *ties)
    torch.testing.assert_close(heard.double(), wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(denominator.double(), wanted_denominator, rtol=1e-4, atol=1e-4)
    by_source = sort_by_source(ties[1], len(floats[1]))
    ours = triton_attention.answer(heard, denominator, *floats, *ties, *by_source)
    theirs = reference_attention.answer(wanted, wanted_denominator, *exact, *ties, *by_source)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.double(), other, rtol=1e-3, atol=1e-3)
    half = [floats[0], floats[1].bfloat16(), *floats[2:]]
    widened = [half[0].double(), half[1].double(), *exact[2:]]
    heard, _ = triton_attention.hear(*half, *ties)
    torch.testing.assert_close(heard.double(), reference_attention.hear(*widened, *ties)[0], rtol=1e-4, atol=1e-4)
print("agrees on", device)
"""


def check(device: str) -> None:
    environment = os.environ | ({"TRITON_INTERPRET": "1"} if device == "cpu" else {})
    command = [sys.executable, "-c", CHECK]
    result = subprocess.run(
        command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert f"agrees on {device}" in result.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="the compiled kernel is tested instead")
def test_interpreted_kernel_agrees_with_the_oracle():
    check("cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no graphics processor")
def test_compiled_kernel_agrees_with_the_oracle():
    check("cuda")
