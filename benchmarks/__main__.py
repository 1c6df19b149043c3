"""Runs every benchmark, prints the table of ratios and stores it with commit, machine and versions."""

import json
import platform
import resource
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import attention, delta_write, raking, rollout
from benchmarks.timing import Row

NUM_THREADS = 2
RESULTS = Path(__file__).with_name("results")
PACKAGES = ("torch", "numpy", "polars", "deltalake", "pandera", "ipfn", "torch-geometric")


def main() -> int:
    """Measures, prints and stores; the exit code is 0 even where a row falls short, since machines differ."""
    torch.set_num_threads(NUM_THREADS)
    rows: list[Row] = []
    for benchmark in (raking, attention, rollout, delta_write):
        print(f"measuring {benchmark.__name__} …", file=sys.stderr)
        rows += benchmark.measure()
    table = Table("what", "ours", "against", "theirs", "ratio", "target", "verdict", title="Benchmarks")
    for row in rows:
        sign = "≥" if row.is_speedup else "≤"
        unit = "× faster" if row.is_speedup else "× the floor"
        table.add_row(
            f"{row.name}\n[dim]{row.note}[/dim]" if row.note else row.name,
            f"{row.ours:.3f} s",
            row.other_name,
            f"{row.other:.3f} s",
            f"{row.ratio:.2f} {unit}",
            f"{sign} {row.target:g}",
            row.verdict,
        )
    Console(width=180 if not sys.stdout.isatty() else None).print(table)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(describe(rows), indent=2), encoding="utf-8")
    print(f"stored: {path}")
    return 0


def describe(rows: list[Row]) -> dict:
    """The results with what is needed to compare them later."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    return {
        "commit": commit,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "processor": _processor(),
            "threads": NUM_THREADS,
            "system": platform.platform(),
            "python": platform.python_version(),
        },
        "versions": {package: metadata.version(package) for package in PACKAGES},
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "rows": [
            {
                "name": row.name,
                "ours_seconds": row.ours,
                "other": row.other_name,
                "other_seconds": row.other,
                "ratio": row.ratio,
                "target": row.target,
                "is_speedup": row.is_speedup,
                "verdict": row.verdict,
                "note": row.note,
            }
            for row in rows
        ],
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


if __name__ == "__main__":
    sys.exit(main())
