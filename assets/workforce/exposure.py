"""The exposure of occupations and places: what share of wages pays for skills that AI can perform.

    Iceberg Index(g) = Σ_o E(g, o)·w(g, o)·Σ_s weight(o, s)·c(s)  ÷  Σ_o E(g, o)·w(g, o)

with employment E, mean wage w, skill weights and c(s) what counts of skill s: its automatable share ("expected"), or
one where that share reaches a threshold and nothing elsewhere. The Surface Index keeps the denominator and sums the
numerator over computing and technology occupations (SOC major group 15) only.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from assets.workforce.automatability import LABEL_COLUMNS, SkillShares, estimate_skill_shares, labels_by_occupation
from assets.workforce.occupations import NATION, TECHNOLOGY_GROUP, match_codes, read_wages, skill_weights
from validation.contracts import CONTRACTS

EXPECTED = "expected"
THRESHOLDS = (0.25, 0.5, 0.75)
MAIN_LABELS = ("human", "direct")
NUM_DRAWS = 100
PUBLISHED: dict[str, float] = {"iceberg": 0.117, "surface": 0.022}
"""Published national values (Chopra et al. 2025, The Iceberg Index, arXiv:2510.25137); skills and weights differ."""


@dataclass(frozen=True)
class WorkforceTables:
    """The room's tables, and facts about how they were made."""

    occupation_exposure: pl.DataFrame
    skill_exposure: pl.DataFrame
    exposure_index: pl.DataFrame
    facts: dict[str, float]


@dataclass(frozen=True)
class _Rated:
    """Occupations that have wages and ratings; arrays over occupations O and skills S."""

    codes: list[str]
    weight_OS: np.ndarray
    match_O: list[str]


def measure_exposure(
    national: pl.DataFrame,
    state: pl.DataFrame,
    skills: pl.DataFrame,
    labels: pl.DataFrame,
    felten: pl.DataFrame,
    *,
    seed: int,
) -> WorkforceTables:
    """Makes the tables of the room from published files.

    Args:
        national: OEWS national table.
        state: OEWS state table.
        skills: O*NET skill ratings.
        labels: exposure labels per O*NET occupation.
        felten: AI Occupational Exposure scores, compared with and never fitted to.
        seed: of the bootstrap.

    Raises:
        WorkforceError: a file lacks a needed column.
    """
    wages = read_wages(national, state)
    weights = skill_weights(skills)
    names = tuple(weights["skill"].unique().sort())
    fits = _fit(weights, labels_by_occupation(labels), names, seed)
    rated = _rate(wages, weights, names)
    main = fits[MAIN_LABELS]
    occupations = _occupations(wages, rated, main, felten)
    facts = {
        "r2_held_out": main.r2_held_out,
        "num_labelled_occupations": float(main.num_occupations),
        **_agreement(occupations),
    }
    indices = [_indices(wages, rated, fit, labels_of) for labels_of, fit in fits.items()]
    return WorkforceTables(occupations, _skills(wages, rated, main), pl.concat(indices), facts)


def _fit(
    weights: pl.DataFrame, labels: pl.DataFrame, names: tuple[str, ...], seed: int
) -> dict[tuple[str, str], SkillShares]:
    table = weights.pivot(on="skill", index="soc_code", values="weight").join(labels, on="soc_code").sort("soc_code")
    weight_OS = table.select(names).to_numpy()
    return {
        labels_of: estimate_skill_shares(weight_OS, table[column].to_numpy(), names, num_draws=NUM_DRAWS, seed=seed)
        for labels_of, column in LABEL_COLUMNS.items()
    }


def _rate(wages: pl.DataFrame, weights: pl.DataFrame, names: tuple[str, ...]) -> _Rated:
    by_code = weights.pivot(on="skill", index="soc_code", values="weight")
    table = (
        match_codes(wages.select("soc_code").unique(), weights["soc_code"])
        .join(by_code, left_on="rated_code", right_on="soc_code")
        .group_by("soc_code")
        .agg(pl.col("match").first(), pl.col(names).mean())
        .sort("soc_code")
    )
    return _Rated(table["soc_code"].to_list(), table.select(names).to_numpy(), table["match"].to_list())


def _occupations(wages: pl.DataFrame, rated: _Rated, fit: SkillShares, felten: pl.DataFrame) -> pl.DataFrame:
    share_BO = rated.weight_OS @ np.vstack([fit.share_S, fit.draws_BS]).T
    rating = pl.DataFrame(
        {
            "soc_code": rated.codes,
            "skill_match": rated.match_O,
            "automatable_share": share_BO[:, 0],
            "lower": np.minimum(np.quantile(share_BO[:, 1:], 0.025, axis=1), share_BO[:, 0]),
            "upper": np.maximum(np.quantile(share_BO[:, 1:], 0.975, axis=1), share_BO[:, 0]),
        }
    )
    felten = felten.select(soc_code="SOC Code", felten_exposure="AIOE")
    return (
        wages.filter(pl.col("geography") == NATION)
        .join(rating, on="soc_code")
        .join(felten, on="soc_code", how="left")
        .with_columns(wage_value_usd=pl.col("employment") * pl.col("mean_wage_usd"))
        .with_columns(automatable_value_usd=pl.col("wage_value_usd") * pl.col("automatable_share"))
        .select(
            "soc_code",
            "title",
            "employment",
            "mean_wage_usd",
            "wage_value_usd",
            "automatable_share",
            "lower",
            "upper",
            "automatable_value_usd",
            "felten_exposure",
            "skill_match",
        )
        .sort("soc_code")
    )


def _skills(wages: pl.DataFrame, rated: _Rated, fit: SkillShares) -> pl.DataFrame:
    value_O = _values(wages.filter(pl.col("geography") == NATION), rated)
    return pl.DataFrame(
        {
            "skill": fit.skills,
            "wage_share": (value_O @ rated.weight_OS) / value_O.sum(),
            "automatable_share": fit.share_S,
            "lower": np.minimum(np.quantile(fit.draws_BS, 0.025, axis=0), fit.share_S),
            "upper": np.maximum(np.quantile(fit.draws_BS, 0.975, axis=0), fit.share_S),
        }
    ).sort("skill")


def _values(wages: pl.DataFrame, rated: _Rated) -> np.ndarray:
    """Wage value of each rated occupation in one geography, zero where it has none."""
    joined = pl.DataFrame({"soc_code": rated.codes}).join(wages, on="soc_code", how="left", maintain_order="left")
    return (joined["employment"] * joined["mean_wage_usd"]).fill_null(0.0).to_numpy()


def _indices(wages: pl.DataFrame, rated: _Rated, fit: SkillShares, labels_of: tuple[str, str]) -> pl.DataFrame:
    """Both indices of every geography for the main labels, of the nation alone for the others and for thresholds."""
    geographies = wages["geography"].unique().sort().to_list() if labels_of == MAIN_LABELS else [NATION]
    share_CS = np.vstack([fit.share_S, fit.draws_BS])
    rows = []
    for geography in geographies:
        here = wages.filter(pl.col("geography") == geography)
        value_O = _values(here, rated)
        covered = here.filter(pl.col("soc_code").is_in(rated.codes))["employment"].sum()
        place = {
            "geography": geography,
            "labelled_by": labels_of[0],
            "counts": labels_of[1],
            "wage_value_usd": float(value_O.sum()),
            "employment": float(covered),
            "covered_employment_share": float(covered) / float(here["employment"].sum()),
        }
        rules = {EXPECTED: share_CS}
        if geography == NATION:
            rules |= {f"at_least_{limit:g}": (share_CS >= limit).astype(float) for limit in THRESHOLDS}
        for rule, counts_CS in rules.items():
            exposed_CO = (counts_CS @ rated.weight_OS.T) * value_O
            rows += [place | {"rule": rule} | figures for figures in _both_indices(exposed_CO, value_O, rated.codes)]
            if geography == NATION:
                rows[-2]["published_value"], rows[-1]["published_value"] = PUBLISHED["iceberg"], PUBLISHED["surface"]
    columns = list(CONTRACTS["exposure_index"].columns)
    return pl.DataFrame(rows, schema=CONTRACTS["exposure_index"].polars_schema()).select(columns)


def _both_indices(exposed_CO: np.ndarray, value_O: np.ndarray, codes: list[str]) -> Iterator[dict[str, object]]:
    """Iceberg, then Surface Index, with intervals; row 0 of `exposed_CO` is the estimate, the others are draws."""
    is_technology_O = np.array([code.startswith(TECHNOLOGY_GROUP) for code in codes])
    for index, mask_O in (("iceberg", np.ones_like(is_technology_O)), ("surface", is_technology_O)):
        value_C = exposed_CO[:, mask_O].sum(axis=1)
        index_C = value_C / value_O.sum()
        lower, upper = np.quantile(index_C[1:], (0.025, 0.975))
        part_O = exposed_CO[0, mask_O] / value_C[0] if value_C[0] > 0 else np.zeros(int(mask_O.sum()))
        yield {
            "index_name": index,
            "value": float(index_C[0]),
            "lower": float(min(lower, index_C[0])),
            "upper": float(max(upper, index_C[0])),
            "automatable_value_usd": float(value_C[0]),
            "hhi": float((part_O**2).sum()),
        }


def _agreement(occupations: pl.DataFrame) -> dict[str, float]:
    """Rank correlation with the scores of Felten et al., which no fit has seen."""
    both = occupations.drop_nulls(["felten_exposure"])
    rank = both.select(pl.corr("automatable_share", "felten_exposure", method="spearman")).item()
    return {"spearman_with_felten": float(rank), "num_compared_occupations": float(both.height)}
