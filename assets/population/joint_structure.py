"""The joint structure that was not raked: association of every pair of attributes, agents against the survey.

Cramér's V of a weighted table of respondents stands beside that of the agents. Sampling raises V: of a survey drawn
anew with its effective sample size, and of as many agents drawn at random from it, V scatters around a larger value.
Agents are not drawn at random but allotted, which adds less noise, so their V may lie anywhere from the survey's own
(less its sampling error) up to what random drawing gives; outside of that range the association was changed.

Source: Cramér (1946), Mathematical methods of statistics, section 21.9.

Legend: I, J levels of the two attributes.
"""

from itertools import combinations

import numpy as np
import polars as pl

from assets.population.raking import effective_sample_size
from assets.population.records import level_codes
from validation.attributes import ATTRIBUTES
from validation.contracts import CONTRACTS

NUM_RESAMPLES = 60
CONFIDENCE_Z = 1.96
QUANTILES = (0.025, 0.975)


def joint_structure_rows(
    agents: pl.DataFrame, seed: pl.DataFrame, calibrated: pl.DataFrame, margins: pl.DataFrame, rng_seed: int
) -> pl.DataFrame:
    """Rows of `joint_structure`, one per pair of attributes that respondents answered.

    Args:
        agents: rows of `agents`.
        seed: the calibrated respondents with their attributes.
        calibrated: rows of `calibrated_respondents`, in the same order.
        margins: rows of `population_margins`, to say which pairs were raked.
        rng_seed: seed of the resamples.
    """
    weight_R = calibrated["calibrated_weight"].to_numpy()
    num_levels = {a.name: len(a.levels) for a in ATTRIBUTES}
    codes_N = {a.name: level_codes(agents[a.name], a.levels) for a in ATTRIBUTES}
    codes_R = {
        a.name: level_codes(seed[a.name], a.levels) for a in ATTRIBUTES if seed[a.name].null_count() < seed.height
    }
    raked = {frozenset(pair) for name in margins["margin"].unique() for pair in combinations(name.split("*"), 2)}
    if margins["geography"].str.starts_with("US-").any():
        of_states = margins.filter(pl.col("geography") != "US")["margin"].unique()
        raked |= {frozenset(("state", part)) for name in of_states for part in name.split("*")}
    imputed = agents.select(pl.col("imputed_attributes").explode().value_counts()).unnest("imputed_attributes")
    filled = dict(imputed.iter_rows()) if imputed.height else {}
    rng, rows = np.random.default_rng(rng_seed), []
    for first, second in combinations(codes_R, 2):
        shape = (num_levels[first], num_levels[second])
        is_known_R = (codes_R[first] >= 0) & (codes_R[second] >= 0)
        cell_R = (codes_R[first] * shape[1] + codes_R[second])[is_known_R]
        known_R = weight_R[is_known_R]
        survey = _table(cell_R, known_R, shape)
        of_agents = _table(codes_N[first] * shape[1] + codes_N[second], None, shape)
        v_survey, v_agents = cramers_v(survey), cramers_v(of_agents)
        effective = int(effective_sample_size(known_R))
        drawn = np.array([_redrawn(survey, effective, agents.height, rng) for _ in range(NUM_RESAMPLES)])
        error = float(drawn[:, 0].std(ddof=1))
        low, high = np.quantile(drawn[:, 1], QUANTILES)
        lower, upper = max(0.0, min(float(low), v_survey - CONFIDENCE_Z * error)), min(1.0, float(high))
        upper = max(upper, min(1.0, v_survey + CONFIDENCE_Z * error))
        rows.append(
            (
                first,
                second,
                v_survey,
                v_agents,
                lower,
                upper,
                error,
                lower <= v_agents <= upper,
                frozenset((first, second)) in raked,
                max(filled.get(first, 0), filled.get(second, 0)) / agents.height,
                int(is_known_R.sum()),
            )
        )
    contract = CONTRACTS["joint_structure"]
    return contract.validate(pl.DataFrame(rows, schema=contract.polars_schema(), orient="row"))


def cramers_v(table_IJ: np.ndarray) -> float:
    """Cramér's V of a table of counts or shares: 0 for independence, 1 for one attribute fixing the other.

    Args:
        table_IJ: counts or weights; empty rows and columns are left out.
    """
    share_IJ = table_IJ / table_IJ.sum()
    share_IJ = share_IJ[share_IJ.sum(axis=1) > 0][:, share_IJ.sum(axis=0) > 0]
    smaller = min(share_IJ.shape)
    if smaller < 2:
        return 0.0
    expected_IJ = share_IJ.sum(axis=1)[:, None] * share_IJ.sum(axis=0)[None, :]
    phi2 = float((np.square(share_IJ - expected_IJ) / expected_IJ).sum())
    return float(min(1.0, np.sqrt(phi2 / (smaller - 1))))


def _redrawn(survey_IJ: np.ndarray, effective: int, num_agents: int, rng: np.random.Generator) -> tuple[float, float]:
    """V of a survey drawn again with its effective sample size, and of as many agents drawn from that."""
    share = (survey_IJ / survey_IJ.sum()).ravel()
    again = rng.multinomial(effective, share)
    drawn = rng.multinomial(num_agents, again / effective)
    return cramers_v(again.reshape(survey_IJ.shape)), cramers_v(drawn.reshape(survey_IJ.shape))


def _table(cell: np.ndarray, weight: np.ndarray | None, shape: tuple[int, int]) -> np.ndarray:
    return np.bincount(cell, weights=weight, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)
