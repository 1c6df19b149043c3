"""Raking: 60,000 respondents, eight margins of which two are crossed, against `ipfn` and `balance` at equal tolerance.

`ipfn` works in this process on the same arrays. `balance` cannot share our environment (docs/adr/0007) and is asked in
turn in its own; where that environment is missing, its row is left out and the note says so.
"""

import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from assets.population.laid_margins import Margin
from assets.population.weighting import CalibrationMethod, calibrate_weights
from benchmarks.timing import Row, median_seconds
from orchestration.settings import PROJECT_ROOT

NUM_RESPONDENTS, NUM_TARGET = 60_000, 1_000_000
LEVELS = {
    "sex": 2,
    "age": 6,
    "education": 5,
    "state": 51,
    "party": 3,
    "vote": 3,
    "age_by_education": 30,
    "race_by_sex": 8,
}
CROSSED = {"age_by_education": ("age", "education"), "race_by_sex": ("race", "sex")}
SINGLE = {"race": 4} | {name: size for name, size in LEVELS.items() if name not in CROSSED}
TOLERANCE = 1e-6
TARGET_SPEEDUP = 10.0
PEERS_PYTHON = PROJECT_ROOT / ".venv-peers" / "bin" / "python"


def survey() -> tuple[np.ndarray, list[Margin]]:
    """Skewed respondents with unequal weights, and the totals of a differently skewed population."""
    generator = np.random.default_rng(7)
    people, target = (
        {
            name: generator.choice(levels, size, p=generator.dirichlet(np.full(levels, 8.0)))
            for name, levels in SINGLE.items()
        }
        for size in (NUM_RESPONDENTS, NUM_TARGET)
    )
    for columns in (people, target):
        for name, (first, second) in CROSSED.items():
            columns[name] = columns[first] * SINGLE[second] + columns[second]
    margins = [
        Margin(
            name,
            tuple(str(level) for level in range(num_levels)),
            people[name],
            np.bincount(target[name], minlength=num_levels).astype(float),
        )
        for name, num_levels in LEVELS.items()
    ]
    return generator.uniform(0.3, 3.0, NUM_RESPONDENTS), margins


def measure() -> list[Row]:
    """Rows against both peers, with the largest margin error of each beside the time."""
    weight, margins = survey()
    method = CalibrationMethod(tolerance=TOLERANCE)
    errors: dict[str, float] = {}

    def ours() -> None:
        errors["ours"] = largest_error(calibrate_weights(weight, margins, method).calibrated_weight_R, margins)

    def ipfn_peer() -> None:
        errors["ipfn"] = largest_error(_with_ipfn(weight, margins), margins)

    seconds = median_seconds({"ours": ours, "ipfn": ipfn_peer}, repeats=3)
    name = f"raking {NUM_RESPONDENTS:,} respondents to {len(margins)} margins"
    rows = [
        Row(
            name,
            seconds["ours"],
            seconds["ipfn"],
            "ipfn",
            TARGET_SPEEDUP,
            is_speedup=True,
            note=f"largest relative margin error: ours {errors['ours']:.1e}, ipfn {errors['ipfn']:.1e}",
        )
    ]
    if not PEERS_PYTHON.exists():
        print(f"balance is left out: {PEERS_PYTHON} does not exist (make bench creates it)")
        return rows
    with _BalanceWorker(weight, margins) as worker:
        mine, theirs = [], []
        for _ in range(3):
            mine.append(median_seconds({"ours": ours}, repeats=1)["ours"])
            answer = worker.ask()
            theirs.append(answer["seconds"])
    return [
        *rows,
        Row(
            name,
            float(np.median(mine)),
            float(np.median(theirs)),
            "balance",
            TARGET_SPEEDUP,
            is_speedup=True,
            note=f"largest relative margin error: ours {errors['ours']:.1e}, balance {answer['max_error']:.1e}; "
            "balance runs in its own environment, on its own clock",
        ),
    ]


def largest_error(weight_R: np.ndarray, margins: list[Margin]) -> float:
    """Largest relative error over all margin levels."""
    return max(
        float(np.abs(np.bincount(m.level_R, weights=weight_R, minlength=len(m.levels)) / m.total_L - 1).max())
        for m in margins
    )


def _with_ipfn(weight_R: np.ndarray, margins: list[Margin]) -> np.ndarray:
    from ipfn.ipfn import ipfn

    frame = pd.DataFrame({margin.name: margin.level_R for margin in margins} | {"total": weight_R})
    aggregates = [
        pd.Series(margin.total_L, index=pd.Index(range(len(margin.levels)), name=margin.name)) for margin in margins
    ]
    fitted = ipfn(
        frame,
        aggregates,
        [[margin.name] for margin in margins],
        weight_col="total",
        convergence_rate=TOLERANCE,
        max_iteration=1000,
        rate_tolerance=0.0,
    ).iteration()
    return fitted["total"].to_numpy()


class _BalanceWorker:
    """A process in the peers' environment that rakes on request and answers with its own timing."""

    def __init__(self, weight_R: np.ndarray, margins: list[Margin]) -> None:
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "survey.npz"
        np.savez(path, weight=weight_R, **{margin.name: margin.level_R for margin in margins})
        shares = {margin.name: (margin.total_L / margin.total_L.sum()).tolist() for margin in margins}
        self.request = json.dumps({"path": str(path), "shares": shares, "num_target": NUM_TARGET})

    def __enter__(self) -> "_BalanceWorker":
        script = Path(__file__).with_name("peer_balance.py")
        self.process = subprocess.Popen(
            [PEERS_PYTHON, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        return self

    def ask(self) -> dict[str, float]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(self.request + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"The balance worker ended with code {self.process.wait()}; run it by hand to see why.")
        return json.loads(answer)

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)
        self.folder.cleanup()
