"""Rows of `households`: who lives together, with children and elders counted, and in which county."""

import numpy as np
import polars as pl
import pyarrow as pa

from assets.population.children import draw_children
from assets.population.counties import VOTES, assign_counties
from assets.population.records import level_codes

ELDER_AGE_YEARS = 65


def describe_households(
    grouped: pl.DataFrame, county_shares: pl.DataFrame | None, rng: np.random.Generator
) -> pl.DataFrame:
    """Describes the households of one state.

    Args:
        grouped: agents with household_id counting from 0, adjacent, and has_couple, as `assign_households` gives them.
        county_shares: the state's counties; households have none without.
        rng: draws children and counties.

    Returns:
        Rows of `households`.
    """
    household_N = grouped["household_id"].to_numpy()
    first_H = np.flatnonzero(np.append(True, household_N[1:] != household_N[:-1]))
    size_H = np.diff(np.append(first_H, len(household_N)))
    age_N = grouped["age"].to_numpy().astype(np.float64)
    has_couple_H = grouped["has_couple"].to_numpy()[first_H]
    partner_H = np.where(has_couple_H, first_H + 1, first_H)
    younger_H = np.minimum(age_N[first_H], age_N[partner_H])
    is_man_H = (grouped["sex"] == "male").to_numpy()[first_H]
    children = draw_children(younger_H, has_couple_H, is_man_H, rng)

    county_H = pl.repeat(None, len(first_H), dtype=pl.Int32, eager=True)
    if county_shares is not None:
        vote_N = level_codes(grouped["past_vote"], VOTES)
        county_H = pl.Series(assign_counties(vote_N, household_N, county_shares, rng), dtype=pl.Int32)
    num_elders_H = np.add.reduceat((age_N >= ELDER_AGE_YEARS).astype(np.int64), first_H)
    kind_H = np.where(has_couple_H, "couple", np.where(size_H == 1, "one_adult", "adults"))
    offsets = np.concatenate([[0], np.cumsum(children.num_children_H)])
    return pl.DataFrame(
        {
            "household_id": np.arange(len(first_H)),
            "geography": "US-" + grouped["state"].gather(first_H),
            "county_fips": county_H,
            "kind": kind_H,
            "num_adults": size_H.astype(np.int32),
            "num_children": children.num_children_H.astype(np.int32),
            "num_elders": num_elders_H.astype(np.int32),
            "child_ages": _lists(children.age_K, offsets),
        }
    )


def _lists(values_K: np.ndarray, offset_H1: np.ndarray) -> pl.Series:
    """One list of ages per household."""
    return pl.Series(pl.from_arrow(pa.LargeListArray.from_arrays(offset_H1, pa.array(values_K, pa.int32()))))
