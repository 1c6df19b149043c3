"""The gates a student passes before it may be the champion: better than no graph and better than standing still.

Legend: H held-out agents.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from validation.intervals import bootstrap_interval
from validation.metrics import tvd

STUDENT = "lsm"
REQUIRED = ("lsm_no_graph", "persistence")
"""Baselines that the champion must beat."""
REPORTED = ("demographic_regression", "friedkin_johnsen", "uniform")
"""Baselines that stand beside, won or lost."""
NUM_RESAMPLES = 2_000


@dataclass(frozen=True)
class GateResult:
    """The student against one baseline on held-out agents.

    `difference` is the mean over agents of the student's TVD to the teacher minus the baseline's: below zero the
    student is nearer. `lower` and `upper` are the ends of its 95 % interval, resampling agents. `is_required` says
    whether the champion depends on it; a gate passes when the difference is below zero.
    """

    name: str
    baseline: str
    student_value: float
    baseline_value: float
    difference: float
    lower: float
    upper: float
    num_agents: int
    is_required: bool
    has_passed: bool

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval leaves no doubt about the sign."""
        return self.upper < 0 or self.lower > 0

    @property
    def verdict(self) -> str:
        """The result in words."""
        if self.has_passed:
            return "better" if self.excludes_zero else "better, but the interval includes zero"
        return "worse" if self.excludes_zero else "not better; the interval includes zero"


def evaluate_gates(held_out: pl.DataFrame, seed: int = 0) -> list[GateResult]:
    """The student against every baseline of the table, required ones first.

    The unit is the agent: TVD is averaged over an agent's scenarios, questions and timesteps, then compared pairwise,
    so that the many correlated answers of one agent do not count as many observations.

    Args:
        held_out: rows of `held_out_predictions` of one student.
        seed: fixes the resampling.

    Raises:
        ValueError: the student or a required baseline is missing.

    Source: paired percentile bootstrap, Efron & Tibshirani (1993), chapter 13.
    """
    present = set(held_out["model"])
    missing = [name for name in (STUDENT, *REQUIRED) if name not in present]
    if missing:
        raise ValueError(
            f"held_out_predictions holds no rows of {', '.join(missing)}; "
            f"found {', '.join(sorted(present)) or 'none'}. "
            "Gates compare the student with each required baseline on the same answers."
        )
    by_agent = mean_tvd_by_agent(held_out)
    return [_gate(by_agent, baseline, seed) for baseline in (*REQUIRED, *REPORTED) if baseline in present]


def has_passed_gates(gates: Sequence[GateResult]) -> bool:
    """Whether every required gate has passed."""
    return all(gate.has_passed for gate in gates if gate.is_required)


def mean_tvd_by_agent(held_out: pl.DataFrame) -> pl.DataFrame:
    """Mean TVD between prediction and teacher: a row per agent_id and a column per model."""
    scored = pl.concat(
        [
            rows.select("model", "agent_id").with_columns(pl.Series("tvd", _row_tvd(rows)))
            for (_,), rows in held_out.group_by(
                pl.col("teacher_probabilities").list.len().alias("num_options"), maintain_order=True
            )
        ]
    )
    means = scored.group_by("model", "agent_id").agg(pl.col("tvd").mean())
    return means.pivot(on="model", index="agent_id", values="tvd").sort("agent_id")


def _row_tvd(rows: pl.DataFrame) -> np.ndarray:
    predicted, teacher = (
        np.array(rows[column].to_list()) for column in ("option_probabilities", "teacher_probabilities")
    )
    return tvd(predicted, teacher)


def _gate(by_agent: pl.DataFrame, baseline: str, seed: int) -> GateResult:
    student_H, baseline_H = by_agent[STUDENT].to_numpy(), by_agent[baseline].to_numpy()
    interval = bootstrap_interval(np.mean, student_H - baseline_H, seed=seed, num_resamples=NUM_RESAMPLES)
    return GateResult(
        name=f"held-out TVD below {baseline}",
        baseline=baseline,
        student_value=float(student_H.mean()),
        baseline_value=float(baseline_H.mean()),
        difference=interval.value,
        lower=interval.lower,
        upper=interval.upper,
        num_agents=by_agent.height,
        is_required=baseline in REQUIRED,
        has_passed=interval.value < 0,
    )
