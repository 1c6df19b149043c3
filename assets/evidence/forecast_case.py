"""What a forecast case is: shares of options over time in subgroups, split into an early part and a held-out rest.

    CaseRefused   a wave or an item cannot be used; the message becomes the note of its row in the table

Legend: S series (item × segment), T times, O options.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

MIN_RESPONDENTS = 100
"""Smaller groups are suppressed: their sampling error alone is about ten points."""

MIN_SHARE_OF_OPTION = 0.02
"""An option that holds less overall may be missing from a wave by chance; one that holds more may not."""


class CaseRefused(ValueError):
    """A wave, an item or a source cannot be used for a case."""


@dataclass(frozen=True, eq=False)
class Series:
    """Shares of one item's options in one segment.

    Attributes:
        item: survey item, or the quantity of a series.
        segment: `all` or `attribute=level`.
        options: in order.
        score_O: position of each option on −1 … 1.
        step_T: timesteps since the case's first time, rising.
        share_TO: observed shares.
        effective_size_T: effective sample size; inf for counts of everybody.
        size: weight of the segment among the segments of its attribute.
        covariate: standardised covariate of a place; 0 where the case has none.
        regression_TO: what the demographic regression says, fitted on the early part; None where there is none.
    """

    item: str
    segment: str
    options: tuple[str, ...]
    score_O: np.ndarray
    step_T: np.ndarray
    share_TO: np.ndarray
    effective_size_T: np.ndarray
    size: float = 1.0
    covariate: float = 0.0
    regression_TO: np.ndarray | None = None

    @property
    def stance_T(self) -> np.ndarray:
        """Mean option score, −1 … 1."""
        return self.share_TO @ self.score_O

    @property
    def attribute(self) -> str:
        """The attribute that the segment is a level of; `all` for the whole."""
        return self.segment.split("=")[0]


@dataclass(frozen=True, eq=False)
class ForecastCase:
    """A case: everything up to `split_step` may be fitted, everything after it is only compared with.

    Attributes:
        name: short name, unique within a run.
        title: what is compared, in words.
        series: with at least three times up to the split and one after it.
        moments: the label of each step that occurs: a year or a date.
        split_step: last step of the early part.
        lookback: steps before a start over which slopes are measured.
        longest: steps that the furthest fitted comparison reaches ahead.
        mechanism: program that is calibrated: momentum for opinions, adoption for uptake.
        resample_by: units that are resampled for intervals: item, segment or block of four times.
        held_out: what was held out.
        note: what the reader must know of the source.
        refused: segments or items left out, with the reason of each.
    """

    name: str
    title: str
    series: tuple[Series, ...]
    moments: Mapping[int, str]
    split_step: int
    lookback: int
    longest: int
    mechanism: str
    resample_by: str
    held_out: str = "wave"
    note: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def fitted_until(self) -> str:
        """Label of the last fitted time."""
        return self.moments[self.split_step]


def check_weights(rows: pl.DataFrame, wave: str) -> None:
    """Refuses a wave in which a respondent has no positive finite weight.

    Raises:
        CaseRefused: naming the wave and the number of respondents.
    """
    weight = rows["weight"]
    num_bad = int((weight.is_null() | ~weight.fill_null(0.0).is_finite() | (weight.fill_null(0.0) <= 0)).sum())
    if num_bad:
        raise CaseRefused(
            f"refused: {num_bad} of {rows.height} respondents of wave {wave} have no positive weight; "
            "shares without weights describe the sample and not the population"
        )


def check_options(answers: pl.DataFrame, item: str) -> tuple[str, ...]:
    """Options of an item that every wave offered.

    Args:
        answers: rows with `wave` and `answer`, waves with at least 100 answers.
        item: for the message.

    Raises:
        CaseRefused: an option is common in one wave and absent from another, so that waves asked different things.
    """
    counts = answers.group_by("wave", "answer").len()
    waves = sorted(counts["wave"].unique())
    common = (
        counts.group_by("answer").agg(pl.col("len").sum()).filter(pl.col("len") >= MIN_SHARE_OF_OPTION * len(answers))
    )
    for option in sorted(common["answer"].to_list()):
        offered = set(counts.filter(pl.col("answer") == option)["wave"])
        absent = [wave for wave in waves if wave not in offered]
        if absent:
            raise CaseRefused(
                f"refused: the options of {item} differ between waves: {option!r} is answered in {min(offered)} and "
                f"nobody answers it in {', '.join(map(str, absent))}"
            )
    return tuple(sorted(counts["answer"].unique()))


def split_series(series: Sequence[Series], split_step: int) -> tuple[list[Series], dict[str, str]]:
    """Series with three early times and one later, and the reason for each that has fewer."""
    kept: list[Series] = []
    refused: dict[str, str] = {}
    for each in series:
        num_early = int((each.step_T <= split_step).sum())
        if num_early >= 3 and len(each.step_T) > num_early:
            kept.append(each)
        else:
            refused[f"{each.item}/{each.segment}"] = (
                f"suppressed: {num_early} waves with {MIN_RESPONDENTS} respondents before the split and "
                f"{len(each.step_T) - num_early} after it; three and one are needed"
            )
    return kept, refused
