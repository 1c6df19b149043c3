"""The demographic regression: what one would say of agents from their attributes alone."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from validation.attributes import ATTRIBUTE_BY_NAME

FEATURES = ("sex", "age_group", "race_ethnicity", "education", "region", "party", "ideology")
MAX_RESPONDENTS = 12_000
MIN_RESPONDENTS = 200


def predict_from_demographics(
    respondents: pl.DataFrame, agents: pl.DataFrame, options: Sequence[str], seed: int
) -> np.ndarray | None:
    """Option probabilities of every agent from a weighted multinomial logit, fitted on half of the respondents.

    Attributes that the survey did not ask are left out; respondents with gaps in the others too.

    Args:
        respondents: rows with answer, weight and attributes.
        agents: the agents to predict.
        options: options of the question, in order.
        seed: fixes which half is used.

    Returns:
        Probabilities, shape [agents, options]; None when fewer than 200 complete respondents remain.
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    known = [name for name in FEATURES if respondents[name].null_count() < 0.5 * len(respondents)]
    complete = respondents.filter(pl.col("answer").is_in(list(options))).drop_nulls(known)
    half = complete.sample(fraction=0.5, seed=seed, shuffle=True).head(MAX_RESPONDENTS)
    if len(half) < MIN_RESPONDENTS or not known or half["answer"].n_unique() < 2:
        return None
    weight = half["weight"].to_numpy()
    with threadpool_limits(limits=1):
        model = LogisticRegression(C=1.0, max_iter=500)
        model.fit(_one_hot(half, known), half["answer"].to_numpy(), sample_weight=weight / weight.mean())
        predicted = model.predict_proba(_one_hot(agents, known))
    place = {option: index for index, option in enumerate(options)}
    probability_NO = np.zeros((len(agents), len(options)))
    probability_NO[:, [place[str(option)] for option in model.classes_]] = predicted
    return probability_NO


def _one_hot(frame: pl.DataFrame, names: Sequence[str]) -> np.ndarray:
    return np.concatenate(
        [
            (frame[name].to_numpy()[:, None] == np.array(ATTRIBUTE_BY_NAME[name].levels)[None, 1:]).astype(np.float64)
            for name in names
        ],
        axis=1,
    )
