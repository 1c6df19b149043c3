"""Disclosure: how well an agent points at a respondent. Agents are made from survey rows, so every run asks this.

Uniqueness counts agents and respondents who are alone in their combination of quasi-identifiers (what an outsider could
know). Distance compares records attribute by attribute (Gower's coefficient): from agents to their nearest respondent,
beside the distance from respondents to their nearest fellow respondent. Agents nearer to respondents than respondents
are to one another would be copies with noise.

Source: Gower (1971), A general coefficient of similarity; distance to the closest record as in Platzer & Reutterer
(2021), Holdout-based fidelity and privacy assessment of mixed-type synthetic data.

Legend: N sampled agents, R respondents.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl

from assets.population.noise import Originals
from assets.population.records import OPEN, attribute_codes
from validation.contracts import CONTRACTS

QUASI_IDENTIFIERS = (
    ("sex", "age_group", "race_ethnicity", "state"),
    ("sex", "age", "race_ethnicity", "education", "state"),
    ("sex", "age", "race_ethnicity", "education", "state", "income_group", "party"),
)
NUM_SAMPLED = 200
AGE_RANGE_YEARS = 77.0
QUANTILES = (0.05, 0.5, 0.95)

Row = tuple[str, str, float, str | None]


def disclosure_rows(agents: pl.DataFrame, seed: pl.DataFrame, rng_seed: int) -> pl.DataFrame:
    """Rows of `disclosure`.

    Args:
        agents: rows of `agents`.
        seed: the calibrated respondents with their attributes; every donor is among them.
        rng_seed: seed of the samples of agents and respondents.
    """
    rows = [*_uniqueness(agents, seed), *_copies(agents, seed), *_distances(agents, seed, rng_seed)]
    contract = CONTRACTS["disclosure"]
    return contract.validate(pl.DataFrame(rows, schema=contract.polars_schema(), orient="row"))


def _uniqueness(agents: pl.DataFrame, seed: pl.DataFrame) -> Iterator[Row]:
    for names in QUASI_IDENTIFIERS:
        where = "*".join(names)
        known = seed.drop_nulls(names)
        sizes = agents.group_by(names).len()
        alone_R = known.filter(pl.len().over(names) == 1)
        alone_N = agents.filter(pl.len().over(names) == 1)
        pointing = alone_N.join(alone_R.select(names), on=list(names), how="semi").height
        yield "share_unique_agents", where, alone_N.height / agents.height, "alone in their combination"
        yield "share_unique_respondents", where, alone_R.height / max(known.height, 1), f"of {known.height} known"
        yield "share_agents_unique_in_both", where, pointing / agents.height, "a unique agent like a unique respondent"
        yield "smallest_group", where, float(sizes["len"].min()), "agents"  # type: ignore[arg-type]


def _copies(agents: pl.DataFrame, seed: pl.DataFrame) -> Iterator[Row]:
    originals = Originals.of(seed)
    is_copy_N = originals.copies(attribute_codes(agents), _donor_rows(agents, seed))
    yield "share_copies", "all attributes and age", float(is_copy_N.mean()), "equal to a respondent or to their donor"
    per_donor = agents["respondent_id"].value_counts()["count"]
    yield "agents_per_donor", "mean", float(per_donor.mean()), None  # type: ignore[arg-type]
    yield "agents_per_donor", "largest", float(per_donor.max()), None  # type: ignore[arg-type]


def _distances(agents: pl.DataFrame, seed: pl.DataFrame, rng_seed: int) -> Iterator[Row]:
    rng = np.random.default_rng(rng_seed)
    codes_R = attribute_codes(seed)
    sampled = np.sort(rng.choice(agents.height, min(NUM_SAMPLED, agents.height), replace=False))
    fellows = np.sort(rng.choice(seed.height, min(NUM_SAMPLED, seed.height), replace=False))
    chosen = agents[sampled]
    nearest_N = _nearest(attribute_codes(chosen), codes_R, None)
    to_donor_N = _gower(attribute_codes(chosen), {n: c[_donor_rows(chosen, seed)] for n, c in codes_R.items()})
    nearest_R = _nearest({name: code[fellows] for name, code in codes_R.items()}, codes_R, fellows)
    for name, values, note in (
        ("distance_to_donor", to_donor_N, "agents to the respondent they were made from"),
        ("distance_to_nearest_respondent", nearest_N, "agents to the nearest respondent"),
        ("distance_between_respondents", nearest_R, "respondents to the nearest other respondent: the comparison"),
    ):
        yield name, "mean", float(values.mean()), f"{note}; {len(values)} sampled; 0 equal, 1 different in everything"
        for quantile in QUANTILES:
            yield name, f"q{100 * quantile:g}", float(np.quantile(values, quantile)), None


def _donor_rows(agents: pl.DataFrame, seed: pl.DataFrame) -> np.ndarray:
    rows = seed.select("respondent_id", pl.int_range(pl.len()).alias("row"))
    return (
        agents.select("respondent_id")
        .join(rows, on="respondent_id", how="left", maintain_order="left")["row"]
        .to_numpy()
    )


def _nearest(codes_N: dict[str, np.ndarray], codes_R: dict[str, np.ndarray], own_N: np.ndarray | None) -> np.ndarray:
    """Distance of each record to the nearest respondent, its own row excepted where given."""
    names = [name for name in codes_R if name != "age"]
    code_RA = np.stack([codes_R[name] for name in names], axis=1).astype(np.int8)
    is_known_RA, age_R = code_RA != OPEN, codes_R["age"]
    nearest_N = np.empty(len(codes_N["age"]))
    for index in range(len(nearest_N)):
        code_A = np.array([codes_N[name][index] for name in names], dtype=np.int8)
        age = codes_N["age"][index]
        both_RA = is_known_RA & (code_A != OPEN)
        differing_R = ((code_RA != code_A) & both_RA).sum(axis=1)
        has_age_R = (age_R != OPEN) & (age != OPEN)
        gap_R = np.where(has_age_R, np.minimum(np.abs(age_R - age) / AGE_RANGE_YEARS, 1.0), 0.0)
        distance_R = (differing_R + gap_R) / np.maximum(both_RA.sum(axis=1) + has_age_R, 1)
        if own_N is not None:
            distance_R[own_N[index]] = np.inf
        nearest_N[index] = distance_R.min()
    return nearest_N


def _gower(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> np.ndarray:
    """Share of attributes known on both sides that differ; ages count by their gap over the range."""
    total, known = 0.0, 0.0
    for name, code in left.items():
        other = right[name]
        is_known = (code != OPEN) & (other != OPEN)
        gap = np.minimum(np.abs(code - other) / AGE_RANGE_YEARS, 1.0) if name == "age" else code != other
        total = total + is_known * gap
        known = known + is_known
    return np.asarray(total / np.maximum(known, 1))
