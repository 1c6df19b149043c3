"""Means over questions, which stand as rows of their own beside the questions that they are taken over."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from validation.intervals import bootstrap_interval

ALL = "all"
"""`question_id` of a mean."""

NUM_RESAMPLES = 200


def means_over_questions(frame: pl.DataFrame, keys: Sequence[str], seed: int) -> pl.DataFrame:
    """The mean value of each group, with a 95 % interval that resamples questions.

    Args:
        frame: a row per question with `question_id`, value, lower, upper, noise_floor, num_observations and note.
        keys: columns that tell groups apart.
        seed: fixes the resampling.

    Returns:
        Rows like those of `frame` with question_id "all"; groups without any value have none.
    """
    rows = []
    for _, part in frame.drop_nulls("value").group_by(list(keys), maintain_order=True):
        interval = bootstrap_interval(np.mean, part["value"].to_numpy(), seed=seed, num_resamples=NUM_RESAMPLES)
        rows.append(
            {
                **part.row(0, named=True),
                "question_id": ALL,
                "value": interval.value,
                "lower": interval.lower,
                "upper": interval.upper,
                "noise_floor": part["noise_floor"].mean(),
                "num_observations": part.height,
                "note": f"mean over {part.height} questions; the interval resamples questions",
            }
        )
    return pl.DataFrame(rows, schema=frame.schema)
