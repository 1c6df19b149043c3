"""Counties: gives every household a county of its state so that county totals and the recorded vote agree.

County results of the presidential election say how many votes each candidate got where. The agents of a state who
voted for either are spread over its counties in those proportions; agents without a recorded vote follow the votes
cast, as the file has no other count of people (turnout is taken to be even within a state, which it is not).

Households that hold the same numbers of voters are interchangeable, so counties are given to kinds of households, not
to households: the weights of kinds by counties are fitted until every county has its people of every vote, then
rounded to whole households, and households of a kind are dealt out at random.

Legend: T kinds of households, C counties of one state, V votes.
"""

import numpy as np
import polars as pl

VOTES = ("trump", "other_candidate", "no_recorded_vote")
ELECTION_YEAR = 2016
COUNTY_SOURCE = "county_president_2016_2024"
NUM_ITERATIONS = 200
TOLERANCE = 1e-6


def county_shares(votes: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Share of each county among its state's people of each vote.

    Args:
        votes: county results with year, fips, state, votes_gop, total_votes.

    Returns:
        Per state: county_fips and one column per vote. A state whose counties all repeat the same result is left out:
        Alaska reports by district, and the file repeats the state.
    """
    year = votes.filter((pl.col("year") == ELECTION_YEAR) & (pl.col("total_votes") > 0))
    year = year.with_columns(other=pl.col("total_votes") - pl.col("votes_gop"))
    shares = {}
    for (state,), rows in year.sort("fips").group_by("state", maintain_order=True):
        if rows.height > 1 and rows.select("votes_gop", "total_votes").n_unique() == 1:
            continue
        shares[str(state)] = rows.select(
            pl.col("fips").cast(pl.Int32).alias("county_fips"),
            (pl.col("votes_gop") / pl.col("votes_gop").sum()).alias("trump"),
            (pl.col("other") / pl.col("other").sum()).alias("other_candidate"),
            (pl.col("total_votes") / pl.col("total_votes").sum()).alias("no_recorded_vote"),
        )
    return shares


def assign_counties(
    vote_N: np.ndarray, household_N: np.ndarray, shares: pl.DataFrame, rng: np.random.Generator
) -> np.ndarray:
    """County of each household of one state.

    Args:
        vote_N: index into `VOTES` of each agent.
        household_N: household of each agent, 0…H−1.
        shares: the state's counties, as `county_shares` gives them.
        rng: source of randomness.

    Returns:
        FIPS code per household.
    """
    num_households = int(household_N.max()) + 1
    members_HV = np.zeros((num_households, len(VOTES)), dtype=np.int64)
    np.add.at(members_HV, (household_N, vote_N), 1)
    members_TV, kind_H = np.unique(members_HV, axis=0, return_inverse=True)
    count_T = np.bincount(kind_H.ravel())
    share_CV = shares.select(VOTES).to_numpy()
    total_CV = share_CV * members_HV.sum(axis=0)
    expected_TC = _fit(count_T, members_TV, total_CV)
    whole_TC = _round(expected_TC, count_T, members_TV, total_CV, rng)
    fips_C, county_H = shares["county_fips"].to_numpy(), np.empty(num_households, dtype=np.int32)
    for kind, count_C in enumerate(whole_TC):
        rows = np.flatnonzero(kind_H.ravel() == kind)
        county_H[rows] = rng.permutation(np.repeat(fips_C, count_C))
    return county_H


def _fit(count_T: np.ndarray, members_TV: np.ndarray, total_CV: np.ndarray) -> np.ndarray:
    """Expected households by kind and county, [T, C]: rows sum to the kinds, and people to the totals as far as can be.

    Each county has a factor per vote, and a kind's weight is the product of its members' factors: the generalised
    raking of counties to people, by repeated proportional steps.
    """
    log_factor_CV = np.log(np.maximum(total_CV, 1e-12) / np.maximum(total_CV.sum(axis=0), 1e-12))
    size_T = np.maximum(members_TV.sum(axis=1), 1)
    expected_TC = np.zeros((len(count_T), len(total_CV)))
    for _ in range(NUM_ITERATIONS):
        log_TC = (members_TV / size_T[:, None]) @ log_factor_CV.T
        weight_TC = np.exp(log_TC - log_TC.max(axis=1, keepdims=True))
        expected_TC = weight_TC / weight_TC.sum(axis=1, keepdims=True) * count_T[:, None]
        found_CV = expected_TC.T @ members_TV
        ratio_CV = np.maximum(total_CV, 1e-12) / np.maximum(found_CV, 1e-12)
        if np.abs(found_CV - total_CV).max() < TOLERANCE * max(total_CV.sum(), 1.0):
            break
        log_factor_CV += np.clip(np.log(ratio_CV), -1.0, 1.0)
    return expected_TC


def _round(
    expected_TC: np.ndarray,
    count_T: np.ndarray,
    members_TV: np.ndarray,
    total_CV: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Whole households: floors first, then one household after another to the county that lacks its people most."""
    whole_TC = np.floor(expected_TC + 1e-9).astype(np.int64)
    lacking_CV = total_CV - whole_TC.T @ members_TV
    left_T = count_T - whole_TC.sum(axis=1)
    kinds = rng.permutation(np.repeat(np.arange(len(count_T)), left_T))
    kinds = kinds[np.argsort(-members_TV[kinds].sum(axis=1), kind="stable")]
    for kind in kinds:
        members_V = members_TV[kind]
        county = int((lacking_CV @ members_V + rng.random(len(lacking_CV)) * 1e-6).argmax())
        whole_TC[kind, county] += 1
        lacking_CV[county] -= members_V
    return whole_TC
