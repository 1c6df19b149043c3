"""Who holds a claim in the ledger: a running process, known by a file that it keeps locked.

The kernel drops the lock when the process ends, however it ends, so that no clock and no process number decides whether
a claim still stands (docs/adr/0008).
"""

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Owner:
    """This process as a holder of claims; the lock lasts until `close` or the end of the process."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = uuid.uuid4().hex
        self._path = _path(folder, self.name)
        self._file = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def close(self) -> None:
        """Gives up every claim that is still open."""
        self._path.unlink(missing_ok=True)
        os.close(self._file)


def is_alive(folder: Path, name: str) -> bool:
    """Whether the process that took the name still runs."""
    try:
        file = os.open(_path(folder, name), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def forget(folder: Path, name: str) -> None:
    """Removes what a process that ended without closing left behind."""
    _path(folder, name).unlink(missing_ok=True)


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Lets one process at a time pass, for steps that two must not take at once."""
    file = os.open(folder / "turn", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.lock"
