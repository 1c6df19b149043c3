"""The gates a student passes before it may be the champion: better than every baseline, with its tails, and steady.

Legend: H held-out agents, B resamples, P panel agents.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl

from assets.distillation.baselines import each_question
from assets.distillation.endurance import Endurance
from assets.distillation.simulated_shares import DrawnPanel, change_errors, held_out_resamples
from assets.distillation.training_set import TrainingSet
from validation.intervals import basic_interval, bootstrap_interval
from validation.metrics import tail_excess, tvd

STUDENT = "lsm"
REQUIRED = ("lsm_no_graph", "persistence", "demographic_regression", "friedkin_johnsen")
"""Baselines that the champion must beat."""
REPORTED = ("uniform",)
"""Baselines that stand beside, won or lost."""
SIMULATED = "lsm_simulated"
"""The student's people drawn by their attributes, who know of an agent no more than a regression on attributes does."""
REPORTED_OF_SIMULATED = ("demographic_regression", "uniform")
"""Baselines beside simulated people, won or lost: what shares they are made for is judged by `simulation_gates`."""
NUM_RESAMPLES = 2_000
LARGEST_TAIL_FACTOR = 2.0
"""Factor by which the share of stances beyond the teacher's 5 … 95 % range may miss the teacher's own, either way."""
LARGEST_CHANGE = 0.05
"""Largest change of any share from timestep 50 to 100 of a rollout that counts as steady."""
SMALLEST_SPREAD_RATIO = 0.5
"""Least spread between people that should be left after 100 timesteps, relative to timestep 0; reported only, since a
teacher whose people come to agree is no fault of the student."""


@dataclass(frozen=True)
class GateResult:
    """The student against one baseline or one limit.

    `kind` is baseline or limit. `difference` is below zero where the gate passes: the student's value minus the
    baseline's, or how far the value lies beyond the limit. `lower` and `upper` are the ends of its 95 % interval,
    resampling agents; both equal `difference` where there is no sampling. `is_required` says whether the champion
    depends on it.
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
    kind: Literal["baseline", "limit"] = "baseline"

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval leaves no doubt about the sign of the difference."""
        return self.upper < 0 if self.difference < 0 else self.lower > 0

    @property
    def verdict(self) -> str:
        """The result in words."""
        if self.kind == "limit":
            sure = "" if self.excludes_zero else ", but the interval includes the limit"
            return ("kept" if self.has_passed else "missed") + sure
        if self.has_passed:
            return "better" if self.excludes_zero else "better, but the interval includes zero"
        return "worse" if self.excludes_zero else "not better; the interval includes zero"


def evaluate_gates(held_out: pl.DataFrame, seed: int = 0) -> list[GateResult]:
    """The student against every baseline of the table, required ones first; then simulated people, reported only.

    The student knows each agent's first answer, simulated people do not. Both knowing attributes alone, they and the
    demographic regression are compared like for like.

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
    gates = [_baseline_gate(by_agent, baseline, seed) for baseline in (*REQUIRED, *REPORTED) if baseline in present]
    if SIMULATED in present:
        gates += [
            _simulated_gate(by_agent, baseline, seed) for baseline in REPORTED_OF_SIMULATED if baseline in present
        ]
    return gates


def simulation_gates(
    panel: DrawnPanel, training_set: TrainingSet, endurance: Endurance, seed: int = 0
) -> list[GateResult]:
    """The student as simulations run it, with drawn people: changes of shares, tails, and 100 timesteps.

    Args:
        panel: drawn people in the panel's place.
        training_set: the teacher's answers.
        endurance: the long rollout.
        seed: fixes the resampling.
    """
    weight_BP = held_out_resamples(training_set, NUM_RESAMPLES, seed)
    return [
        _change_gate(panel, training_set, weight_BP),
        _tail_gate(panel, training_set, weight_BP[:201]),
        _limit_gate(
            "steady",
            "steady over 100 timesteps (largest change of a share from 50 to 100)",
            endurance.largest_change,
            LARGEST_CHANGE,
            endurance.largest_change - LARGEST_CHANGE,
        ),
        _limit_gate(
            "spread",
            "people stay different over 100 timesteps (spread at 100 ÷ spread at 0)",
            endurance.smallest_spread_ratio,
            SMALLEST_SPREAD_RATIO,
            SMALLEST_SPREAD_RATIO - endurance.smallest_spread_ratio,
            is_required=False,
        ),
    ]


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


def _simulated_gate(by_agent: pl.DataFrame, baseline: str, seed: int) -> GateResult:
    return replace(
        _baseline_gate(by_agent, baseline, seed, student=SIMULATED),
        name=f"simulated people: held-out TVD below {baseline}",
        baseline=f"simulated_{baseline}",
        is_required=False,
    )


def _baseline_gate(by_agent: pl.DataFrame, baseline: str, seed: int, student: str = STUDENT) -> GateResult:
    student_H, baseline_H = by_agent[student].to_numpy(), by_agent[baseline].to_numpy()
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


def _change_gate(panel: DrawnPanel, training_set: TrainingSet, weight_BP: np.ndarray) -> GateResult:
    errors = change_errors(panel, training_set, weight_BP)
    difference_B = errors.student_B - errors.persistence_B
    interval = basic_interval(float(difference_B[0]), difference_B[1:])
    return GateResult(
        name="changes of simulated shares nearer to the teacher's than standing still",
        baseline="no_change",
        student_value=float(errors.student_B[0]),
        baseline_value=float(errors.persistence_B[0]),
        difference=interval.value,
        lower=interval.lower,
        upper=interval.upper,
        num_agents=int(training_set.is_held_out_P.sum()),
        is_required=True,
        has_passed=interval.value < 0,
    )


def _tail_gate(panel: DrawnPanel, training_set: TrainingSet, weight_BP: np.ndarray) -> GateResult:
    """Distance of log₂ of the tail factor from the allowed range; the factor is a mean over questions and scenarios."""
    stances: list[tuple[np.ndarray, np.ndarray]] = []
    for key, _, target in each_question(training_set):
        scores_O = target.question.option_scores_O.numpy().astype(np.float64)
        teacher_TP = target.probability_TPO.numpy().astype(np.float64)[1:] @ scores_O
        stances.append((panel[key][:, 1:] @ scores_O, teacher_TP))
    factor_B = np.array([_tail_factor(stances, np.repeat(np.arange(len(row)), row.astype(int))) for row in weight_BP])
    beyond_B = np.abs(np.log2(np.maximum(factor_B, 1e-3))) - math.log2(LARGEST_TAIL_FACTOR)
    lower, upper = np.quantile(beyond_B[1:], (0.025, 0.975))
    return GateResult(
        name="tails survive (stances beyond the teacher's 5–95 % range ÷ 0.10, from 0.5 to 2)",
        baseline="tails",
        student_value=float(factor_B[0]),
        baseline_value=1 / LARGEST_TAIL_FACTOR,
        difference=float(beyond_B[0]),
        lower=float(lower),
        upper=float(upper),
        num_agents=int(training_set.is_held_out_P.sum()),
        is_required=True,
        has_passed=bool(beyond_B[0] < 0),
        kind="limit",
    )


def _tail_factor(stances: Sequence[tuple[np.ndarray, np.ndarray]], agents_H: np.ndarray) -> float:
    factors = []
    for drawn_DTP, teacher_TP in stances:
        reference = teacher_TP[:, agents_H].ravel()
        factors.append(tail_excess(drawn_DTP[:, :, agents_H].ravel(), reference[np.isfinite(reference)]))
    return float(np.mean(factors))


def _limit_gate(
    slug: str, name: str, value: float, limit: float, beyond: float, *, is_required: bool = True
) -> GateResult:
    return GateResult(
        name=name,
        baseline=slug,
        student_value=value,
        baseline_value=limit,
        difference=beyond,
        lower=beyond,
        upper=beyond,
        num_agents=0,
        is_required=is_required,
        has_passed=bool(beyond < 0),
        kind="limit",
    )


def as_record(gate: GateResult) -> Mapping[str, object]:
    """The gate for the record of the student, with its verdict in words."""
    names = GateResult.__dataclass_fields__
    return {name: getattr(gate, name) for name in names} | {"verdict": gate.verdict}
