"""Scores of forecasts: distance to what came, skill against persistence, and intervals from resampled units.

    tvd    mean total variation distance between predicted and observed shares over series and held-out times
    skill  1 − tvd(model) / tvd(persistence): above zero the model beats the last wave, one is perfect
    parameter <name>  an estimate of the calibrated mechanism with its interval, from the early part

Legend: U units (items, segments or blocks of time), B resamples, O options.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from assets.evidence.forecast_case import ForecastCase
from assets.evidence.forecast_models import Forecast, num_early
from validation.metrics import tvd

NUM_RESAMPLES = 500
TIMES_PER_BLOCK = 4
PERSISTENCE = "persistence"


def case_rows(case: ForecastCase, forecasts: Sequence[Forecast], seed: int) -> Iterator[dict[str, Any]]:
    """Rows of `dynamic_calibration` for one case: every model in every slice, and what was suppressed."""
    generator = np.random.default_rng(seed)
    floors = [noise_floor(series.share_TO[num_early(series, case.split_step) :],
                           series.effective_size_T[num_early(series, case.split_step) :], generator)
              for series in case.series]  # fmt: skip
    distances = {
        forecast.model: [
            None if share is None else tvd(share, series.share_TO[num_early(series, case.split_step) :])
            for share, series in zip(forecast.share_STO, case.series, strict=True)
        ]
        for forecast in forecasts
    }
    notes = {forecast.model: forecast.note for forecast in forecasts}
    for name, chosen in _slices(case).items():
        units = [_units(case, index) for index in chosen]
        floor = mean_of_known([floors[index] for index in chosen])
        base = [distances[PERSISTENCE][index] for index in chosen]
        for model, found in distances.items():
            errors = [found[index] for index in chosen]
            note = "; ".join(part for part in (case.note, notes[model]) if part)
            if any(error is None for error in errors):
                yield score_row(case.name, case.held_out, case.fitted_until, "tvd", name, model, None, floor, 0, note)
                continue
            yield from _scored(case, name, model, errors, base, units, floor, note, seed)  # pyright: ignore[reportArgumentType]
    for forecast in forecasts:
        for name, (value, *ends) in sorted((forecast.estimates or {}).items()):
            common = (case.name, "nothing", case.fitted_until, f"parameter {name}", "all", forecast.model, value)
            yield score_row(*common, None, len(case.series), forecast.note, (ends[0], ends[1]))
    for place, reason in sorted(case.refused.items()):
        yield score_row(case.name, case.held_out, case.fitted_until, "tvd", place, "none", None, None, 0, reason)


def _scored(
    case: ForecastCase,
    slice_name: str,
    model: str,
    errors: Sequence[np.ndarray],
    base: Sequence[np.ndarray],
    units: Sequence[np.ndarray],
    floor: float | None,
    note: str,
    seed: int,
) -> Iterator[dict[str, Any]]:
    error, persistence, unit = np.concatenate(errors), np.concatenate(base), np.concatenate(units)
    labels, unit_index = np.unique(unit, return_inverse=True)
    counts_BU = np.random.default_rng(seed).multinomial(
        len(labels), np.full(len(labels), 1 / len(labels)), size=NUM_RESAMPLES
    )
    sums_U = np.bincount(unit_index, error, len(labels)), np.bincount(unit_index, persistence, len(labels))
    size_U = np.bincount(unit_index, minlength=len(labels))
    error_B = counts_BU @ sums_U[0] / np.maximum(counts_BU @ size_U, 1)
    base_B = counts_BU @ sums_U[1] / np.maximum(counts_BU @ size_U, 1)
    has_interval = len(labels) >= 3
    text = note if has_interval else f"{note}; {len(labels)} units, too few for an interval"
    value = float(error.mean())
    common = (case.name, case.held_out, case.fitted_until)
    ends = interval_ends(error_B, value) if has_interval else (None, None)
    yield score_row(*common, "tvd", slice_name, model, value, floor, len(error), text, ends)
    if model == PERSISTENCE:
        return
    if persistence.mean() <= 0:
        yield score_row(
            *common, "skill", slice_name, model, None, None, len(error), f"{text}; persistence has no error"
        )
        return
    skill = round(1 - value / float(persistence.mean()), 12)
    skill_B = np.round(1 - error_B / np.maximum(base_B, 1e-12), 12)
    best = None if floor is None else 1 - floor / float(persistence.mean())
    ends = interval_ends(skill_B, skill) if has_interval else (None, None)
    yield score_row(*common, "skill", slice_name, model, skill, best, len(error), text, ends)


def _slices(case: ForecastCase) -> dict[str, list[int]]:
    """all; every segment over items; every item; of places, `all` stands for every place."""
    is_place = all(series.attribute == "state" for series in case.series)
    found = {"all": [i for i, series in enumerate(case.series) if series.segment == "all" or is_place]}
    for index, series in enumerate(case.series):
        if series.segment != "all" and not is_place:
            found.setdefault("subgroups", []).append(index)
            found.setdefault(series.segment, []).append(index)
        if len({each.item for each in case.series}) > 1 and series.segment == "all":
            found.setdefault(f"item={series.item.removeprefix('item_')}", []).append(index)
    return {name: chosen for name, chosen in found.items() if chosen}


def _units(case: ForecastCase, index: int) -> np.ndarray:
    """The unit of each held-out time of a series that is resampled together."""
    series = case.series[index]
    step_T = series.step_T[num_early(series, case.split_step) :]
    if case.resample_by == "time":
        order = {step: place for place, step in enumerate(sorted(s for s in case.moments if s > case.split_step))}
        return np.array([f"block {order[int(step)] // TIMES_PER_BLOCK}" for step in step_T])
    return np.full(len(step_T), series.item if case.resample_by == "item" else series.segment)


def noise_floor(share_TO: np.ndarray, size_T: np.ndarray, generator: np.random.Generator) -> float | None:
    """Expected TVD of a resample of the effective size; None for counts of everybody."""
    if not np.isfinite(size_T).all():
        return None
    draws = [
        tvd(generator.multinomial(max(1, round(size)), share, size=100) / max(1, round(size)), share).mean()
        for share, size in zip(share_TO, size_T, strict=True)
    ]
    return float(np.mean(draws))


def interval_ends(value_B: np.ndarray, value: float) -> tuple[float, float]:
    """Ends of the 95 % percentile interval of resamples, widened to hold the value."""
    lower, upper = np.quantile(value_B, (0.025, 0.975))
    return min(float(lower), value), max(float(upper), value)


def mean_of_known(values: Sequence[float | None]) -> float | None:
    """Mean of the values that are known; None where none is."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def score_row(
    case: str,
    held_out: str,
    fitted_until: str,
    metric: str,
    slice_name: str,
    model: str,
    value: float | None,
    floor: float | None,
    num_observations: int,
    note: str,
    ends: tuple[float | None, float | None] = (None, None),
) -> dict[str, Any]:
    """A row of `dynamic_calibration`."""
    return {
        "case_id": case,
        "metric": metric,
        "slice": slice_name,
        "held_out": held_out,
        "fitted_until": fitted_until,
        "model": model,
        "value": value,
        "lower": ends[0],
        "upper": ends[1],
        "noise_floor": floor,
        "is_higher_better": None if metric.startswith("parameter") else metric in HIGHER_IS_BETTER,
        "num_observations": num_observations,
        "note": note or None,
    }


HIGHER_IS_BETTER: Mapping[str, bool] = {"skill": True, "brier_skill": True}
