"""What calibration did, row by row: errors, weights, thin cells, and standard errors from replicate weights."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from assets.population.laying import compare_with_margins, lay_margins
from assets.population.population_file import PopulationFile
from assets.population.raking import effective_sample_size, kish_design_effect
from assets.population.records import level_codes
from assets.population.replicates import replicate_variance, replicate_weights
from assets.population.weighting import Calibrator, soften
from validation.attributes import ATTRIBUTE_BY_NAME, ATTRIBUTES
from validation.contracts import CONTRACTS

WEIGHT_QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
FEW_RESPONDENTS = 5
"""A cell with fewer respondents is called thin: one of them speaks for many people."""

LARGEST_ESTIMATED = 20
"""Attributes with more levels get no standard errors; states would fill the table."""


def calibration_diagnostics(
    seed: pl.DataFrame, calibrated: pl.DataFrame, margins: pl.DataFrame, file: PopulationFile, rng_seed: int
) -> pl.DataFrame:
    """Rows of `calibration_diagnostics`.

    Args:
        seed: the calibrated respondents with their attributes, as `seed_respondents` gives them.
        calibrated: rows of `calibrated_respondents`, in the same order.
        margins: rows of `population_margins`.
        file: the population file.
        rng_seed: seed of the replicates.
    """
    design_R, weight_R = (calibrated[name].to_numpy() for name in ("design_weight", "calibrated_weight"))
    rows = [
        *_errors(seed, margins, design_R, weight_R),
        *_weights(design_R, weight_R),
        *_cells(seed, margins, weight_R),
        *_standard_errors(seed, margins, design_R, weight_R, file, rng_seed),
    ]
    contract = CONTRACTS["calibration_diagnostics"]
    return contract.validate(pl.DataFrame(rows, schema=contract.polars_schema(), orient="row"))


Row = tuple[str, str, float, float | None, float | None, str | None]


def _errors(seed: pl.DataFrame, margins: pl.DataFrame, design_R: np.ndarray, weight_R: np.ndarray) -> Iterator[Row]:
    found = {
        "margin_error_before": compare_with_margins(seed, margins, design_R),
        "margin_error_after": compare_with_margins(seed, margins, weight_R),
    }
    for metric, compared in found.items():
        errors = compared.filter(pl.col("target") > 0)
        yield metric, "all", float(errors["relative_error"].abs().max()), None, None, "largest of all levels"  # type: ignore[arg-type]
        for margin, level, error in errors.select("margin", "level", "relative_error").iter_rows():
            yield metric, f"{margin}={level}", float(error), None, None, None


def _weights(design_R: np.ndarray, weight_R: np.ndarray) -> Iterator[Row]:
    for name, values in (("before", design_R), ("after", weight_R)):
        yield f"kish_design_effect_{name}", "all", kish_design_effect(values), None, None, None
        yield f"effective_sample_size_{name}", "all", effective_sample_size(values), None, None, None
    relative_R = weight_R / weight_R.mean()
    ratio_R = (weight_R / weight_R.sum()) / (design_R / design_R.sum())
    for quantile in WEIGHT_QUANTILES:
        where = f"q{100 * quantile:g}"
        yield "relative_weight", where, float(np.quantile(relative_R, quantile)), None, None, "weight over its mean"
        yield "weight_ratio", where, float(np.quantile(ratio_R, quantile)), None, None, "calibrated over design weight"


def _cells(seed: pl.DataFrame, margins: pl.DataFrame, weight_R: np.ndarray) -> Iterator[Row]:
    for margin in lay_margins(seed, margins):
        num_levels = len(margin.levels) + 1
        count_L = np.bincount(margin.level_R + 1, minlength=num_levels)[1:]
        largest_L = np.zeros(num_levels)
        np.maximum.at(largest_L, margin.level_R + 1, weight_R)
        sum_L = np.bincount(margin.level_R + 1, weights=weight_R, minlength=num_levels)[1:]
        for index, level in enumerate(margin.levels):
            share = largest_L[index + 1] / sum_L[index] if sum_L[index] else 0.0
            is_thin = count_L[index] < FEW_RESPONDENTS
            note = f"the heaviest carries {100 * share:.2g} % of the level" + ("; few respondents" if is_thin else "")
            yield "num_respondents", f"{margin.name}={level}", float(count_L[index]), None, None, note
    names = {name for margin in margins["margin"].unique() for name in margin.split("*")}
    crossed = [attribute.name for attribute in ATTRIBUTES if attribute.name in names and attribute.name != "state"]
    if not crossed:
        return
    cells = (
        seed.select(crossed)
        .with_columns(pl.Series("weight", weight_R))
        .group_by(crossed)
        .agg(pl.len(), pl.sum("weight"))
    )
    where, total = "*".join(crossed), float(cells["weight"].sum())
    num_cells = int(np.prod([len(ATTRIBUTE_BY_NAME[name].levels) for name in crossed]))
    thin = cells.filter(pl.col("len") < FEW_RESPONDENTS)
    yield "num_cells", where, float(num_cells), None, None, "all combinations of the margins' attributes, states aside"
    yield "num_empty_cells", where, float(num_cells - cells.height), None, None, None
    yield "num_thin_cells", where, float(thin.height), None, None, f"fewer than {FEW_RESPONDENTS} respondents"
    yield "thin_cells_weight_share", where, float(thin["weight"].sum()) / total, None, None, None


def _standard_errors(
    seed: pl.DataFrame,
    margins: pl.DataFrame,
    design_R: np.ndarray,
    weight_R: np.ndarray,
    file: PopulationFile,
    rng_seed: int,
) -> Iterator[Row]:
    """Shares of every attribute level with standard errors, with and without calibrating the replicates."""
    levels = [a for a in ATTRIBUTES if len(a.levels) <= LARGEST_ESTIMATED and seed[a.name].null_count() < seed.height]
    codes = {a.name: level_codes(seed[a.name], a.levels) + 1 for a in levels}

    def shares(weights_R: np.ndarray) -> np.ndarray:
        sums = [np.bincount(codes[a.name], weights=weights_R, minlength=len(a.levels) + 1)[1:] for a in levels]
        return np.concatenate([sum_L / sum_L.sum() for sum_L in sums])

    calibrator = Calibrator(soften(lay_margins(seed, margins), file.calibration.soft), seed.height)
    entry, method = file.replicates, file.calibration.as_method()
    replicates = replicate_weights(design_R, calibrator, method, entry, np.random.default_rng(rng_seed))
    pairs = [(shares(replicate.calibrated_weight_R), shares(replicate.design_weight_R)) for replicate in replicates]
    share, design_share = shares(weight_R), shares(design_R)
    error = np.sqrt(replicate_variance(np.array([pair[0] for pair in pairs]), share, entry))
    plain = np.sqrt(replicate_variance(np.array([pair[1] for pair in pairs]), design_share, entry))
    names = [(f"{a.name}={level}", int((codes[a.name] > 0).sum())) for a in levels for level in a.levels]
    kind = f"{entry.number} {entry.method} replicates, each calibrated again"
    for (where, num_known), p, se, plain_se in zip(names, share, error, plain, strict=True):
        low, high = max(0.0, p - 1.96 * se), min(1.0, p + 1.96 * se)
        yield "estimate", where, float(p), float(low), float(high), kind
        yield "standard_error", where, float(se), None, None, kind
        yield "standard_error_design_weights", where, float(plain_se), None, None, "replicates not calibrated"
        simple = p * (1 - p) / num_known
        if simple > 0:
            yield "estimate_design_effect", where, float(se**2 / simple), None, None, "over a simple random sample"
