"""Response models: how people with given attributes answer a survey item, estimated on the survey microdata.

One multinomial logit per item on the harmonised attributes that the item's survey recorded, weighted by design weight.
"""

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression

from validation.attributes import ATTRIBUTES

ITEM_PREFIX = "item_"
FIRST_WAVE = 2006
"""Older waves are left out: attitudes have moved since."""
MOST_RESPONDENTS = 12_000
MOST_MISSING = 0.25
"""An attribute enters an item's model when at most this fraction of its respondents lack it."""
FEWEST_RESPONDENTS = 200
EXCLUDED = ("state",)


@dataclass(frozen=True)
class ItemModel:
    """A multinomial logit: log-odds of option o are intercept_O plus the coefficients of the levels that hold."""

    item: str
    survey: str
    options: tuple[str, ...]
    intercept_O: np.ndarray
    coefficient_of_level: dict[tuple[str, str], np.ndarray]
    num_respondents: int

    def probabilities(self, attributes: Mapping[str, str]) -> dict[str, float]:
        """Probability of each option for a person with these attributes; unknown levels contribute nothing."""
        logit_O = self.intercept_O.copy()
        for pair in attributes.items():
            coefficient_O = self.coefficient_of_level.get(pair)
            if coefficient_O is not None:
                logit_O += coefficient_O
        weight_O = np.exp(logit_O - logit_O.max())
        return dict(zip(self.options, (weight_O / weight_O.sum()).tolist(), strict=True))


@dataclass(frozen=True)
class ResponseModels:
    """Item models, and a digest of the respondents that all of them, fitted or not, rest on."""

    models: Mapping[str, ItemModel]
    digest: str


def fit_response_models(respondents: pl.DataFrame, items: Sequence[str] | None = None) -> ResponseModels:
    """Fits one model per survey item.

    Args:
        respondents: rows of `survey_respondents`.
        items: item names without prefix, to fit no more than is asked; all when left out. Items without enough answers
            are skipped. The digest does not depend on the choice, nor on the run that stored the rows.

    Source: Agresti (2013), Categorical Data Analysis, section 8.1 (baseline-category logits), with ridge penalty.
    """
    columns = [name for name in respondents.columns if name.startswith(ITEM_PREFIX)]
    wanted = [name for name in columns if items is None or name.removeprefix(ITEM_PREFIX) in items]
    models = {}
    for column in sorted(wanted):
        rows = rows_of_item(respondents, column)
        if rows is not None:
            model = fit_item(rows, column)
            models[model.item] = model
    recent = respondents.filter(pl.col("wave") >= FIRST_WAVE).drop("run_id", strict=False)
    return ResponseModels(models, hashlib.sha256(recent.write_csv().encode()).hexdigest())


def rows_of_item(respondents: pl.DataFrame, column: str) -> pl.DataFrame | None:
    """The respondents on whom an item's model rests; None where there are too few.

    Args:
        respondents: rows of `survey_respondents`.
        column: column of the item.
    """
    answered = respondents.filter(pl.col(column).is_not_null() & (pl.col("wave") >= FIRST_WAVE))
    if answered.height < FEWEST_RESPONDENTS:
        return None
    survey = answered.group_by("survey").len().sort("len", "survey", descending=[True, False])["survey"][0]
    rows = answered.filter(pl.col("survey") == survey)
    if rows.height > MOST_RESPONDENTS:
        rows = rows.sample(MOST_RESPONDENTS, seed=0).sort("respondent_id")
    return rows


def fit_item(rows: pl.DataFrame, column: str) -> ItemModel:
    """The model of one item.

    Args:
        rows: respondents of one survey who answered it.
        column: column of the item.
    """
    used = [
        attribute
        for attribute in ATTRIBUTES
        if attribute.name not in EXCLUDED and rows[attribute.name].null_count() <= MOST_MISSING * rows.height
    ]
    pairs = [(attribute.name, level) for attribute in used for level in attribute.levels]
    design_RF = rows.select(
        (pl.col(name) == level).fill_null(False).cast(pl.Float64).alias(f"{name}={level}") for name, level in pairs
    ).to_numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = LogisticRegression(C=1.0, max_iter=100, solver="newton-cholesky").fit(
            design_RF, rows[column].to_numpy(), sample_weight=rows["design_weight"].to_numpy()
        )
    coefficient_OF, intercept_O = fitted.coef_, fitted.intercept_
    if len(fitted.classes_) == 2:
        coefficient_OF, intercept_O = (
            np.vstack([-coefficient_OF, coefficient_OF]) / 2,
            np.array([-1, 1]) * intercept_O / 2,
        )
    return ItemModel(
        item=column.removeprefix(ITEM_PREFIX),
        survey=str(rows["survey"][0]),
        options=tuple(str(option) for option in fitted.classes_),
        intercept_O=intercept_O,
        coefficient_of_level={pair: coefficient_OF[:, index] for index, pair in enumerate(pairs)},
        num_respondents=rows.height,
    )
