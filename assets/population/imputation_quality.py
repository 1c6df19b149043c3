"""How well imputation predicts: each imputed attribute on held-out respondents who answered it.

The model is the hot deck itself: an attribute is drawn from the weighted answers of donors who agree in the keys, the
last keys being dropped until a donor is found. Its probabilities are scored on a fifth of the respondents against those
of the other four fifths, by the Brier score beside that of the shares alone. Skill 0 says that the keys tell nothing;
imputation then keeps the shares but no association.

Source: Brier (1950), Verification of forecasts expressed in terms of probability.

Legend: R held-out respondents, L levels.
"""

import numpy as np
import polars as pl

from assets.population.hot_deck import CELL_KEYS, DEFAULT_CELL_KEYS, FIXED_KEYS, HotDeck
from assets.population.population_file import PopulationFile
from assets.population.records import level_codes
from validation.attributes import ATTRIBUTES
from validation.contracts import CONTRACTS

HELD_OUT_FOLD, NUM_FOLDS = 0, 5
NUM_SCORED = 4_000
NUM_RESAMPLES = 200
CONTRACT = CONTRACTS["imputation_quality"]


def imputation_quality_rows(
    agents: pl.DataFrame, donors: pl.DataFrame, second: pl.DataFrame | None, file: PopulationFile, rng_seed: int
) -> pl.DataFrame:
    """Rows of `imputation_quality`, one per attribute that some agents have by imputation.

    Args:
        agents: rows of `agents`.
        donors: the seed respondents with `calibrated_weight`.
        second: the second survey's, if any.
        file: the population file, for the surveys' names.
        rng_seed: seed of the folds and of the resamples.
    """
    rng = np.random.default_rng(rng_seed)
    surveys = [donors, *([second] if second is not None else [])]
    names = [file.seed_survey, file.second_survey or ""]
    folds = [rng.integers(0, NUM_FOLDS, len(survey)) != HELD_OUT_FOLD for survey in surveys]
    kept = [survey.filter(pl.Series(fold)) for survey, fold in zip(surveys, folds, strict=True)]
    deck = HotDeck(kept[0], kept[1] if len(kept) > 1 else None, check=False)
    filled = agents["imputed_attributes"].explode().drop_nulls().value_counts()
    rows = []
    for attribute in ATTRIBUTES:
        num_imputed = filled.filter(pl.col("imputed_attributes") == attribute.name)["count"].sum()
        which = deck.survey_of(attribute.name)
        if not num_imputed or which >= len(surveys):
            continue
        held_out = surveys[which].filter(~pl.Series(folds[which]), pl.col(attribute.name).is_not_null())
        held_out = held_out.sample(min(NUM_SCORED, held_out.height), seed=rng_seed % 2**32)
        answer_R = level_codes(held_out[attribute.name], attribute.levels)
        truth_RL = np.eye(len(attribute.levels))[answer_R]
        blank = held_out.with_columns(pl.lit(None, dtype=pl.String).alias(attribute.name))
        model_R = np.square(deck.distribution(attribute.name, blank) - truth_RL).sum(axis=1)
        share_L = _shares(kept[which], attribute.name, attribute.levels, "calibrated_weight")
        plain_R = np.square(share_L - truth_RL).sum(axis=1)
        draws = rng.integers(0, len(model_R), (NUM_RESAMPLES, len(model_R)))
        skills = 1 - model_R[draws].sum(axis=1) / plain_R[draws].sum(axis=1)
        is_imputed = pl.col("imputed_attributes").list.contains(attribute.name)
        imputed = agents.filter(is_imputed)
        expected_L = deck.distribution(
            attribute.name, imputed.with_columns(pl.lit(None, dtype=pl.String).alias(attribute.name))
        ).mean(axis=0)
        found_L = _shares(imputed, attribute.name, attribute.levels, None)
        keys = (*FIXED_KEYS.get(attribute.name, ()), *CELL_KEYS.get(attribute.name, DEFAULT_CELL_KEYS))
        rows.append(
            (
                attribute.name,
                names[which],
                f"weighted hot deck within {', '.join(dict.fromkeys(keys))}; last keys dropped where no donor agrees",
                num_imputed / agents.height,
                float(1 - model_R.sum() / plain_R.sum()),
                float(np.quantile(skills, 0.025)),
                float(np.quantile(skills, 0.975)),
                float(np.abs(found_L - expected_L).sum() / 2),
                held_out.height,
            )
        )
    return CONTRACT.validate(pl.DataFrame(rows, schema=CONTRACT.polars_schema(), orient="row"))


def _shares(rows: pl.DataFrame, name: str, levels: tuple[str, ...], weight: str | None) -> np.ndarray:
    known = rows.drop_nulls(name)
    code = level_codes(known[name], levels)
    sums = np.bincount(code, weights=known[weight].to_numpy() if weight else None, minlength=len(levels))
    return sums / sums.sum()
