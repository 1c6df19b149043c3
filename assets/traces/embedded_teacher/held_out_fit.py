"""How well the response models predict respondents whom they have not seen, beside the marginal shares.

Legend: T respondents held out, O options.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from assets.traces.embedded_teacher.response_models import ITEM_PREFIX, fit_item, rows_of_item
from validation.intervals import bootstrap_interval

HELD_OUT_SHARE = 0.2
NUM_RESAMPLES = 500
SCHEMA = {
    "item": pl.String,
    "survey": pl.String,
    "num_fitted": pl.Int64,
    "num_held_out": pl.Int64,
    "log_loss": pl.Float64,
    "marginal_log_loss": pl.Float64,
    "gain": pl.Float64,
    "lower": pl.Float64,
    "upper": pl.Float64,
}


def score_response_models(respondents: pl.DataFrame, items: Sequence[str] | None = None, seed: int = 0) -> pl.DataFrame:
    """One row per item: log loss on held-out respondents, that of the marginal shares, and the gain with its interval.

    Log losses are in nats per answer, weighted by design weight; the marginal shares are those of the respondents on
    whom the model is fitted. The interval holds 95 % and resamples held-out respondents. A gain below zero is a loss.

    Args:
        respondents: rows of `survey_respondents`.
        items: item names without prefix; all when left out.
        seed: fixes who is held out, and the resamples.
    """
    columns = [name for name in respondents.columns if name.startswith(ITEM_PREFIX)]
    wanted = [name for name in columns if items is None or name.removeprefix(ITEM_PREFIX) in items]
    found = []
    for column in sorted(wanted):
        rows = rows_of_item(respondents, column)
        if rows is None:
            continue
        is_out = np.random.default_rng([seed, *column.encode()]).random(rows.height) < HELD_OUT_SHARE
        fitted_on, held_out = rows.filter(~is_out), rows.filter(is_out)
        model = fit_item(fitted_on, column)
        shares = fitted_on.group_by(column).agg(pl.col("design_weight").sum())
        marginal = dict(shares.with_columns(pl.col("design_weight") / pl.col("design_weight").sum()).iter_rows())
        held_out = held_out.filter(pl.col(column).is_in(list(marginal)))
        chance_T = np.array(
            [
                model.probabilities({name: level for name, level in person.items() if isinstance(level, str)})[
                    person[column]
                ]
                for person in held_out.iter_rows(named=True)
            ]
        )
        marginal_T = held_out[column].replace_strict(marginal, return_dtype=pl.Float64).to_numpy()
        weight_T = held_out["design_weight"].to_numpy() / held_out["design_weight"].mean()
        gain_T = weight_T * (np.log(chance_T) - np.log(marginal_T))
        interval = bootstrap_interval(np.mean, gain_T, seed=seed, num_resamples=NUM_RESAMPLES)
        found.append(
            (
                model.item,
                model.survey,
                fitted_on.height,
                held_out.height,
                float(-(weight_T * np.log(chance_T)).mean()),
                float(-(weight_T * np.log(marginal_T)).mean()),
                interval.value,
                interval.lower,
                interval.upper,
            )
        )
    return pl.DataFrame(found, schema=SCHEMA, orient="row")
