"""Runs benchmarks, prints the table of ratios and stores it with commit, machine and versions.

`python -m benchmarks` runs all of them, `python -m benchmarks raking rollout` those two; `--no-store` leaves no file.
"""

import argparse
import importlib
import platform
import subprocess
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.results import StoredRow, store
from benchmarks.timing import Row

NUM_THREADS = 2
MODULES = ("raking", "population", "society", "attention", "rollout", "delta_write", "traces")
"""Benchmarks in the order in which they run: modules of this package with a function `measure`."""

PACKAGES = (
    "torch",
    "numpy",
    "polars",
    "deltalake",
    "pandera",
    "ipfn",
    "igraph",
    "networkx",
    "numba",
    "torch-geometric",
)


def main() -> int:
    """Measures, prints and stores; the exit code is 0 even where a row falls short, since machines differ."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Ratios against peers and the floor.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all when none is given; one of {', '.join(MODULES)}")
    parser.add_argument("--no-store", action="store_true", help="print only")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(MODULES))
    if unknown:
        parser.error(f"unknown benchmark {', '.join(unknown)}; allowed: {', '.join(MODULES)}")
    torch.set_num_threads(NUM_THREADS)
    rows: list[StoredRow] = []
    start = time.monotonic()
    for name in [module for module in MODULES if not arguments.names or module in arguments.names]:
        print(f"measuring {name} …", file=sys.stderr)
        rows += [_stored(name, row) for row in importlib.import_module(f"benchmarks.{name}").measure()]
    minutes = (time.monotonic() - start) / 60
    Console(width=180 if not sys.stdout.isatty() else None).print(_table(rows))
    print(f"measured in {minutes:.1f} minutes")
    if not arguments.no_store:
        print(f"stored: {store(rows, {**describe_run(), 'minutes': round(minutes, 1)})}")
    return 0


def describe_run() -> dict:
    """What is needed to compare results later: commit, machine and versions."""
    git = ("git", "-C", str(Path(__file__).parent))
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    changes = subprocess.run(
        [*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True, check=False
    )
    return {
        "commit": commit,
        "has_uncommitted_changes": bool(changes.stdout.strip()),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "processor": _processor(),
            "threads": NUM_THREADS,
            "system": platform.platform(),
            "python": platform.python_version(),
        },
        "versions": {package: _version(package) for package in PACKAGES},
    }


def _stored(benchmark: str, row: Row) -> StoredRow:
    return StoredRow(benchmark=benchmark, **asdict(row), ratio=row.ratio, verdict=row.verdict)


def _table(rows: list[StoredRow]) -> Table:
    table = Table("what", "ours", "against", "theirs", "ratio", "target", "verdict", title="Benchmarks")
    for row in rows:
        table.add_row(
            f"{row.name}\n[dim]{row.note}[/dim]" if row.note else row.name,
            row.text_of(row.ours),
            row.other_name,
            row.text_of(row.other),
            row.ratio_text,
            row.target_text,
            row.verdict,
        )
    return table


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


if __name__ == "__main__":
    sys.exit(main())
