"""Groups agents into households: couples alike in age, race, party and education, and others who live with them.

Agents are adults; `children.py` gives households their children afterwards. All members of a household live in one
state. In states with few agents the choice of partners is small and couples are less alike.

Legend: A adults of one state, H households, K couples.
"""

from collections.abc import Callable

import numpy as np
import polars as pl
from scipy.optimize import linear_sum_assignment

from validation.attributes import ATTRIBUTE_BY_NAME

ADULTS_SHARE = {1: 0.33, 2: 0.50, 3: 0.115, 4: 0.055}
"""Share of households by number of adults; 4 stands for four or more. Mean 1.895 adults.

Approximate. The Census Bureau's America's Families and Living Arrangements 2016 (CPS) gives 28 % one-person households,
126 million households and 2.53 persons per household, children included; with about 245 million adults, of whom some
8 million live in group quarters, that leaves about 1.9 adults per household. One-adult households are the one-person
ones and about 5 % with one adult and children. The split above two adults is an estimate from memory, not a table.
"""

COUPLE_SHARE = {1: 0.0, 2: 0.87, 3: 0.80, 4: 0.80}
"""Share of households of that many adults that a couple heads. Approximate: with `ADULTS_SHARE` about 57 % of
households hold a couple, where the 2016 CPS has 48 % married and 6-7 % cohabiting."""

SAME_SEX_SHARE = 0.014
"""Share of couples of one sex. Approximate: American Community Survey 2016, 0.9 of 66 million couples."""

PARTNERED_BY_AGE = {"18-29": 0.35, "30-39": 0.70, "40-49": 0.72, "50-59": 0.70, "60-69": 0.68, "70+": 0.52}
"""Relative propensity to live with a partner. Approximate, after the 2016 CPS living arrangements by age."""

SHARING_BY_AGE = {"18-29": 8.0, "30-39": 2.0, "40-49": 1.0, "50-59": 1.0, "60-69": 1.0, "70+": 1.2}
"""Relative propensity of adults without a partner to live in somebody else's household: mostly grown-up children."""

AGE_GAP_YEARS = 2.3
"""Mean age of husbands minus wives. Source: 2016 CPS, approximate."""

GENERATION_YEARS = 28.0
"""Age gap between a household's head and the further adults of the household, of either sign."""

AGE_SCALE_YEARS = 6.0
RACE_COST, PARTY_COST, EDUCATION_COST = 2.2, 0.6, 0.5
NOISE_SCALE = 0.55
"""Weights of the matching cost. They were set so that about nine in ten couples share race and Hispanic origin (Pew
Research Center 2017: 10 % of married people in 2015 were intermarried) and about seven in ten share a party (Hersh &
Ghitza 2018, Mixed partisan households, report 30 % mismatched married couples)."""

LARGEST_BATCH = 64
"""Adults of a state are matched in random batches of at most this many pairs, so that cost stays linear in agents."""


def assign_households(people: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Puts every adult into exactly one household and orders people by household.

    Args:
        people: rows with state, sex, age, age_group, race_ethnicity, party and education.
        rng: source of randomness.

    Returns:
        The same rows plus `household_id`, dense 0…H−1 in row order, and `has_couple`, whether a couple heads the
        household (then its first two rows); households are grouped by state. A state of N adults has the numbers of
        households that `household_numbers(N)` says.
    """
    traits = _Traits(people)
    rows, sizes, couples = [], [], []
    for state_rows in _rows_by_state(people["state"]):
        for members, has_couple in _households_of_state(state_rows, traits, rng):
            rows.append(members.ravel())
            sizes.append(np.full(len(members), members.shape[1]))
            couples.append(np.full(len(members), has_couple))
    order, size_H, has_couple_H = np.concatenate(rows), np.concatenate(sizes), np.concatenate(couples)
    return people[order].with_columns(
        pl.Series("household_id", np.repeat(np.arange(len(size_H)), size_H)),
        pl.Series("has_couple", np.repeat(has_couple_H, size_H)),
    )


def household_numbers(num_adults: int) -> dict[int, int]:
    """Households by number of adults for so many adults: as close to `ADULTS_SHARE` as whole households can be.

    Nothing is drawn, so that the ids of the households of one shard are known before another shard is made.

    Args:
        num_adults: adults to house, at least one.

    Returns:
        Number of households per number of adults; the adults in them sum to `num_adults`.
    """
    mean = sum(size * share for size, share in ADULTS_SHARE.items())
    num_households = max(1, round(num_adults / mean))
    expected = {size: num_households * share for size, share in ADULTS_SHARE.items()}
    numbers = {size: int(count) for size, count in expected.items()}
    by_remainder = sorted(expected, key=lambda size: numbers[size] - expected[size])
    for size in by_remainder[: num_households - sum(numbers.values())]:
        numbers[size] += 1
    surplus = sum(size * count for size, count in numbers.items()) - num_adults
    while surplus:
        step = 1 if surplus > 0 else -1
        size = next(size for size in (2, 1, 3, 4) if numbers[size] and size - step in (0, *numbers))
        numbers[size] -= 1
        if size - step:
            numbers[size - step] += 1
        surplus -= step
    return numbers


class _Traits:
    """Attributes of all people as arrays, and how far two people are from one another as partners or generations."""

    def __init__(self, people: pl.DataFrame) -> None:
        self.age = people["age"].to_numpy().astype(np.float64)
        self.is_male = (people["sex"] == "male").to_numpy()
        self.codes = [
            (people[name].cast(pl.Enum(ATTRIBUTE_BY_NAME[name].levels)).to_physical().to_numpy(), cost)
            for name, cost in (
                ("race_ethnicity", RACE_COST),
                ("party", PARTY_COST),
                ("education", EDUCATION_COST),
            )
        ]
        self.partnered = people["age_group"].replace_strict(PARTNERED_BY_AGE, return_dtype=pl.Float64).to_numpy()
        self.sharing = people["age_group"].replace_strict(SHARING_BY_AGE, return_dtype=pl.Float64).to_numpy()

    def partner_cost(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Cost of each pair, shape [left, right]; left is the side that tends to be older."""
        gap = self.age[left][:, None] - self.age[right][None, :] - AGE_GAP_YEARS
        return np.abs(gap) / AGE_SCALE_YEARS + self._difference(left, right) - np.log(self.partnered[right])[None, :]

    def generation_cost(self, heads: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Cost of living in one household as members of two generations, shape [heads, others]."""
        gap = np.abs(self.age[heads][:, None] - self.age[others][None, :])
        return np.abs(gap - GENERATION_YEARS) / (2 * AGE_SCALE_YEARS) + self._difference(heads, others)

    def _difference(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        total = np.zeros((len(left), len(right)))
        for code, cost in self.codes:
            total += cost * (code[left][:, None] != code[right][None, :])
        return total


def _households_of_state(rows: np.ndarray, traits: _Traits, rng: np.random.Generator) -> list[tuple[np.ndarray, bool]]:
    """Members of one state's households, [households, adults] per number of adults, and whether couples head them."""
    num_households = household_numbers(len(rows))
    num_couples = {size: int(rng.binomial(count, COUPLE_SHARE[size])) for size, count in num_households.items()}
    couples, rest = _couples(rows, sum(num_couples.values()), traits, rng)
    num_couples = _reduced(num_couples, len(couples))
    num_sharing = sum((size - 1) * num_households[size] for size in num_households) - len(couples)
    is_sharing = np.zeros(len(rest), dtype=bool)
    is_sharing[_weighted_choice(traits.sharing[rest], num_sharing, rng)] = True
    heads, sharing = rng.permutation(rest[~is_sharing]), rng.permutation(rest[is_sharing])

    households, first_couple, first_head = [], 0, 0
    for size in num_households:
        with_couple = couples[first_couple : first_couple + num_couples[size]]
        alone = heads[first_head : first_head + num_households[size] - num_couples[size]][:, None]
        first_couple, first_head = first_couple + len(with_couple), first_head + len(alone)
        for members, has_couple in ((with_couple, True), (alone, False)):
            while len(members) and members.shape[1] < size:
                joined, sharing = _match(members[:, 0], sharing, traits.generation_cost, rng)
                members = np.column_stack([members, joined])
            if len(members):
                households.append((members, has_couple))
    return households


def _reduced(num_couples: dict[int, int], num_found: int) -> dict[int, int]:
    """Couples by household size when fewer couples than planned could be formed."""
    reduced, left = {}, num_found
    for size, count in num_couples.items():
        reduced[size] = min(count, left)
        left -= reduced[size]
    return reduced


def _couples(
    rows: np.ndarray, num_couples: int, traits: _Traits, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Couples [K, 2] and the adults who have no partner; K is smaller where one sex runs short."""
    men, women = rows[traits.is_male[rows]], rows[~traits.is_male[rows]]
    num_same_sex = int(rng.binomial(num_couples, SAME_SEX_SHARE))
    num_of_men = min(int(rng.binomial(num_same_sex, 0.5)), len(men) // 2)
    num_of_women = min(num_same_sex - num_of_men, len(women) // 2)
    num_mixed = min(num_couples - num_of_men - num_of_women, len(men) - 2 * num_of_men, len(women) - 2 * num_of_women)
    partnered_men = rng.permutation(men[_weighted_choice(traits.partnered[men], num_mixed + 2 * num_of_men, rng)])
    chosen_women = rng.permutation(women)
    pairs = []
    for same_sex in (partnered_men[num_mixed:], chosen_women[: 2 * num_of_women]):
        half = len(same_sex) // 2
        partners, _ = _match(same_sex[:half], same_sex[half:], traits.partner_cost, rng)
        pairs.append(np.column_stack([same_sex[:half], partners]))
    partners, _ = _match(partnered_men[:num_mixed], chosen_women[2 * num_of_women :], traits.partner_cost, rng)
    pairs.append(np.column_stack([partnered_men[:num_mixed], partners]))
    couples = rng.permutation(np.concatenate(pairs))
    return couples, np.setdiff1d(rows, couples)


def _match(
    left: np.ndarray,
    right: np.ndarray,
    cost: Callable[[np.ndarray, np.ndarray], np.ndarray],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """A partner from `right` for everybody in `left` at small total cost, and those of `right` who are left over."""
    matched = np.empty_like(left)
    taken = np.zeros(len(right), dtype=bool)
    num_batches = max(1, -(-len(left) // LARGEST_BATCH))
    for left_part, right_part in zip(
        np.array_split(np.arange(len(left)), num_batches),
        np.array_split(np.arange(len(right)), num_batches),
        strict=True,
    ):
        costs = cost(left[left_part], right[right_part])
        costs = costs + rng.gumbel(scale=NOISE_SCALE, size=costs.shape)
        row, column = linear_sum_assignment(costs)
        matched[left_part[row]] = right[right_part[column]]
        taken[right_part[column]] = True
    return matched, right[~taken]


def _weighted_choice(weights: np.ndarray, num_chosen: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of a weighted draw without replacement, in ascending order.

    Source: Efraimidis & Spirakis (2006), Weighted random sampling with a reservoir.
    """
    keys = rng.exponential(size=len(weights)) / weights
    return np.sort(np.argpartition(keys, num_chosen)[:num_chosen]) if num_chosen < len(keys) else np.arange(len(keys))


def _rows_by_state(state: pl.Series) -> list[np.ndarray]:
    code = state.rank("dense").to_numpy()
    order = np.argsort(code, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(code[order])) + 1)
