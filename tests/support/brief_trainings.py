"""Stand-ins for trainings that processes of `side_by_side` can import."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import torch

SECONDS = 60


def count(number: int, progress: Callable[[str], None]) -> tuple[int, torch.Tensor, int]:
    """A training that says two things and hands back where it ran."""
    for step in (1, 2):
        progress(f"step {step}")
    return number, torch.full((3,), float(number)), os.getpid()


def fail_or_wait(error: Exception | None, folder: str, progress: Callable[[str], None]) -> None:  # noqa: ARG001
    """A training that fails, or one that would go on for long."""
    Path(folder, str(os.getpid())).touch()
    if error is not None:
        while len(list(Path(folder).iterdir())) < 2:
            time.sleep(0.05)
        raise error
    time.sleep(SECONDS)


def end_by_signal(folder: str, progress: Callable[[str], None]) -> None:  # noqa: ARG001
    """A training that the system kills, as it does where memory is short."""
    Path(folder, str(os.getpid())).touch()
    os.kill(os.getpid(), signal.SIGKILL)


def note_and_wait(folder: str, progress: Callable[[str], None]) -> None:  # noqa: ARG001
    """A training that leaves its process's number and goes on for long."""
    Path(folder, str(os.getpid())).touch()
    time.sleep(SECONDS)
