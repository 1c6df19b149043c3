"""Shared fixtures: one smoke run of the whole lineage per test session, made as a user makes it."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: workers share the cores

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

from orchestration.settings import PROJECT_ROOT
from orchestration.table_store import TableStore

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

RUN_SECONDS = 600


@dataclass(frozen=True)
class Home:
    """A `POPULACE_HOME` with what a run left in it."""

    root: Path
    output: str

    @property
    def store(self) -> TableStore:
        return TableStore(self.root / "tables")

    @property
    def environment(self) -> dict[str, str]:
        return clean_environment(self.root)


def clean_environment(home: Path) -> dict[str, str]:
    """The environment of a new user: no mirror, no configuration, a home of its own."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("POPULACE_", "OPENAI_", "MLFLOW_"))
    }
    kept.pop("DAGSTER_HOME", None)
    kept["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    return {**kept, "POPULACE_HOME": str(home), "POPULACE_RECIPE": "smoke", "COLUMNS": "160", "OMP_NUM_THREADS": "2"}


def populace(
    *arguments: str, environment: dict[str, str], timeout: int = RUN_SECONDS
) -> subprocess.CompletedProcess[str]:
    """Runs the command as a user does, from the repository's root."""
    return subprocess.run(
        ["populace", *arguments],
        cwd=PROJECT_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.fixture(scope="session")
def smoke_home(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Home:
    """The home after `populace run` with the smoke recipe; made once, shared by all workers, never written to."""
    return _run_once("smoke-home", tmp_path_factory, worker_id)


@pytest.fixture(scope="session")
def data_mirror() -> Path:
    """The data mirror; skips where there is none."""
    mirror = os.environ.get("POPULACE_DATA_MIRROR")
    if not mirror:
        pytest.skip("POPULACE_DATA_MIRROR is not set")
    return Path(mirror)


@pytest.fixture(scope="session")
def mirror_home(tmp_path_factory: pytest.TempPathFactory, worker_id: str, data_mirror: Path) -> Home:
    """As `smoke_home`, with the data mirror."""
    return _run_once("mirror-home", tmp_path_factory, worker_id, POPULACE_DATA_MIRROR=str(data_mirror))


def _run_once(name: str, tmp_path_factory: pytest.TempPathFactory, worker_id: str, **extra: str) -> Home:
    """Makes a home by one run, whichever worker asks first; the others wait for it."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    root, log = shared / name, shared / f"{name}.log"
    with FileLock(str(shared / f"{name}.lock")):
        if not log.exists():
            result = populace("run", environment=clean_environment(root) | extra)
            assert result.returncode == 0, result.stderr[-4000:] + result.stdout[-4000:]
            log.write_text(result.stderr + result.stdout, encoding="utf-8")
    return Home(root, log.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def run_populace() -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command as a user runs it: arguments, and the keyword `environment`."""
    return populace
