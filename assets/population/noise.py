"""Noise that makes agents distinct: no agent equals a respondent in all attributes and age.

Ages move within the age group, and attributes that no margin uses move to another level, so that every margin holds as
before. An agent counts as a copy when it equals any respondent who answered everything, or its own donor in everything
that the donor answered, unless the donor answered nothing that may move.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import polars as pl

from assets.population.errors import SynthesisError
from assets.population.records import OPEN, attribute_codes, record_codes
from validation.attributes import AGE_GROUP_BOUNDS, ATTRIBUTES

MOVABLE = ("income_group", "religion_importance", "ideology")
"""Attributes that may move, the ones that least decide an answer first; age moves before them."""

NUM_ROUNDS = 60
LARGEST_AGE_YEARS = 95


@dataclass(frozen=True)
class Originals:
    """Respondents as records: sorted codes of the complete ones, and the codes of every donor."""

    record_R: np.ndarray
    codes: dict[str, np.ndarray]

    @classmethod
    def of(cls, donors: pl.DataFrame) -> "Originals":
        """The records of these respondents."""
        codes = attribute_codes(donors)
        record = record_codes(codes)
        return cls(np.unique(record[record != OPEN]), codes)

    def copies(self, codes: dict[str, np.ndarray], donor_N: np.ndarray) -> np.ndarray:
        """Whether each agent is a copy, [N]."""
        record_N = record_codes(codes)
        place_N = np.minimum(np.searchsorted(self.record_R, record_N), max(len(self.record_R) - 1, 0))
        is_known_N = self.record_R[place_N] == record_N if len(self.record_R) else np.zeros(len(record_N), dtype=bool)
        equals_donor_N = np.ones(len(donor_N), dtype=bool)
        for name, code_R in self.codes.items():
            donor_code_N = code_R[donor_N]
            equals_donor_N &= (donor_code_N == OPEN) | (donor_code_N == codes[name])
        may_move_R = np.any([self.codes[name] != OPEN for name in ("age", *MOVABLE)], axis=0)
        return is_known_N | (equals_donor_N & may_move_R[donor_N])


def make_distinct(
    people: pl.DataFrame,
    donor_N: np.ndarray,
    originals: Originals,
    fixed: Collection[str],
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Changes copies until none is left, and adds what was changed to `imputed_attributes`.

    Args:
        people: complete rows of agents with `imputed_attributes`.
        donor_N: donor row of each agent.
        originals: the donors' records.
        fixed: attributes that margins use; they stay as they are.
        rng: source of randomness.

    Raises:
        SynthesisError: an agent stays a copy, whatever is tried.
    """
    codes = {name: code_N.copy() for name, code_N in attribute_codes(people).items()}
    before = {name: code_N.copy() for name, code_N in codes.items()}
    low_G, high_G = np.array([(low, min(high, LARGEST_AGE_YEARS)) for low, high in AGE_GROUP_BOUNDS.values()]).T
    num_levels = {attribute.name: len(attribute.levels) for attribute in ATTRIBUTES}
    movable = [name for name in MOVABLE if name not in fixed]
    row_N = np.flatnonzero(originals.copies(codes, donor_N))
    for attempt in range(NUM_ROUNDS):
        if not len(row_N):
            break
        group_N = codes["age_group"][row_N]
        codes["age"][row_N] = rng.integers(low_G[group_N], high_G[group_N] + 1)
        if movable and attempt >= 2:
            name = movable[(attempt - 2) % len(movable)]
            step_N = rng.choice([-1, 1], size=len(row_N))
            codes[name][row_N] = np.clip(codes[name][row_N] + step_N, 0, num_levels[name] - 1)
        part = {name: code_N[row_N] for name, code_N in codes.items()}
        row_N = row_N[originals.copies(part, donor_N[row_N])]
    if len(row_N):
        raise SynthesisError(
            f"{len(row_N)} agents stay copies of a respondent after {NUM_ROUNDS} rounds of noise. Fewer attributes "
            "must be margins, or say noise: none in the population file."
        )
    changed = {name: codes[name] != before[name] for name in ("age", *movable)}
    marks = [pl.when(pl.Series(is_changed)).then(pl.lit(name)) for name, is_changed in changed.items()]
    levels = {attribute.name: pl.Series(attribute.levels) for attribute in ATTRIBUTES}
    return people.with_columns(
        pl.Series("age", codes["age"], dtype=pl.Int32),
        *(levels[name].gather(codes[name]).alias(name) for name in movable),
        pl.concat_list("imputed_attributes", *marks).list.drop_nulls().list.unique(maintain_order=True),
    )
