"""What surveys say about an item: which wave counts, weighted shares, and how far sampling error alone moves them.

Legend: R respondents, O options, B resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from validation.intervals import design_effect
from validation.predicates import compile_predicate

NUM_RESAMPLES = 500
MIN_RESPONDENTS = 100
"""Smaller groups are suppressed: their sampling error alone is about ten points."""


@dataclass(frozen=True)
class Wave:
    """One wave of one survey, and whether its respondents are the donors of the agents."""

    survey: str
    year: int
    num_respondents: int
    is_donors: bool


@dataclass(frozen=True)
class WeightedShares:
    """Weighted shares of options with the number of respondents and their effective number."""

    share_O: np.ndarray
    num_respondents: int
    effective_size: float


def choose_wave(waves: pl.DataFrame) -> tuple[Wave, Wave | None]:
    """The wave to compare with, and the wave of the same survey before it, where there is one.

    The donors' survey comes first, since agents come from it; else the latest wave of any survey, and among waves of
    one year the one with more respondents.

    Args:
        waves: rows with survey, wave, num_respondents and num_donors, of one item.

    Raises:
        ValueError: nobody answered the item.
    """
    if waves.is_empty():
        raise ValueError("No respondent answered the item. Load a survey that asks it, or drop `item` in the scenario.")
    ranked = sorted(
        waves.iter_rows(named=True),
        key=lambda row: (row["num_donors"] > 0, row["wave"], row["num_respondents"], row["survey"]),
        reverse=True,
    )
    best = ranked[0]
    earlier = [row for row in ranked if row["survey"] == best["survey"] and row["wave"] < best["wave"]]
    return _wave(best), _wave(max(earlier, key=lambda row: row["wave"])) if earlier else None


def respondents_of_item(
    item: str,
    survey_respondents: pl.DataFrame,
    calibrated_respondents: pl.DataFrame,
    population_where: str | None,
) -> pl.DataFrame:
    """Everybody who answered an item, with `answer` and `weight`: the calibrated weight of donors, else the design's.

    Only respondents who match the scenario's population are kept; attributes that a survey did not ask match nothing.

    Raises:
        ValueError: no survey has the item.
        PredicateError: the predicate cannot be used.
    """
    column = f"item_{item}"
    if column not in survey_respondents.columns:
        items = [name.removeprefix("item_") for name in survey_respondents.columns if name.startswith("item_")]
        raise ValueError(f"No loaded survey has the item {item!r}. Items: {', '.join(items) or 'none'}.")
    return (
        survey_respondents.filter(pl.col(column).is_not_null())
        .with_columns(pl.lit(-1).alias("agent_id"), pl.lit(-1).alias("household_id"))
        .filter(compile_predicate(population_where))
        .join(calibrated_respondents.select("respondent_id", "calibrated_weight"), on="respondent_id", how="left")
        .with_columns(
            pl.col(column).alias("answer"),
            pl.coalesce("calibrated_weight", "design_weight").alias("weight"),
            pl.col("calibrated_weight").is_not_null().alias("is_donor"),
        )
        .sort("respondent_id")
    )


def weighted_shares(respondents: pl.DataFrame, options: Sequence[str]) -> WeightedShares | None:
    """Weighted share of each option among rows with answer and weight; None without rows that chose an option."""
    chosen = respondents.filter(pl.col("answer").is_in(list(options)))
    if chosen.is_empty():
        return None
    weight_R = chosen["weight"].to_numpy()
    answer_R = chosen["answer"].to_numpy()
    total_O = np.array([weight_R[answer_R == option].sum() for option in options])
    return WeightedShares(total_O / total_O.sum(), len(chosen), len(chosen) / design_effect(weight_R))


def resample_shares(shares: WeightedShares, generator: np.random.Generator) -> np.ndarray:
    """Shares that as large an effective sample of the same people could have given, shape [B, O].

    A simple random sample of the effective size stands for the weighted sample, which carries the weights' design
    effect but not that of clustered interviewing, which the extracts do not describe.

    Source: Kish (1965), Survey Sampling, section 8.2.
    """
    size = max(1, round(shares.effective_size))
    return generator.multinomial(size, shares.share_O, size=NUM_RESAMPLES) / size


def sampling_error(distance_of_resamples: np.ndarray) -> float:
    """Expected distance between the survey's shares and those of a resample: the noise floor."""
    return float(distance_of_resamples.mean())


def _wave(row: dict) -> Wave:
    return Wave(row["survey"], row["wave"], row["num_respondents"], row["num_donors"] > 0)
