"""Hot-deck imputation: an open attribute is copied from a weighted random donor who is alike in other attributes."""

import numpy as np
import polars as pl

from assets.population.errors import SynthesisError
from validation.attributes import ATTRIBUTES

FILL_ORDER = (
    "age_group",
    "age",
    "region",
    "state",
    *(attribute.name for attribute in ATTRIBUTES if attribute.name not in ("age_group", "region", "state")),
)
"""Order of filling; an attribute filled earlier helps to choose the donors of the later ones."""

FIXED_KEYS: dict[str, tuple[str, ...]] = {"age": ("age_group",), "state": ("region",)}
"""Attributes in which a donor must agree, because the open one would contradict them otherwise."""

CELL_KEYS: dict[str, tuple[str, ...]] = {
    "ideology": ("party", "past_vote", "race_ethnicity", "education", "age_group"),
    "religion_importance": ("party", "race_ethnicity", "age_group", "past_vote", "education"),
    "income_group": ("education", "age_group", "race_ethnicity", "past_vote"),
}
DEFAULT_CELL_KEYS = ("past_vote", "race_ethnicity", "education", "age_group")
"""Attributes in which donors agree as far as possible, the most telling first; the last ones are dropped first when no
donor agrees in all of them."""


def fill_open_attributes(people: pl.DataFrame, donors: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Fills every null attribute and the age, and adds the column `imputed_attributes` that names what was filled.

    Each person draws their own donor, with probability proportional to the donor's calibrated weight, so two agents
    made from one respondent may differ in what was filled.

    Args:
        people: rows with the attributes of `agents`, nulls where the donor respondent gave no answer.
        donors: respondents with the same columns and `calibrated_weight`.
        rng: source of randomness.

    Raises:
        SynthesisError: no respondent has an answer to copy.

    Source: Andridge & Little (2010), A review of hot deck imputation for survey non-response, section 3.
    """
    is_filled = {}
    for name in FILL_ORDER:
        is_open = people[name].is_null()
        if not is_open.any():
            continue
        is_filled[name] = is_open
        fixed = FIXED_KEYS.get(name, ())
        keys = (*fixed, *(key for key in CELL_KEYS.get(name, DEFAULT_CELL_KEYS) if key != name and key not in fixed))
        keys = tuple(key for key in keys if people[key].null_count() == 0)
        given = donors.filter(pl.col(name).is_not_null())
        for num_keys in range(len(keys), len(fixed) - 1, -1):
            people = people.with_columns(_copied(people, given, name, keys[:num_keys], rng))
            if not people[name].has_nulls():
                break
        if people[name].has_nulls():
            raise SynthesisError(
                f"Attribute {name} is open for {people[name].null_count()} agents and no respondent of the seed survey "
                f"has an answer to copy ({given.height} answers in all). Map {name} in the survey's codebook, or "
                "choose a seed survey that asked for it."
            )
    named = [pl.when(is_open).then(pl.lit(name)) for name, is_open in is_filled.items()]
    filled = pl.concat_list(named).list.drop_nulls() if named else pl.lit([], dtype=pl.List(pl.String))
    return people.with_columns(filled.alias("imputed_attributes"))


def _copied(
    people: pl.DataFrame, given: pl.DataFrame, name: str, keys: tuple[str, ...], rng: np.random.Generator
) -> pl.Series:
    """The column with its open entries filled from donors who agree in all keys; open where there is none."""
    donor_cell = _cell(given, keys)
    given, donor_cell = given.filter(donor_cell.is_not_null()), donor_cell.drop_nulls()
    cells = pl.Enum(donor_cell.unique().sort())
    wanted = _cell(people, keys).cast(cells, strict=False).to_physical()
    row_N = (people[name].is_null() & wanted.is_not_null()).arg_true().to_numpy()
    if not len(row_N):
        return people[name]
    cell_R, cell_N = donor_cell.cast(cells).to_physical().to_numpy(), wanted.to_numpy()[row_N].astype(np.int64)
    order_R = np.argsort(cell_R, kind="stable")
    end_C = np.cumsum(np.bincount(cell_R, minlength=len(cells.categories)))
    upto_R = np.cumsum(given["calibrated_weight"].to_numpy()[order_R])
    upto_C = np.concatenate([[0.0], upto_R[end_C - 1]])
    target_N = upto_C[cell_N] + rng.random(len(row_N)) * (upto_C[cell_N + 1] - upto_C[cell_N])
    position_N = np.searchsorted(upto_R, target_N, side="right")
    first_N = np.concatenate([[0], end_C])[cell_N]
    chosen_N = order_R[np.clip(position_N, first_N, end_C[cell_N] - 1)]
    return people[name].scatter(row_N, given[name].gather(chosen_N))


def _cell(rows: pl.DataFrame, keys: tuple[str, ...]) -> pl.Series:
    if not keys:
        return pl.repeat("everybody", rows.height, dtype=pl.String, eager=True)
    return rows.select(pl.concat_str(keys, separator="*").alias("cell"))["cell"]
