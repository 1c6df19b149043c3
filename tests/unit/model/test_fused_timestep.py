"""The kernels of a whole timestep against plain torch: interpreted, or compiled where there is a graphics processor."""

import os
import subprocess
import sys

import pytest
import torch

from orchestration.settings import PROJECT_ROOT

pytest.importorskip("triton", reason="triton is not installed; it comes with torch for CUDA")


def check(device: str) -> None:
    environment = (
        os.environ | {"PYTHONPATH": str(PROJECT_ROOT)} | ({"TRITON_INTERPRET": "1"} if device == "cpu" else {})
    )
    command = [sys.executable, "tests/support/fused_timestep.py"]
    result = subprocess.run(
        command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=False, timeout=900
    )
    assert result.returncode == 0, result.stdout + result.stderr[-3000:]
    assert f"agrees on {device}" in result.stdout


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="the compiled kernels are tested instead")
def test_interpreted_kernels_agree_with_plain_torch():
    check("cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no graphics processor")
def test_compiled_kernels_agree_with_plain_torch():
    check("cuda")
