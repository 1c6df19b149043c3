"""Calibrates the seed survey on the population margins and says what that cost in precision."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from assets.population.errors import CalibrationError
from assets.population.margins import NATION, margins_of
from assets.population.raking import effective_sample_size, kish_design_effect, rake

SEED_SURVEY = "cces_2016"
WEIGHT_QUANTILES = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)


@dataclass(frozen=True)
class CalibrationDiagnostics:
    """What calibration did. Errors are relative to a level's total, weight quantiles to the mean weight."""

    seed_survey: str
    num_respondents: int
    population_total: float
    num_margins: int
    num_levels: int
    num_iterations: int
    max_margin_error_before: float
    max_margin_error_after: float
    design_effect_before: float
    design_effect_after: float
    effective_sample_size: float
    weight_quantiles: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """The diagnostics by name, for metadata and the report."""
        return asdict(self)


@dataclass(frozen=True)
class Calibration:
    """`frame` holds rows of `calibrated_respondents`."""

    frame: pl.DataFrame
    diagnostics: CalibrationDiagnostics


def calibrate_respondents(
    respondents: pl.DataFrame, margins: pl.DataFrame, seed_survey: str = SEED_SURVEY
) -> Calibration:
    """Rakes the design weights of the seed survey to the national margins.

    Args:
        respondents: rows of `survey_respondents`, of one or more surveys.
        margins: rows of `population_margins`; those of the nation are used.
        seed_survey: catalogue name of the survey whose respondents become donors.

    Raises:
        CalibrationError: the seed survey has no respondents, or the margins cannot be met.
    """
    seed = respondents.filter(pl.col("survey") == seed_survey)
    if seed.is_empty():
        surveys = respondents["survey"].unique().sort().to_list()
        raise CalibrationError(
            f"No respondents of the seed survey {seed_survey!r}. Surveys loaded: {', '.join(surveys) or 'none'}. "
            "Choose one of them as the seed survey, or load it (docs/data.md)."
        )
    laid = margins_of(seed, margins)
    if not laid:
        found = margins["geography"].unique().sort().to_list()
        raise CalibrationError(f"No margin has the geography {NATION!r}, found {found}. Add national totals.")
    design_weight = seed["design_weight"].to_numpy()
    result = rake(design_weight, laid)
    weight = result.calibrated_weight_R
    return Calibration(
        frame=seed.select("respondent_id", "design_weight", pl.Series("calibrated_weight", weight)),
        diagnostics=CalibrationDiagnostics(
            seed_survey=seed_survey,
            num_respondents=seed.height,
            population_total=float(weight.sum()),
            num_margins=len(laid),
            num_levels=sum(len(margin.levels) for margin in laid),
            num_iterations=result.num_iterations,
            max_margin_error_before=result.initial_max_error,
            max_margin_error_after=result.max_error,
            design_effect_before=kish_design_effect(design_weight),
            design_effect_after=kish_design_effect(weight),
            effective_sample_size=effective_sample_size(weight),
            weight_quantiles={f"q{100 * q:g}": float(np.quantile(weight / weight.mean(), q)) for q in WEIGHT_QUANTILES},
        ),
    )
