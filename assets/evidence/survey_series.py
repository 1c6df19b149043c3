"""Forecast cases from repeated cross-sections: weighted shares by wave and segment, and the regression beside them.

Legend: R respondents, T waves, O options.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from assets.evidence.design_sizes import effective_sizes
from assets.evidence.forecast_case import (
    MIN_RESPONDENTS,
    CaseRefused,
    ForecastCase,
    Series,
    check_options,
    check_weights,
    split_series,
)
from validation.attributes import ATTRIBUTE_BY_NAME

SEGMENT_ATTRIBUTES = ("party", "sex", "age_group", "race_ethnicity", "education", "ideology")
HISTORY_YEARS = 25
"""Years before the split that are looked at; older change says little of what comes."""

MAX_REGRESSION_ROWS = 4_000
REGRESSION_YEARS = 10
MIN_WAVES = 8
"""Items with fewer waves have too short a history to fit on."""


def trend_cases(
    rows: pl.DataFrame,
    items: Sequence[str],
    *,
    name: str,
    title: str,
    note: str,
    splits: Sequence[int],
    years_after: int,
    scores: Mapping[str, Sequence[str]] | None = None,
    seed: int = 0,
) -> list[ForecastCase]:
    """One case per split year: fitted on waves up to it, compared with the waves of the `years_after` years after it.

    Args:
        rows: respondents with `wave` (year), `weight`, attributes where known, `stratum` and `psu` where the survey
            has them, and one column per item.
        items: columns of the items.
        name: prefix of the cases' names.
        title: of the cases.
        note: what the reader must know of the source.
        splits: last fitted years.
        years_after: length of the held-out part.
        scores: the order of an item's options from +1 to −1, where it is not yes / no.
        seed: fixes the respondents that the regression sees.
    """
    return [
        _case(
            rows,
            items,
            name=f"{name}_{split}",
            title=title,
            note=note,
            split=split,
            last=split + years_after,
            scores=scores or {},
            seed=seed,
        )
        for split in splits
    ]


def _case(
    rows: pl.DataFrame,
    items: Sequence[str],
    *,
    name: str,
    title: str,
    note: str,
    split: int,
    last: int,
    scores: Mapping[str, Sequence[str]],
    seed: int,
) -> ForecastCase:
    refused: dict[str, str] = {}
    series: list[Series] = []
    used = rows.filter(pl.col("wave").is_between(split - HISTORY_YEARS, last))
    first_year = int(used["wave"].min())  # pyright: ignore[reportArgumentType]
    for item in items:
        answered = _usable(
            used.filter(pl.col(item).is_not_null()).with_columns(pl.col(item).alias("answer")), refused, item
        )
        if answered is None:
            continue
        options = tuple(scores.get(item, ("yes", "no")))
        found = set(answered["answer"].unique())
        if found != set(options):
            refused[f"{item}/all"] = f"refused: answers {', '.join(sorted(found))}, expected {', '.join(options)}"
            continue
        score_O = np.linspace(1.0, -1.0, len(options))
        predicted_RO = _regression(answered, options, split, seed)
        series.extend(_all_series(item, options, score_O, answered, predicted_RO, first_year, refused))
    kept, short = split_series(series, split - first_year)
    moments = {year - first_year: str(year) for year in sorted(used["wave"].unique())}
    fitted = [step for step in moments if step <= split - first_year]
    return ForecastCase(
        name=name,
        title=title,
        series=tuple(kept),
        moments=moments,
        split_step=max(fitted) if fitted else 0,
        lookback=10,
        longest=10,
        mechanism="momentum",
        resample_by="item",
        held_out="wave",
        note=note,
        refused={**refused, **short},
    )


def _usable(answered: pl.DataFrame, refused: dict[str, str], item: str) -> pl.DataFrame | None:
    """Rows of the waves that can be used; None, with the reason noted, where the item cannot be."""
    try:
        large = answered.group_by("wave").len().filter(pl.col("len") >= MIN_RESPONDENTS)["wave"]
        rows = answered.filter(pl.col("wave").is_in(large.implode()))
        if large.n_unique() < MIN_WAVES:
            raise CaseRefused(f"suppressed: {large.n_unique()} waves of {item}; {MIN_WAVES} are needed")
        for (wave,), part in rows.group_by("wave", maintain_order=True):
            check_weights(part, str(wave))
        check_options(rows, item)
    except CaseRefused as error:
        refused[f"{item}/all"] = str(error)
        return None
    return rows


def _all_series(
    item: str,
    options: tuple[str, ...],
    score_O: np.ndarray,
    answered: pl.DataFrame,
    predicted_RO: np.ndarray | None,
    first_year: int,
    refused: dict[str, str],
) -> list[Series]:
    """Series of the whole and of every level of every attribute, waves with few respondents left out.

    Levels that have too few in every wave are noted in `refused`.
    """
    weighted = answered.with_columns(
        *((pl.col("weight") * (pl.col("answer") == option)).alias(f"_held_{i}") for i, option in enumerate(options)),
        *(
            []
            if predicted_RO is None
            else ((pl.col("weight") * pl.Series(predicted_RO[:, i])).alias(f"_said_{i}") for i in range(len(options)))
        ),
        (pl.col("weight") ** 2).alias("_squared"),
    )
    sums = pl.col("^_(held|said)_.*$").sum()
    facts = (pl.len().alias("num"), pl.col("weight").sum(), pl.col("_squared").sum())
    made: list[Series] = []
    for attribute in ("all", *(name for name in SEGMENT_ATTRIBUTES if name in answered.columns)):
        level = pl.lit("all") if attribute == "all" else pl.col(attribute)
        cells = (
            weighted.with_columns(level.alias("_level"))
            .filter(pl.col("_level").is_not_null())
            .group_by("_level", "wave")
            .agg(*facts, sums)
            .sort("_level", "wave")
        )
        cells = cells.with_columns(
            effective_sizes(weighted.with_columns(level.alias("_level")), cells, len(options)).alias("_effective_size")
        )
        total = float(cells["weight"].sum())
        for (value,), rows in cells.group_by("_level", maintain_order=True):
            size = float(rows["weight"].sum()) / total
            large = rows.filter(pl.col("num") >= MIN_RESPONDENTS)
            segment = "all" if attribute == "all" else f"{attribute}={value}"
            if large.is_empty():
                reason = f"suppressed: fewer than {MIN_RESPONDENTS} respondents in every wave"
                refused[f"{item}/{segment}"] = reason
                continue
            weight_T = large["weight"].to_numpy()
            held_TO = np.stack([large[f"_held_{i}"].to_numpy() for i in range(len(options))], axis=1)
            said_TO = None
            if predicted_RO is not None:
                said_TO = np.stack([large[f"_said_{i}"].to_numpy() for i in range(len(options))], axis=1)
                said_TO = said_TO / weight_T[:, None]
            made.append(
                Series(
                    item=item,
                    segment=segment,
                    options=options,
                    score_O=score_O,
                    step_T=large["wave"].to_numpy().astype(np.int64) - first_year,
                    share_TO=held_TO / held_TO.sum(axis=1, keepdims=True),
                    effective_size_T=large["_effective_size"].to_numpy(),
                    size=size,
                    regression_TO=said_TO,
                )
            )
    return made


def _regression(answered: pl.DataFrame, options: tuple[str, ...], split: int, seed: int) -> np.ndarray | None:
    """Probabilities [R, O] of every respondent from attributes and birth cohort, fitted on the last early waves only.

    Later respondents lend their attributes, as published margins would; their answers are not used.
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    wave_R = answered["wave"].to_numpy()
    is_later_R = wave_R > split
    is_early_R = (wave_R <= split) & (wave_R > split - REGRESSION_YEARS)
    rows = np.flatnonzero(is_early_R)
    answer_R = answered["answer"].to_numpy()
    if len(rows) < 2 * MIN_RESPONDENTS or len(np.unique(answer_R[rows])) < 2:
        return None
    if len(rows) > MAX_REGRESSION_ROWS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MAX_REGRESSION_ROWS, replace=False))
    weight_R = answered["weight"].to_numpy()
    used = np.concatenate([rows, np.flatnonzero(is_later_R)])
    features_UF = _features(answered[used])
    with threadpool_limits(limits=1):
        model = LogisticRegression(C=1.0, max_iter=500)
        model.fit(features_UF[: len(rows)], answer_R[rows], sample_weight=weight_R[rows] / weight_R[rows].mean())
        predicted = model.predict_proba(features_UF[len(rows) :])
    probability_RO = np.full((len(answered), len(options)), 1.0 / len(options))
    probability_RO[is_later_R] = 0.0
    places = [options.index(str(option)) for option in model.classes_]
    later = np.flatnonzero(is_later_R)
    for place, said_R in zip(places, predicted.T, strict=True):
        probability_RO[later, place] = said_R
    return probability_RO


def _features(answered: pl.DataFrame) -> np.ndarray:
    """One-hot attributes, unknown as a level of its own, and decades of birth."""
    columns = []
    for attribute in SEGMENT_ATTRIBUTES:
        if attribute in answered.columns:
            value_R = answered[attribute].fill_null("unknown").to_numpy()
            levels = ATTRIBUTE_BY_NAME[attribute].levels[1:]
            columns.append((value_R[:, None] == np.array([*levels, "unknown"])[None]).astype(np.float64))
    born = (answered["wave"] - answered["age"].fill_null(45)).to_numpy() // 10 * 10
    decades = np.unique(np.clip(born, 1890, 1990))
    columns.append((np.clip(born, 1890, 1990)[:, None] == decades[None, 1:]).astype(np.float64))
    return np.concatenate(columns, axis=1)
