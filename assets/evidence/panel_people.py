"""The people's case: interviewed in one wave, asked the same items again years later, predicted person by person.

Fitted on the people first interviewed in the earlier base wave, judged on those of the later base wave: people are held
out, and nobody's later answer enters a fit that is judged on it.

Models: persistence (the own earlier answer, certain), transition_matrix (how the fitted people moved from each earlier
answer), demographic_regression (the fitted people's later answers on attributes), friedkin_johnsen (own earlier stance
and ties to similar people, calibrated by gradient).

Legend: R respondents, O options, E ties.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import torch

from assets.evidence.forecast_case import MIN_RESPONDENTS
from assets.evidence.gradient_fit import fit
from model.lpm.calibration import Target
from model.lpm.program import run
from model.lpm.programs.opinion import BIAS, SUSCEPTIBILITY, TEMPERATURE, opinion_population, opinion_program
from model.lsm.inputs import SocialGraph, empty_timeline
from validation.attributes import ATTRIBUTE_BY_NAME
from validation.survey_design import bootstrap_weights

PANEL_SOURCE = "gss_2016_2020_panel"
LABELS_OF_THREE = ("too_little", "about_right", "too_much")
PANEL_ITEMS: dict[str, dict[int, str]] = {
    "abany": {1: "yes", 2: "no"},
    "abpoor": {1: "yes", 2: "no"},
    "cappun": {1: "favor", 2: "oppose"},
    "gunlaw": {1: "favor", 2: "oppose"},
    "grass": {1: "legal", 2: "not_legal"},
    "fepol": {1: "agree", 2: "disagree"},
    "natenvir": dict(enumerate(LABELS_OF_THREE, start=1)),
    "natheal": dict(enumerate(LABELS_OF_THREE, start=1)),
    "natrace": dict(enumerate(LABELS_OF_THREE, start=1)),
    "confed": {1: "a_great_deal", 2: "only_some", 3: "hardly_any"},
    "conpress": {1: "a_great_deal", 2: "only_some", 3: "hardly_any"},
    "consci": {1: "a_great_deal", 2: "only_some", 3: "hardly_any"},
    "fefam": {1: "strongly_agree", 2: "agree", 3: "disagree", 4: "strongly_disagree"},
    "homosex": {1: "always_wrong", 2: "almost_always", 3: "sometimes", 4: "not_wrong"},
    "letin1a": {1: "increased_a_lot", 2: "increased", 3: "remain", 4: "reduced", 5: "reduced_a_lot"},
}
"""Items asked of the same people twice, with their codes in the order of the scale."""

FEATURES = ("sex", "age_group", "race_ethnicity", "education", "party")
NUM_TIES = 10
NUM_STEPS = 4
"""Timesteps between the waves; the mechanism has no calendar of its own."""

FIT_STEPS = 60
NUM_REPLICATES = 500
"""Replicates of the survey's design behind the intervals of scores of persons."""


@dataclass(frozen=True, eq=False)
class PersonForecast:
    """One model's probabilities [R, O] for one item's later answers, beside what was answered.

    `replicate_BR` are weights under which statistics vary as over samples of the survey's design; the same replicate
    holds the same clusters for every item.
    """

    item: str
    model: str
    options: tuple[str, ...]
    probability_RO: np.ndarray
    answer_R: np.ndarray
    weight_R: np.ndarray
    stratum_R: np.ndarray
    psu_R: np.ndarray
    replicate_BR: np.ndarray
    segments: Mapping[str, np.ndarray]
    note: str = ""


def people_of_panel(raw: pl.DataFrame) -> pl.DataFrame:
    """One row per re-interviewed person: base wave, weight, stratum, cluster, attributes then, both answers by item."""
    base = raw.filter(pl.col("wave") == 1).select(
        "yearid",
        pl.col("year").alias("base_wave"),
        pl.col("sex").cast(pl.Int64).replace_strict({1: "male", 2: "female"}, default=None).alias("sex"),
        pl.col("race")
        .cast(pl.Int64)
        .replace_strict({1: "white", 2: "black", 3: "other"}, default=None)
        .alias("race_ethnicity"),
        pl.when(pl.col("degree") >= 3)
        .then(pl.lit("college_degree"))
        .when(pl.col("degree").is_not_null())
        .then(pl.lit("no_college_degree"))
        .alias("education"),
        pl.col("age")
        .cut([29, 39, 49, 59, 69], labels=["18-29", "30-39", "40-49", "50-59", "60-69", "70+"])
        .cast(pl.String)
        .alias("age_group"),
        pl.when(pl.col("partyid") <= 2)
        .then(pl.lit("democrat"))
        .when(pl.col("partyid") == 3)
        .then(pl.lit("independent"))
        .when(pl.col("partyid") <= 6)
        .then(pl.lit("republican"))
        .alias("party"),
        *(pl.col(item).alias(f"{item}_before") for item in PANEL_ITEMS),
    )
    later = raw.filter(pl.col("wave") == 2).select(
        "yearid",
        pl.col("weight_nr").alias("weight"),
        pl.col("vstrat").alias("stratum"),
        pl.col("vpsu").alias("psu"),
        *(pl.col(item).alias(f"{item}_after") for item in PANEL_ITEMS),
    )
    return base.join(later, on="yearid", how="inner").sort("yearid").drop_nulls(FEATURES)


def predict_people(people: pl.DataFrame, seed: int) -> list[PersonForecast]:
    """Every model's predictions for the people of the later base wave, item by item."""
    fitted_wave = int(people["base_wave"].min())  # pyright: ignore[reportArgumentType]
    designed = people.drop_nulls(["weight", "stratum", "psu"])
    weight, stratum, psu = (designed[name].to_numpy() for name in ("weight", "stratum", "psu"))
    replicate_BN = bootstrap_weights(weight, stratum, psu, num_replicates=NUM_REPLICATES, seed=seed)
    found: list[PersonForecast] = []
    for item, labels in PANEL_ITEMS.items():
        asked = designed.with_row_index("place").drop_nulls([f"{item}_before", f"{item}_after"])
        codes = [float(code) for code in labels]
        both = pl.col(f"{item}_before", f"{item}_after").cast(pl.Float64)
        asked = asked.filter(pl.all_horizontal(both.is_in(codes)))
        is_fitted_R = (asked["base_wave"] == fitted_wave).to_numpy()
        if is_fitted_R.sum() < MIN_RESPONDENTS or (~is_fitted_R).sum() < MIN_RESPONDENTS:
            continue
        before_R, after_R = (
            np.searchsorted(codes, asked[f"{item}_{when}"].to_numpy().astype(np.int64)) for when in ("before", "after")
        )
        replicate_BR = replicate_BN[:, asked["place"].to_numpy()[~is_fitted_R]]
        models = _item_forecasts(item, tuple(labels.values()), asked, before_R, after_R, is_fitted_R, seed)
        found.extend(replace(each, replicate_BR=replicate_BR) for each in models)
    return found


def _item_forecasts(
    item: str,
    options: tuple[str, ...],
    asked: pl.DataFrame,
    before_R: np.ndarray,
    after_R: np.ndarray,
    is_fitted_R: np.ndarray,
    seed: int,
) -> list[PersonForecast]:
    num_options = len(options)
    judged = ~is_fitted_R
    weight_R = asked["weight"].to_numpy().astype(np.float64)
    one_hot_RO = np.eye(num_options)[before_R]
    moves_OO = np.ones((num_options, num_options)) * 0.5
    np.add.at(moves_OO, (before_R[is_fitted_R], after_R[is_fitted_R]), weight_R[is_fitted_R])
    transition_RO = (moves_OO / moves_OO.sum(axis=1, keepdims=True))[before_R]
    mechanism_RO, note = _friedkin_johnsen(asked, one_hot_RO, after_R, is_fitted_R, seed)
    segments = {"all": np.ones(int(judged.sum()), dtype=bool)}
    for attribute in FEATURES:
        for level in ATTRIBUTE_BY_NAME[attribute].levels:
            is_member = (asked[attribute] == level).to_numpy()[judged]
            if is_member.any():
                segments[f"{attribute}={level}"] = is_member
    models = {
        "persistence": (one_hot_RO, ""),
        "transition_matrix": (transition_RO, ""),
        "demographic_regression": (_regression(asked, after_R, is_fitted_R, num_options), ""),
        "friedkin_johnsen": (mechanism_RO, note),
    }
    return [
        PersonForecast(
            item=item,
            model=model,
            options=options,
            probability_RO=share_RO[judged],
            answer_R=after_R[judged],
            weight_R=weight_R[judged],
            stratum_R=asked["stratum"].to_numpy()[judged],
            psu_R=asked["psu"].to_numpy()[judged],
            replicate_BR=weight_R[judged][None],
            segments=segments,
            note=note,
        )
        for model, (share_RO, note) in models.items()
    ]


def _friedkin_johnsen(
    asked: pl.DataFrame, one_hot_RO: np.ndarray, after_R: np.ndarray, is_fitted_R: np.ndarray, seed: int
) -> tuple[np.ndarray, str]:
    """Own earlier stance, pulled to ten similar people of the same base wave; the temperature is the answer's noise."""
    score_O = torch.linspace(1.0, -1.0, one_hot_RO.shape[1], dtype=torch.float64)
    program = opinion_program(
        susceptibility=replace(SUSCEPTIBILITY, prior=(0.5, 0.5)),
        bias=replace(BIAS, prior=(0.5, 0.5)),
        temperature=replace(TEMPERATURE, prior=(0.5, 1.0)),
    )
    free = ("influence.susceptibility", "influence.bias", "answers.temperature")

    def population(is_used_R: np.ndarray) -> dict[str, torch.Tensor]:
        stance_N = torch.from_numpy(one_hot_RO[is_used_R]) @ score_O
        graph = similar_people(asked.filter(pl.Series(is_used_R)), seed)
        return opinion_population(stance_N, graph, empty_timeline(len(stance_N), 1), score_O)

    answered_NO = torch.eye(one_hot_RO.shape[1], dtype=torch.float64)[after_R[is_fitted_R]]
    target = Target(NUM_STEPS, lambda state: state["option_probabilities_NO"], answered_NO, 0.5)
    fitted = fit(program, population(is_fitted_R), [target], free, FIT_STEPS)
    probability_RO = np.zeros_like(one_hot_RO)
    for is_used_R in (is_fitted_R, ~is_fitted_R):
        with torch.no_grad():
            last = run(program, population(is_used_R), NUM_STEPS, values=fitted.values)
        probability_RO[is_used_R] = last["option_probabilities_NO"].numpy()
    return probability_RO, fitted.note


def similar_people(people: pl.DataFrame, seed: int) -> SocialGraph:
    """Ties to the ten nearest people by attributes, ties in distance broken at random by the seed."""
    levels = [ATTRIBUTE_BY_NAME[name].levels for name in FEATURES]
    codes_RF = np.stack(
        [[allowed.index(v) for v in people[name]] for name, allowed in zip(FEATURES, levels, strict=True)]
    )
    distance_RR = sum(
        np.abs(codes[:, None] - codes[None]) / (len(allowed) - 1)
        if ATTRIBUTE_BY_NAME[name].is_ordinal
        else (codes[:, None] != codes[None]).astype(float)
        for name, codes, allowed in zip(FEATURES, codes_RF, levels, strict=True)
    )
    distance_RR = np.asarray(distance_RR) + np.random.default_rng(seed).uniform(0, 1e-6, (len(people), len(people)))
    np.fill_diagonal(distance_RR, np.inf)
    nearest_RE = np.argsort(distance_RR, axis=1)[:, : min(NUM_TIES, len(people) - 1)]
    num_ties = nearest_RE.shape[1]
    return SocialGraph(
        offsets_N1=torch.arange(0, len(people) * num_ties + 1, num_ties, dtype=torch.int64),
        src_E=torch.from_numpy(nearest_RE.reshape(-1).astype(np.int64)),
        tie_type_E=torch.full((nearest_RE.size,), 1, dtype=torch.int64),
        strength_E=torch.ones(nearest_RE.size),
    )


def _regression(asked: pl.DataFrame, after_R: np.ndarray, is_fitted_R: np.ndarray, num_options: int) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    features_RF = np.concatenate(
        [
            (asked[name].to_numpy()[:, None] == np.array(ATTRIBUTE_BY_NAME[name].levels[1:])[None]).astype(float)
            for name in FEATURES
        ],
        axis=1,
    )
    weight_R = asked["weight"].to_numpy().astype(np.float64)
    with threadpool_limits(limits=1):
        model = LogisticRegression(C=1.0, max_iter=300)
        model.fit(features_RF[is_fitted_R], after_R[is_fitted_R], sample_weight=weight_R[is_fitted_R])
        predicted = model.predict_proba(features_RF)
    probability_RO = np.zeros((len(asked), num_options))
    probability_RO[:, model.classes_.astype(int)] = predicted
    return probability_RO
