"""Stored results: one JSON file per run, and the reference page that shows the newest result of every benchmark.

`python -m benchmarks.results > docs/reference/benchmarks.md` writes the page.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("results")

INTRODUCTION = """\
# Benchmarks

Written by `python -m benchmarks.results` from the stored results in `benchmarks/results/`, of every benchmark the
newest. `make bench` measures all of them again and stores a new file; `python -m benchmarks NAME` measures some.

Ratios are measured side by side in one run, medians of several repetitions taken in turn, on the machine named below
each heading. "× faster" is the other's time ÷ ours; "× the other" is ours ÷ the other's. A row that misses its target
says `falls short`. [`benchmarks/NOTES.md`](../../benchmarks/NOTES.md) counts bytes and operations and keeps each
version's prediction beside its outcome.
"""


@dataclass(frozen=True)
class StoredRow:
    """One row of a result file; the fields are those of `benchmarks.timing.Row`, with what follows from them."""

    benchmark: str
    name: str
    ours: float
    other_name: str
    other: float
    unit: str
    ratio: float
    target: float
    is_speedup: bool
    verdict: str
    note: str

    @property
    def ratio_text(self) -> str:
        """The ratio with what it means."""
        return f"{self.ratio:.2f} {'× faster' if self.is_speedup else '× the other'}"

    @property
    def target_text(self) -> str:
        """The target with its direction."""
        return f"{'≥' if self.is_speedup else '≤'} {self.target:g}"

    def text_of(self, value: float) -> str:
        """One of the two sides with its unit."""
        return f"{value:.3f} {self.unit}" if value < 100 else f"{value:,.0f} {self.unit}"


def store(rows: Sequence[StoredRow], run: dict[str, Any], folder: Path = FOLDER) -> Path:
    """Writes a run's rows with what describes the run, and returns the file."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps({**run, "rows": [asdict(row) for row in rows]}, indent=2) + "\n", encoding="utf-8")
    return path


def newest(folder: Path = FOLDER) -> dict[str, tuple[dict[str, Any], list[StoredRow]]]:
    """The newest run and its rows per benchmark."""
    found: dict[str, tuple[dict[str, Any], list[StoredRow]]] = {}
    for path in sorted(folder.glob("*.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        rows = [StoredRow(**row) for row in run.pop("rows")]
        for benchmark in {row.benchmark for row in rows}:
            found[benchmark] = (run, [row for row in rows if row.benchmark == benchmark])
    return found


def page(folder: Path = FOLDER) -> str:
    """The reference page, in Markdown."""
    parts = [INTRODUCTION]
    for benchmark, (run, rows) in sorted(newest(folder).items()):
        machine = run["machine"]
        dirty = ", with uncommitted changes" if run["has_uncommitted_changes"] else ""
        parts.append(
            f"## {benchmark}\n\n{machine['processor']}, {machine['threads']} threads, Python {machine['python']}, "
            f"torch {run['versions']['torch']}; commit {run['commit'][:10]}{dirty}, {run['created']}.\n"
        )
        lines = ["| what | ours | against | theirs | ratio | target | verdict |", "|---|---|---|---|---|---|---|"]
        for row in rows:
            name = f"{row.name} ({row.note})" if row.note else row.name
            cells = (name, row.text_of(row.ours), row.other_name, row.text_of(row.other))
            lines.append("| " + " | ".join((*cells, row.ratio_text, row.target_text, row.verdict)) + " |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(page(), end="")
