"""Hot-deck imputation: an open attribute is copied from a weighted random donor who is alike in other attributes.

Donors are the respondents of the seed survey. Where none of them has an attribute, because the seed survey did not ask
for it, the respondents of a second survey are the donors of that attribute, and the same keys choose among them.

Legend: N people, R donors, C cells (combinations of the keys' levels).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from assets.population.errors import SynthesisError
from assets.population.records import OPEN, level_codes
from validation.attributes import ATTRIBUTE_BY_NAME, ATTRIBUTES

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

NUM_CODES = 128
"""Codes of attributes and ages are below this, so that a cell's code is a number in base 128."""


@dataclass(frozen=True)
class _Cells:
    """Donors of one attribute, sorted by the cell of some keys; `upto_R` is the cumulative weight, from 0."""

    code_C: np.ndarray
    start_C1: np.ndarray
    upto_R1: np.ndarray
    value_R: np.ndarray


class HotDeck:
    """The donors of every attribute, sorted once, so that many groups of people are filled at small cost."""

    def __init__(self, donors: pl.DataFrame, second: pl.DataFrame | None = None, *, check: bool = True) -> None:
        """Takes the donors.

        Args:
            donors: respondents of the seed survey with the attributes of `agents`, age and `calibrated_weight`.
            second: respondents of a second survey with the same columns, for attributes that no donor has.
            check: whether every attribute must have a donor.

        Raises:
            SynthesisError: an attribute has no answer in either survey.
        """
        self._surveys = [_Codes(donors), *([_Codes(second)] if second is not None else [])]
        self._cells: dict[tuple[str, tuple[str, ...]], _Cells] = {}
        for name in FILL_ORDER if check else ():
            if not self._num_answers(name):
                others = "the second survey has none either" if second is not None else "no second survey is named"
                raise SynthesisError(
                    f"Attribute {name} is open for all {donors.height} donors of the seed survey, and {others}. Map "
                    f"{name} in the survey's codebook, or name a second survey that asked for it (docs/data.md)."
                )

    def fill(self, people: pl.DataFrame, rng: np.random.Generator, only: Sequence[str] = FILL_ORDER) -> pl.DataFrame:
        """Fills every null attribute and the age, and adds the column `imputed_attributes` that names what was filled.

        Each person draws their own donor, with probability proportional to the donor's calibrated weight, so two
        agents made from one respondent may differ in what was filled.

        Args:
            people: rows with the attributes of `agents`, nulls where the donor respondent gave no answer.
            rng: source of randomness.
            only: attributes to fill; the others stay as they are.

        Raises:
            SynthesisError: no respondent has an answer to copy.

        Source: Andridge & Little (2010), A review of hot deck imputation for survey non-response, section 3.
        """
        codes = _Codes(people)
        is_filled = {}
        for name in FILL_ORDER:
            is_open_N = codes.of[name] == OPEN
            if name not in only or not is_open_N.any():
                continue
            is_filled[name] = is_open_N
            keys, num_fixed = self._keys(name, codes)
            for num_keys in range(len(keys), num_fixed - 1, -1):
                row_N = np.flatnonzero(codes.of[name] == OPEN)
                if not len(row_N):
                    break
                value_N = self._drawn(name, keys[:num_keys], codes, row_N, rng)
                codes.of[name][row_N] = value_N
            num_open = int((codes.of[name] == OPEN).sum())
            if num_open:
                raise SynthesisError(
                    f"Attribute {name} is open for {num_open} agents and no respondent of the seed survey "
                    f"has an answer to copy ({self._num_answers(name)} answers in all). Map {name} in the survey's "
                    "codebook, choose a seed survey that asked for it, or name a second survey that did."
                )
        named = [pl.when(pl.Series(is_open)).then(pl.lit(name)) for name, is_open in is_filled.items()]
        filled = pl.concat_list(named).list.drop_nulls() if named else pl.lit([], dtype=pl.List(pl.String))
        return people.with_columns(
            *(_decoded(name, codes.of[name]) for name in is_filled), filled.alias("imputed_attributes")
        )

    def distribution(self, name: str, people: pl.DataFrame) -> np.ndarray:
        """Probability of each level of an attribute for each person, [N, L]: the shares that `fill` draws from.

        Raises:
            SynthesisError: no respondent has an answer to copy.
        """
        codes = _Codes(people)
        levels = ATTRIBUTE_BY_NAME[name].levels
        keys, num_fixed = self._keys(name, codes)
        share_NL = np.zeros((people.height, len(levels)))
        row_N = np.arange(people.height)
        for num_keys in range(len(keys), num_fixed - 1, -1):
            cells = self._sorted(name, keys[:num_keys])
            cell_N = _find(cells.code_C, codes.cell(keys[:num_keys])[row_N])
            is_hit_N = cell_N != OPEN
            if is_hit_N.any():
                num_cells = len(cells.code_C)
                of_R = np.repeat(np.arange(num_cells), np.diff(cells.start_C1))
                flat = np.bincount(
                    of_R * len(levels) + cells.value_R, np.diff(cells.upto_R1), minlength=num_cells * len(levels)
                )
                share_CL = flat.reshape(num_cells, len(levels))
                share_CL /= share_CL.sum(axis=1, keepdims=True)
                share_NL[row_N[is_hit_N]] = share_CL[cell_N[is_hit_N]]
            row_N = row_N[~is_hit_N]
            if not len(row_N):
                return share_NL
        raise SynthesisError(
            f"Attribute {name} is open for {len(row_N)} respondents of the seed survey and no respondent has an answer "
            f"to copy ({self._num_answers(name)} answers in all). Map {name} in the survey's codebook, or name a "
            "second survey that asked for it."
        )

    def _keys(self, name: str, codes: "_Codes") -> tuple[tuple[str, ...], int]:
        """Keys of an attribute that everybody has, the fixed ones first, and how many of them are fixed."""
        fixed = FIXED_KEYS.get(name, ())
        wanted = (*fixed, *(key for key in CELL_KEYS.get(name, DEFAULT_CELL_KEYS) if key != name and key not in fixed))
        keys = tuple(key for key in wanted if (codes.of[key] != OPEN).all())
        return keys, sum(key in fixed for key in keys)

    def survey_of(self, name: str) -> int:
        """Which survey gives an attribute: 0 the seed survey, 1 the second one."""
        return 0 if (self._surveys[0].of[name] != OPEN).any() else 1

    def _num_answers(self, name: str) -> int:
        return sum(int((survey.of[name] != OPEN).sum()) for survey in self._surveys)

    def _sorted(self, name: str, keys: tuple[str, ...]) -> _Cells:
        if (name, keys) not in self._cells:
            survey = self._surveys[min(self.survey_of(name), len(self._surveys) - 1)]
            cell_R = survey.cell(keys)
            given_R = np.flatnonzero((survey.of[name] != OPEN) & (cell_R != OPEN))
            order_R = given_R[np.argsort(cell_R[given_R], kind="stable")]
            code_C, start_C = np.unique(cell_R[order_R], return_index=True)
            self._cells[name, keys] = _Cells(
                code_C,
                np.concatenate([start_C, [len(order_R)]]),
                np.concatenate([[0.0], np.cumsum(survey.weight_R[order_R])]),
                survey.of[name][order_R],
            )
        return self._cells[name, keys]

    def _drawn(
        self, name: str, keys: tuple[str, ...], codes: "_Codes", row_N: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Code drawn for each of the rows, open where no donor agrees in all keys."""
        cells = self._sorted(name, keys)
        cell_N = _find(cells.code_C, codes.cell(keys)[row_N])
        is_hit_N = cell_N != OPEN
        hit_N = cell_N[is_hit_N]
        low_N, high_N = cells.upto_R1[cells.start_C1[hit_N]], cells.upto_R1[cells.start_C1[hit_N + 1]]
        target_N = low_N + rng.random(len(hit_N)) * (high_N - low_N)
        position_N = np.searchsorted(cells.upto_R1, target_N, side="right") - 1
        position_N = np.clip(position_N, cells.start_C1[hit_N], cells.start_C1[hit_N + 1] - 1)
        value_N = np.full(len(row_N), OPEN)
        value_N[is_hit_N] = cells.value_R[position_N]
        return value_N


class _Codes:
    """Attributes and age as integers: the index of the level, the age in years, or `OPEN`."""

    def __init__(self, rows: pl.DataFrame) -> None:
        self.num_rows = rows.height
        self.of = {name: _coded(name, rows[name]) for name in FILL_ORDER}
        self.weight_R = rows["calibrated_weight"].to_numpy() if "calibrated_weight" in rows.columns else np.array([])

    def cell(self, keys: tuple[str, ...]) -> np.ndarray:
        """One number per combination of the keys' codes, `OPEN` where one of them is open."""
        cell_N = np.zeros(self.num_rows, dtype=np.int64)
        is_open_N = np.zeros(self.num_rows, dtype=bool)
        for key in keys:
            is_open_N |= self.of[key] == OPEN
            cell_N = cell_N * NUM_CODES + self.of[key]
        cell_N[is_open_N] = OPEN
        return cell_N


def _coded(name: str, values: pl.Series) -> np.ndarray:
    if name == "age":
        return values.cast(pl.Int64).fill_null(OPEN).to_numpy().copy()
    return level_codes(values, ATTRIBUTE_BY_NAME[name].levels).copy()


def _decoded(name: str, code_N: np.ndarray) -> pl.Series:
    if name == "age":
        return pl.Series(name, code_N, dtype=pl.Int32)
    levels = pl.Series(ATTRIBUTE_BY_NAME[name].levels)
    return levels.gather(code_N).alias(name)


def _find(code_C: np.ndarray, wanted_N: np.ndarray) -> np.ndarray:
    """Index of each wanted code among the sorted codes, `OPEN` where it is not among them."""
    if not len(code_C):
        return np.full(len(wanted_N), OPEN)
    position_N = np.minimum(np.searchsorted(code_C, wanted_N), len(code_C) - 1)
    return np.where(code_C[position_N] == wanted_N, position_N, OPEN)
