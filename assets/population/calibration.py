"""Calibrates the seed survey on the population margins and says what that cost in precision."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from assets.population.laying import lay_margins
from assets.population.population_file import PopulationFile
from assets.population.raking import effective_sample_size, kish_design_effect
from assets.population.seed_survey import seed_respondents
from assets.population.weighting import calibrate_weights, soften

WEIGHT_QUANTILES = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)


@dataclass(frozen=True)
class CalibrationDiagnostics:
    """What calibration did. Errors are relative to a level's total, weight quantiles to the mean weight."""

    seed_survey: str
    method: str
    num_respondents: int
    num_outside_universe: int
    num_left_out: int
    num_imputed: int
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
    """`frame` holds rows of `calibrated_respondents`; `seed` the same respondents with their attributes."""

    frame: pl.DataFrame
    seed: pl.DataFrame
    diagnostics: CalibrationDiagnostics


def calibrate_respondents(
    respondents: pl.DataFrame, margins: pl.DataFrame, file: PopulationFile | None = None
) -> Calibration:
    """Calibrates the design weights of the seed survey on the margins of the nation and of states.

    Args:
        respondents: rows of `survey_respondents`, of one or more surveys.
        margins: rows of `population_margins`.
        file: the population file; the default's entries when left out.

    Raises:
        CalibrationError: the seed survey has no respondents, or the margins cannot be met.
    """
    file = file or PopulationFile()
    picked = seed_respondents(respondents, tuple(margins["margin"].unique(maintain_order=True)), file)
    seed = picked.frame
    laid = soften(lay_margins(seed, margins), file.calibration.soft)
    design_weight = seed["design_weight"].to_numpy()
    result = calibrate_weights(design_weight, laid, file.calibration.as_method())
    weight = result.calibrated_weight_R
    return Calibration(
        frame=seed.select("respondent_id", "design_weight", pl.Series("calibrated_weight", weight)),
        seed=seed,
        diagnostics=CalibrationDiagnostics(
            seed_survey=file.seed_survey,
            method=file.calibration.method,
            num_respondents=seed.height,
            num_outside_universe=picked.num_outside_universe,
            num_left_out=picked.num_left_out,
            num_imputed=picked.num_imputed,
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
