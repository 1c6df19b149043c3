"""Dynamic calibration: every case built from what is at hand, forecast by every model, scored; two tables.

`dynamic_forecasts` holds each predicted share beside what came; `dynamic_calibration` the scores.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from assets.evidence.forecast_case import ForecastCase
from assets.evidence.forecast_models import Forecast, forecasts, num_early
from assets.evidence.forecast_scores import case_rows
from assets.evidence.panel_people import PANEL_SOURCE, people_of_panel, predict_people
from assets.evidence.people_scores import people_rows
from assets.evidence.source_cases import (
    POLLS_SOURCE,
    TREND_SOURCE,
    UPTAKE_SOURCE,
    VOTES_SOURCE,
    approval_cases,
    extract_trend_cases,
    survey_trend_cases,
    uptake_case,
)
from assets.sources.catalogue import DataCatalogue
from validation.contracts import CONTRACTS


@dataclass(frozen=True)
class DynamicCalibration:
    """Both tables, the files that were read, and which cases are absent and why."""

    forecasts: pl.DataFrame
    scores: pl.DataFrame
    uses: tuple[dict[str, str], ...]
    absent: dict[str, str]


def calibrate_dynamically(
    survey_respondents: pl.DataFrame, catalogue: DataCatalogue, *, num_splits: int, seed: int
) -> DynamicCalibration:
    """Builds, forecasts and scores every case whose source has a file at hand.

    Args:
        survey_respondents: the table of that name.
        catalogue: where the other sources are.
        num_splits: how many of the split years of the long survey are used, the latest first.
        seed: fixes resamples.
    """
    cases: list[ForecastCase] = survey_trend_cases(survey_respondents, num_splits=num_splits, seed=seed)
    absent = {} if cases else {"gss_abortion": "no loaded survey has eight waves of an item"}
    uses: list[dict[str, str]] = []
    for name, sources, build in (
        ("gss_trend", (TREND_SOURCE,), lambda: extract_trend_cases(catalogue, seed=seed)),
        ("pandemic_approval", (POLLS_SOURCE,), lambda: approval_cases(catalogue)),
        ("vaccine_uptake", (UPTAKE_SOURCE, VOTES_SOURCE), lambda: [uptake_case(catalogue)]),
    ):
        missing = [source for source in sources if not catalogue.is_available(source)]
        if missing:
            absent[name] = f"no file at hand for {', '.join(missing)}; set POPULACE_DATA_MIRROR"
        else:
            cases.extend(build())
            uses.extend(catalogue.resolve(source).record() for source in sources)
    scores: list[dict[str, Any]] = []
    shares: list[dict[str, Any]] = []
    for case in cases:
        made = forecasts(case)
        scores.extend(case_rows(case, made, seed))
        shares.extend(_forecast_rows(case, made))
    if catalogue.is_available(PANEL_SOURCE):
        source = catalogue.resolve(PANEL_SOURCE)
        scores.extend(people_rows(predict_people(people_of_panel(source.load()), seed), seed))
        uses.append(source.record())
    else:
        absent["gss_panel_people"] = f"no file at hand for {PANEL_SOURCE}; set POPULACE_DATA_MIRROR"
    return DynamicCalibration(
        forecasts=pl.DataFrame(shares, schema=CONTRACTS["dynamic_forecasts"].polars_schema()),
        scores=pl.DataFrame(scores, schema=CONTRACTS["dynamic_calibration"].polars_schema()),
        uses=tuple(uses),
        absent=absent,
    )


def _forecast_rows(case: ForecastCase, made: Sequence[Forecast]) -> Iterator[dict[str, Any]]:
    """Held-out shares by model, and the observed shares of every time under the model `observed`."""
    for index, series in enumerate(case.series):
        early = num_early(series, case.split_step)
        for time, step in enumerate(series.step_T):
            for place, option in enumerate(series.options):
                common = {
                    "case_id": case.name,
                    "item": series.item.removeprefix("item_"),
                    "segment": series.segment,
                    "step": int(step),
                    "moment": case.moments[int(step)],
                    "option": option,
                    "is_held_out": time >= early,
                    "effective_size": float(series.effective_size_T[time])
                    if series.effective_size_T[time] < float("inf")
                    else None,
                }
                yield {**common, "model": "observed", "share": float(series.share_TO[time, place])}
                for forecast in made if time >= early else ():
                    share_TO = forecast.share_STO[index]
                    if share_TO is not None:
                        yield {**common, "model": forecast.model, "share": float(share_TO[time - early, place])}
