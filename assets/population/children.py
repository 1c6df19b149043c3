"""Children of households: members who are no agents. Their number and ages follow the adults they live with.

Agents are adults, because surveys ask adults; children have no opinions here and no ties, but a household with children
is another household than one without (docs/adr/0010).

Legend: H households, K children.
"""

from dataclasses import dataclass

import numpy as np

PARENT_AGE_YEARS = (18, 59)
"""Ages at which an adult can live with a child under 18 as its parent."""

SHARE_WITH_CHILDREN = {"couple": 0.90, "single": 0.62}
"""Share of households with children under 18 among those headed by a couple, or by one adult, of the most likely age.
Approximate, set so that about 28 % of households hold children: Census Bureau, America's Families and Living
Arrangements 2016, has 34.0 of 125.8 million households with own children under 18, and others with grandchildren."""

PEAK_AGE_YEARS, AGE_SPREAD_YEARS = 38.5, 10.5
"""The share with children falls off with the younger head's distance from this age, as a normal density does."""

SINGLE_MAN_FACTOR = 0.28
"""One-adult households of men have children less often: four in five lone parents are mothers (same source)."""

NUM_CHILDREN_SHARE = {1: 0.38, 2: 0.36, 3: 0.17, 4: 0.09}
"""Share of families with children by number of children; 4 stands for four or more. Approximate, same source: about
2 children per family (73.7 million children in 36 million households that hold any)."""

MOTHER_AGE_AT_BIRTH_YEARS, BIRTH_SPREAD_YEARS = 28.0, 5.5
"""Mean and spread of the younger head's age at a child's birth. Source: National Vital Statistics Reports 67(1), births
in 2016: mean age of mothers at first birth 26.6, at any birth about 28.7 years."""

ADULT_AGE_YEARS = 18


@dataclass(frozen=True)
class Children:
    """Number of children per household, [H], and the age in years of each child, households in order, [K]."""

    num_children_H: np.ndarray
    age_K: np.ndarray


def draw_children(
    younger_age_H: np.ndarray, is_couple_H: np.ndarray, is_man_H: np.ndarray, rng: np.random.Generator
) -> Children:
    """Draws the children of households.

    Args:
        younger_age_H: age in years of the younger head (of the only adult, where there is one).
        is_couple_H: whether a couple heads the household.
        is_man_H: whether the head is a man; counts where there is no couple.
        rng: source of randomness.
    """
    low, high = PARENT_AGE_YEARS
    peak = np.where(is_couple_H, SHARE_WITH_CHILDREN["couple"], SHARE_WITH_CHILDREN["single"])
    fall = np.exp(-0.5 * np.square((younger_age_H - PEAK_AGE_YEARS) / AGE_SPREAD_YEARS))
    share = np.where((younger_age_H >= low) & (younger_age_H <= high), peak * fall, 0.0)
    share = np.where(~is_couple_H & is_man_H, share * SINGLE_MAN_FACTOR, share)
    has_children_H = rng.random(len(share)) < share
    drawn_H = rng.choice(list(NUM_CHILDREN_SHARE), p=list(NUM_CHILDREN_SHARE.values()), size=len(share))
    num_children_H = np.where(has_children_H, drawn_H, 0)
    head_age_K = np.repeat(younger_age_H, num_children_H)
    at_birth_K = rng.normal(MOTHER_AGE_AT_BIRTH_YEARS, BIRTH_SPREAD_YEARS, len(head_age_K))
    oldest_K = np.minimum(ADULT_AGE_YEARS - 1, head_age_K - 14)
    wanted_K = np.rint(head_age_K - at_birth_K)
    uniform_K = rng.integers(0, ADULT_AGE_YEARS, len(head_age_K))
    is_possible_K = (wanted_K >= 0) & (wanted_K < ADULT_AGE_YEARS)
    age_K = np.clip(np.where(is_possible_K, wanted_K, uniform_K), 0, np.maximum(oldest_K, 0)).astype(np.int64)
    return Children(num_children_H, age_K)
