"""Trainings side by side: the bits of one after another, what they say, and an end to all of them on any error."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from brief_trainings import SECONDS, count, end_by_signal, fail_or_wait

from assets.distillation import trainings as students
from assets.distillation.checkpoints import CheckpointError, read_progress
from assets.distillation.distil import student_config
from assets.distillation.side_by_side import TrainingEnded, side_by_side
from assets.distillation.training_set import TrainingSet
from assets.distillation.trainings import LONG_ENOUGH, Training, train_students

PROJECT_ROOT = Path(__file__).parents[3]
WAIT_FOR_EVER = """
import sys
from brief_trainings import note_and_wait
from assets.distillation.side_by_side import side_by_side

if __name__ == "__main__":
    side_by_side(note_and_wait, {name: {"folder": sys.argv[1]} for name in "ab"}, processes=2)
"""


def processes_of(folder: Path) -> list[int]:
    return [int(path.name) for path in folder.iterdir()]


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS / 2
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_running(process: int) -> bool:
    """Whether a process is there and is no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def small(training_set: TrainingSet, seed: int, **sizes: object) -> Training:
    config = replace(student_config(training_set), hidden_dim=32, identity_dim=8, latent_dim=8, readout_dim=8)
    return Training(training_set, replace(config, **sizes), seed)


@pytest.fixture
def three(training_set: TrainingSet) -> dict[str, Training]:
    return {
        "one": small(training_set, 8),
        "no graph": small(training_set, 8, use_graph=False),
        "another seed": small(training_set, 9),
    }


@pytest.mark.parametrize("processes", [1, 2])
def test_results_come_in_order_with_what_each_training_said(processes: int) -> None:
    told: list[str] = []
    tasks = {name: {"number": number} for number, name in enumerate(("first", "second", "third"))}
    found = side_by_side(count, tasks, processes=processes, tell=told.append)
    assert list(found) == list(tasks)
    for number, (name, (same, tensor, process)) in enumerate(found.items()):
        assert same == number
        assert torch.equal(tensor, torch.full((3,), float(number)))
        assert (process == os.getpid()) == (processes == 1)
        assert [message for message in told if message.startswith(name)] == [f"{name}: step 1", f"{name}: step 2"]


def test_a_single_training_starts_no_process() -> None:
    assert side_by_side(count, {"one": {"number": 1}}, processes=8)["one"][2] == os.getpid()


def test_short_trainings_start_no_process(
    training_set: TrainingSet, three: dict[str, Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(students, "side_by_side", lambda *_, processes, tell: asked.append(processes))  # noqa: ARG005
    steps = max(rollout.num_timesteps for rollout in training_set.rollouts)
    for epochs in (LONG_ENOUGH // steps - 1, LONG_ENOUGH // steps):
        train_students(three, epochs=epochs, processes=2)
    assert asked == [1, 2]


@pytest.mark.slow
def test_two_processes_give_the_bits_of_one(
    three: dict[str, Training], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights and curves; also where trainings had been begun one after another and go on side by side."""
    monkeypatch.setattr(students, "LONG_ENOUGH", 0)
    alone = train_students(three, epochs=2)
    begun: list[str] = []

    def stop(message: str) -> None:
        begun.append(message)
        if message.startswith("no graph: epoch 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_students(three, epochs=2, checkpoints=tmp_path, progress=stop)
    kept = [read_progress(path) for path in tmp_path.glob("*.safetensors")]
    assert sorted(item.epoch for item in kept if item) == [1, 2]
    told: list[str] = []
    resumed = train_students(three, epochs=2, checkpoints=tmp_path, processes=2, progress=told.append)
    assert {"one: going on after epoch 2/2", "no graph: going on after epoch 1/2"} <= set(told)
    beside = train_students(three, epochs=2, processes=3)
    for name, whole in alone.items():
        for other in (resumed[name], beside[name]):
            assert other.model.config == whole.model.config
            assert not other.model.training
            assert (other.best_epoch, other.num_epochs) == (whole.best_epoch, whole.num_epochs)
            assert other.curves.equals(whole.curves)
            for key, weight in whole.model.state_dict().items():
                assert torch.equal(weight, other.model.state_dict()[key]), (name, key)


def test_threads_change_no_bit_of_a_training(training_set: TrainingSet) -> None:
    """Of this student they would, from three on: its gradients are then summed in another order."""
    threads, found = torch.get_num_threads(), []
    try:
        for num_threads in (1, 3):
            torch.set_num_threads(num_threads)
            found.append(train_students({"one": small(training_set, 8)}, epochs=2)["one"])
    finally:
        torch.set_num_threads(threads)
    assert torch.get_num_threads() == threads
    assert found[0].curves.equals(found[1].curves)
    for key, weight in found[0].model.state_dict().items():
        assert torch.equal(weight, found[1].model.state_dict()[key]), key


@pytest.mark.parametrize(
    "error",
    [
        FloatingPointError("not finite"),
        pytest.param(CheckpointError("damaged"), marks=pytest.mark.slow),
        pytest.param(ValueError("epochs"), marks=pytest.mark.slow),
    ],
)
def test_an_error_ends_the_other_trainings_and_arrives_as_itself(error: Exception, tmp_path: Path) -> None:
    tasks = {name: {"error": given, "folder": str(tmp_path)} for name, given in (("bad", error), ("good", None))}
    start = time.monotonic()
    with pytest.raises(type(error), match=f"^{error}$") as found:
        side_by_side(fail_or_wait, tasks, processes=2)
    assert found.value.__cause__ is None
    assert "fail_or_wait" in str(found.value.__context__)
    assert time.monotonic() - start < SECONDS
    assert not any(map(is_running, processes_of(tmp_path)))


@pytest.mark.slow
def test_a_training_that_the_system_kills_says_what_to_do(tmp_path: Path) -> None:
    tasks = {name: {"folder": str(tmp_path)} for name in ("one", "two")}
    with pytest.raises(TrainingEnded, match="POPULACE_TRAINING_PROCESSES"):
        side_by_side(end_by_signal, tasks, processes=2)
    assert not any(map(is_running, processes_of(tmp_path)))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_training_outlives_its_parent(number: signal.Signals, tmp_path: Path) -> None:
    script, folder = tmp_path / "waits.py", tmp_path / "running"
    script.write_text(WAIT_FOR_EVER, encoding="utf-8")
    folder.mkdir()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(PROJECT_ROOT), str(PROJECT_ROOT / "tests" / "support"))),
    }
    parent = subprocess.Popen([sys.executable, script, folder], env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: len(processes_of(folder)) == 2)
        parent.send_signal(number)
        parent.wait(SECONDS / 2)
    finally:
        parent.kill()
    wait_until(lambda: not any(map(is_running, processes_of(folder))))
    assert not any(map(is_running, processes_of(folder)))
