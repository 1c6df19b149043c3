"""How much of each skill AI can perform, estimated from labels of occupations and the skills that make them up.

Labels say which share of an occupation's tasks AI speeds up by half or more; no published label is about skills. An
occupation's share is read as the weighted mean of its skills' shares, and the skills' shares are solved for.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.optimize import lsq_linear

NUM_FOLDS = 10
LABEL_COLUMNS: dict[tuple[str, str], str] = {
    ("human", "direct"): "human_rating_alpha",
    ("human", "with_software"): "human_rating_beta",
    ("gpt4", "direct"): "dv_rating_alpha",
    ("gpt4", "with_software"): "dv_rating_beta",
}
"""(who labelled, what counts) → column. `direct` counts exposed tasks E1; `with_software` E1 + ½ E2."""


@dataclass(frozen=True)
class SkillShares:
    """Automatable share of every skill with bootstrap draws; arrays over skills S and draws B.

    `r2_held_out` is the share of variance of the labels that skills explain in occupations left out of the fit.
    """

    skills: tuple[str, ...]
    share_S: np.ndarray
    draws_BS: np.ndarray
    r2_held_out: float
    num_occupations: int


def estimate_skill_shares(
    weight_OS: np.ndarray, label_O: np.ndarray, skills: tuple[str, ...], *, num_draws: int, seed: int
) -> SkillShares:
    """Solves label(o) = Σ_s weight(o, s)·share(s) with every share in [0, 1], by bounded least squares.

    Args:
        weight_OS: skill weights per occupation, rows sum to one.
        label_O: labelled share of exposed tasks, 0 to 1.
        skills: names in the order of the columns.
        num_draws: bootstrap samples of occupations.
        seed: of the bootstrap and of the folds.

    Source: bounded-variable least squares, Stark & Parker (1995); bootstrap over occupations, Efron (1979).
    """
    generator = np.random.default_rng(seed)
    num_occupations = len(label_O)
    draws = [generator.integers(num_occupations, size=num_occupations) for _ in range(num_draws)]
    predicted_O = np.empty(num_occupations)
    for fold in np.array_split(generator.permutation(num_occupations), NUM_FOLDS):
        kept = np.setdiff1d(np.arange(num_occupations), fold)
        predicted_O[fold] = weight_OS[fold] @ _solve(weight_OS[kept], label_O[kept])
    spread = float(((label_O - label_O.mean()) ** 2).sum())
    return SkillShares(
        skills=skills,
        share_S=_solve(weight_OS, label_O),
        draws_BS=np.array([_solve(weight_OS[rows], label_O[rows]) for rows in draws]).reshape(num_draws, len(skills)),
        r2_held_out=1.0 - float(((label_O - predicted_O) ** 2).sum()) / spread if spread > 0 else float("nan"),
        num_occupations=num_occupations,
    )


def labels_by_occupation(labels: pl.DataFrame) -> pl.DataFrame:
    """The labels per six-digit SOC code (means over O*NET occupations), in columns of `LABEL_COLUMNS`."""
    columns = list(LABEL_COLUMNS.values())
    return (
        labels.select(pl.col("O*NET-SOC Code").str.slice(0, 7).alias("soc_code"), *columns)
        .group_by("soc_code")
        .agg(pl.col(columns).mean())
        .sort("soc_code")
    )


def _solve(weight_OS: np.ndarray, label_O: np.ndarray) -> np.ndarray:
    return np.clip(lsq_linear(weight_OS, label_O, bounds=(0.0, 1.0), method="bvls").x, 0.0, 1.0)
