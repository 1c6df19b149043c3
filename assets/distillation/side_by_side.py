"""Runs trainings that do not depend on one another side by side, each in a process of its own, with the same bits.

A training is a function of its arguments: data, sizes, settings and seed. It has one thread wherever it runs, since
with another number of threads gradients may be summed in another order. Processes are spawned, not forked, because
torch and polars hold threads. Arguments and results cross over as bytes of our own objects. What a training tells
arrives while it runs; the first error ends all others, and so do an interrupt and the end of the parent.

    TrainingEnded   a process was ended from outside; the message says what is kept and what to do
"""

import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Lock
from typing import Any, NamedTuple, TypeVar

import torch

Tell = Callable[[str], None]
Result = TypeVar("Result")

SECONDS_BETWEEN_LOOKS = 0.2


class TrainingEnded(RuntimeError):
    """A process that trained was ended from outside."""


class _Channel(NamedTuple):
    """How a process tells its parent what its training says, one message at a time."""

    writer: Connection
    lock: Lock


_CHANNEL: list[_Channel] = []
"""That of this process, where it is one of `side_by_side`."""


class _Pickled:
    """A value that arrives in another process as bytes, which are made when it is its turn to be sent.

    As itself, torch would hand its tensors over through shared memory, of which containers have little.
    """

    def __init__(self, value: object) -> None:
        self.value = value

    def __reduce__(self) -> tuple[type[bytes], tuple[bytes]]:
        return bytes, (pickle.dumps(self.value),)


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def side_by_side(
    train: Callable[..., Result],
    trainings: Mapping[str, Mapping[str, Any]],
    *,
    processes: int,
    tell: Tell | None = None,
) -> dict[str, Result]:
    """Trains everything and returns the results by name, in the order of the trainings.

    Args:
        train: function of a module; called with a training's arguments and a keyword `progress`.
        trainings: arguments by name.
        processes: trainings at a time, at most; 1 trains in this process.
        tell: told what trainings say, each message after the training's name.

    Raises:
        TrainingEnded: a process was ended from outside.
        Exception: the first error of a training; the others are ended.
    """
    say: Tell = tell or (lambda _: None)
    processes = min(processes, len(trainings))
    if processes <= 1:
        with _one_thread():
            return {
                name: train(**arguments, progress=lambda message, name=name: say(f"{name}: {message}"))
                for name, arguments in trainings.items()
            }
    context = get_context("spawn")
    news, writer = context.Pipe(duplex=False)
    lifeline, held = context.Pipe(duplex=False)
    channel = _Channel(writer, context.Lock())
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_prepare, initargs=(channel, lifeline))
    with news, writer, lifeline, pool, held:  # on errors `held` is closed first, which ends every process
        futures: dict[str, Future[bytes]] = {
            name: pool.submit(_train, name, _Pickled((train, dict(arguments)))) for name, arguments in trainings.items()
        }
        waiting = set(futures.values())
        while waiting:
            news.poll(SECONDS_BETWEEN_LOOKS)
            done, waiting = wait(waiting, timeout=0)
            while news.poll():
                say(news.recv())
            for future in done:
                _raise_error_of(future)
        pool.shutdown()
        return {name: pickle.loads(future.result()) for name, future in futures.items()}


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _raise_error_of(future: Future[bytes]) -> None:
    error = future.exception()
    if isinstance(error, BrokenProcessPool):
        raise TrainingEnded(
            "A process that trained a student was ended from outside, most likely for lack of memory. Finished epochs "
            "are kept: run again, with a lower POPULACE_TRAINING_PROCESSES (1 needs the least memory)."
        ) from None
    if error is not None:
        remote, error.__cause__ = error.__cause__, None  # the message people see is that of the innermost cause
        error.__context__, error.__suppress_context__ = remote, False
        raise error


def _prepare(channel: _Channel, lifeline: Connection) -> None:
    """Readies a process: its parent answers interrupts, and it ends when its parent lets go of the lifeline or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
    torch.set_num_threads(1)
    _CHANNEL[:] = [channel]


def _end_with_parent(lifeline: Connection) -> None:
    try:
        lifeline.recv_bytes()
    finally:
        os._exit(1)


def _train(name: str, pickled: Any) -> bytes:
    (channel,) = _CHANNEL
    train, arguments = pickle.loads(pickled)

    def progress(message: str) -> None:
        with channel.lock:
            channel.writer.send(f"{name}: {message}")

    return pickle.dumps(train(**arguments, progress=progress))
