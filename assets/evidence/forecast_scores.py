"""Scores of forecasts: distance to what came, skill against persistence, and intervals from resampled units.

    tvd    mean total variation distance between predicted and observed shares over series and held-out times
    skill  1 − tvd(model) / tvd(persistence): above zero the model beats the last wave, one is perfect
    parameter <name>  an estimate of the calibrated mechanism with its interval, from the early part
    brier  Σ_o (p_o − y_o)², mean over people: proper for predictions of single persons

Legend: U units (items, segments or blocks of time), B resamples, O options.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from assets.evidence.forecast_case import MIN_RESPONDENTS, ForecastCase
from assets.evidence.forecast_models import Forecast, num_early
from assets.evidence.panel_people import PersonForecast
from validation.intervals import design_effect
from validation.metrics import tvd

NUM_RESAMPLES = 500
TIMES_PER_BLOCK = 4
PERSISTENCE = "persistence"
PEOPLE_CASE = "gss_panel_people"
PEOPLE_NOTE = (
    "GSS people of 2018 asked again in 2020, predicted from those of 2016; re-interviews changed mode from in person "
    "to web and telephone, so part of the change is a mode effect"
)


def case_rows(case: ForecastCase, forecasts: Sequence[Forecast], seed: int) -> Iterator[dict[str, Any]]:
    """Rows of `dynamic_calibration` for one case: every model in every slice, and what was suppressed."""
    generator = np.random.default_rng(seed)
    floors = [_noise_floor(series.share_TO[num_early(series, case.split_step) :],
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
        floor = _mean([floors[index] for index in chosen])
        base = [distances[PERSISTENCE][index] for index in chosen]
        for model, found in distances.items():
            errors = [found[index] for index in chosen]
            note = "; ".join(part for part in (case.note, notes[model]) if part)
            if any(error is None for error in errors):
                yield _row(case.name, case.held_out, case.fitted_until, "tvd", name, model, None, floor, 0, note)
                continue
            yield from _scored(case, name, model, errors, base, units, floor, note, seed)  # pyright: ignore[reportArgumentType]
    for forecast in forecasts:
        for name, (value, *ends) in sorted((forecast.estimates or {}).items()):
            common = (case.name, "nothing", case.fitted_until, f"parameter {name}", "all", forecast.model, value)
            yield _row(*common, None, len(case.series), forecast.note, (ends[0], ends[1]))
    for place, reason in sorted(case.refused.items()):
        yield _row(case.name, case.held_out, case.fitted_until, "tvd", place, "none", None, None, 0, reason)


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
    ends = _ends(error_B, value) if has_interval else (None, None)
    yield _row(*common, "tvd", slice_name, model, value, floor, len(error), text, ends)
    if model == PERSISTENCE:
        return
    if persistence.mean() <= 0:
        yield _row(*common, "skill", slice_name, model, None, None, len(error), f"{text}; persistence has no error")
        return
    skill = round(1 - value / float(persistence.mean()), 12)
    skill_B = np.round(1 - error_B / np.maximum(base_B, 1e-12), 12)
    best = None if floor is None else 1 - floor / float(persistence.mean())
    ends = _ends(skill_B, skill) if has_interval else (None, None)
    yield _row(*common, "skill", slice_name, model, skill, best, len(error), text, ends)


def people_rows(found: Sequence[PersonForecast], seed: int) -> Iterator[dict[str, Any]]:
    """Rows of the people's case: Brier score of persons, and TVD of weighted shares by item and segment."""
    by_item: dict[str, dict[str, PersonForecast]] = {}
    for each in found:
        by_item.setdefault(each.item, {})[each.model] = each
    models = list(next(iter(by_item.values()))) if by_item else []
    slices = sorted({segment for each in found for segment in each.segments})
    generator = np.random.default_rng(seed)
    for name in slices:
        cells = {
            item: forecasts[PERSISTENCE].segments[name]
            for item, forecasts in by_item.items()
            if name in forecasts[PERSISTENCE].segments
            and forecasts[PERSISTENCE].segments[name].sum() >= MIN_RESPONDENTS
        }
        if not cells:
            yield _person_row("tvd", name, "none", None, None, 0, f"suppressed: fewer than {MIN_RESPONDENTS} people")
            continue
        floor = _mean([_people_floor(by_item[item][PERSISTENCE], is_in, generator) for item, is_in in cells.items()])
        scores = {
            model: {
                "tvd": np.array([_share_distance(by_item[item][model], is_in) for item, is_in in cells.items()]),
                "brier": np.array([_brier(by_item[item][model], is_in) for item, is_in in cells.items()]),
            }
            for model in models
        }
        num_people = int(sum(is_in.sum() for is_in in cells.values()))
        counts_BU = generator.multinomial(len(cells), np.full(len(cells), 1 / len(cells)), size=NUM_RESAMPLES)
        for model in models:
            note = "; ".join({part for item in cells if (part := by_item[item][model].note)})
            text = f"{PEOPLE_NOTE}; {note}" if note else PEOPLE_NOTE
            for metric, value_U in scores[model].items():
                base_U = scores[PERSISTENCE][metric]
                value_B = counts_BU @ value_U / len(cells)
                value, own_floor = float(value_U.mean()), floor if metric == "tvd" else None
                ends = _ends(value_B, value)
                yield _person_row(metric, name, model, value, own_floor, num_people, text, ends)
                if model != PERSISTENCE and base_U.mean() > 0:
                    skill = 1 - value / float(base_U.mean())
                    skill_B = 1 - value_B / np.maximum(counts_BU @ base_U / len(cells), 1e-12)
                    kind = "skill" if metric == "tvd" else "brier_skill"
                    best = None if own_floor is None else 1 - own_floor / float(base_U.mean())
                    yield _person_row(kind, name, model, skill, best, num_people, text, _ends(skill_B, skill))


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


def _noise_floor(share_TO: np.ndarray, size_T: np.ndarray, generator: np.random.Generator) -> float | None:
    """Expected TVD of a resample of the effective size; None for counts of everybody."""
    if not np.isfinite(size_T).all():
        return None
    draws = [
        tvd(generator.multinomial(max(1, round(size)), share, size=100) / max(1, round(size)), share).mean()
        for share, size in zip(share_TO, size_T, strict=True)
    ]
    return float(np.mean(draws))


def _people_floor(each: PersonForecast, is_in: np.ndarray, generator: np.random.Generator) -> float | None:
    share = _observed(each, is_in)
    size = is_in.sum() / design_effect(each.weight_R[is_in])
    return _noise_floor(share[None], np.array([size]), generator)


def _observed(each: PersonForecast, is_in: np.ndarray) -> np.ndarray:
    return np.bincount(each.answer_R[is_in], each.weight_R[is_in], len(each.options)) / each.weight_R[is_in].sum()


def _share_distance(each: PersonForecast, is_in: np.ndarray) -> float:
    weight = each.weight_R[is_in]
    return float(tvd(weight @ each.probability_RO[is_in] / weight.sum(), _observed(each, is_in)))


def _brier(each: PersonForecast, is_in: np.ndarray) -> float:
    truth = np.eye(len(each.options))[each.answer_R[is_in]]
    loss = ((each.probability_RO[is_in] - truth) ** 2).sum(axis=1)
    return float(np.average(loss, weights=each.weight_R[is_in]))


def _ends(value_B: np.ndarray, value: float) -> tuple[float, float]:
    lower, upper = np.quantile(value_B, (0.025, 0.975))
    return min(float(lower), value), max(float(upper), value)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _person_row(
    metric: str,
    slice_name: str,
    model: str,
    value: float | None,
    floor: float | None,
    size: int,
    note: str,
    ends: tuple[float | None, float | None] = (None, None),
) -> dict[str, Any]:
    return _row(PEOPLE_CASE, "agents", "2020, other people", metric, slice_name, model, value, floor, size, note, ends)


def _row(
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
