"""Estimates again what `constants.yaml` calls estimated, from the respondents at hand, and says what cannot be.

Legend: R respondents, J items, O options, K nodes of the trait.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.polynomial.hermite_e import hermegauss

from assets.traces.embedded_teacher.constants import number, numbers
from assets.traces.embedded_teacher.response_models import FIRST_WAVE, ITEM_PREFIX, fit_item
from validation.attributes import ATTRIBUTES

NUM_RESPONDENTS = 2_500
NUM_NODES, NUM_SWEEPS, NUM_ROUNDS = 15, 8, 60
GRID = np.linspace(0.0, 5.0, 26)
BATTERIES = {
    "gss_abortion": (
        "abortion_any_reason",
        "abortion_defect",
        "abortion_health",
        "abortion_no_more_children",
        "abortion_poor",
        "abortion_rape",
        "abortion_single",
    ),
    "cces_2016": ("angry_about_racism", "fear_of_other_races", "racial_problems_rare", "white_advantage"),
}
SCORES = {
    "gss_abortion": {"yes": 1.0, "no": -1.0},
    "cces_2016": {
        "strongly_agree": 1.0,
        "somewhat_agree": 0.5,
        "neither": 0.0,
        "somewhat_disagree": -0.5,
        "strongly_disagree": -1.0,
    },
}
PANEL, PANEL_ITEMS = "gss_2016_2020_panel", BATTERIES["gss_abortion"]
CONFIDENCE_SURVEY = "gss_2024"
CONFIDENCE = {"a_great_deal": 1.0, "only_some": 0.5, "hardly_any": 0.0}
TRUST = {"can_be_trusted": 1.0, "depends": 0.5, "cannot_be_too_careful": 0.0}
SPEAKERS = {
    "government": ("confidence_congress", "confidence_federal_government"),
    "expert": ("confidence_science",),
    "media": ("confidence_press",),
    "company": ("confidence_business",),
    "peer": ("people_can_be_trusted",),
}


@dataclass(frozen=True)
class Estimate:
    """A constant, or one of its numbers, as stored and as estimated now; None where the data are not at hand."""

    name: str
    key: str
    stored: float
    estimated: float | None
    num_respondents: int


def estimate_constants(respondents: pl.DataFrame, panel_people: pl.Series | None) -> list[Estimate]:
    """Every estimated constant beside a new estimate.

    Args:
        respondents: rows of `survey_respondents`.
        panel_people: who each row of the panel's file is, in the file's order; None where the panel is not at hand.
    """
    return [*_person_scales(respondents), _stability(respondents, panel_people), *_trust(respondents)]


def person_scales(rows: pl.DataFrame, items: Sequence[str], scores: Mapping[str, float]) -> dict[str, float]:
    """Spread between people of equal attributes, per item, in logits per unit of score: loadings of one common trait.

    Marginal maximum likelihood by expectation-maximisation on a grid of loadings; averaged over the trait, every item
    keeps the probabilities of its response model.

    Args:
        rows: respondents of one survey.
        items: items that were asked together.
        scores: score of every option.

    Source: Bock & Aitkin (1981), Marginal maximum likelihood estimation of item parameters.
    """
    nodes_K, weights_K = hermegauss(NUM_NODES)
    log_weight_K = np.log(weights_K / weights_K.sum())
    likelihood_JGRK = [_likelihoods(rows, item, scores, nodes_K, log_weight_K) for item in items]
    chosen = [(6, 1)] * len(items)
    for round_ in range(NUM_ROUNDS):
        joint_RK = log_weight_K + sum(
            table[grid][:, ::way] for table, (grid, way) in zip(likelihood_JGRK, chosen, strict=True)
        )
        joint_RK -= joint_RK.max(axis=1, keepdims=True)
        posterior_RK = np.exp(joint_RK)
        posterior_RK /= posterior_RK.sum(axis=1, keepdims=True)
        better = [
            max(
                ((grid, way) for grid in range(len(GRID)) for way in ((1,) if index == 0 else (1, -1))),
                key=lambda choice, table=table: (posterior_RK * table[choice[0]][:, :: choice[1]]).sum(),
            )
            for index, table in enumerate(likelihood_JGRK)
        ]
        if better == chosen and round_:
            break
        chosen = better
    return {item: float(GRID[grid]) for item, (grid, _) in zip(items, chosen, strict=True)}


def trait_stability(pairs: pl.DataFrame, items: Sequence[str]) -> float:
    """Covariance of different items across waves over that within waves: the stable share of what they have in common.

    Args:
        pairs: one row per person with residuals `item` of the first and `item_again` of the second interview,
            null where not asked.
        items: items of one trait.

    Source: Heise (1969), separating reliability and stability; different items share no error of measurement.
    """
    within, across = [], []
    for one, other in itertools.permutations(items, 2):
        within += [_mean_product(pairs, one, other), _mean_product(pairs, f"{one}_again", f"{other}_again")]
        across.append(_mean_product(pairs, one, f"{other}_again"))
    return float(np.mean(across) / np.mean(within))


def _likelihoods(
    rows: pl.DataFrame, item: str, scores: Mapping[str, float], nodes_K: np.ndarray, log_weight_K: np.ndarray
) -> list[np.ndarray]:
    """Per loading of the grid, the log likelihood of each answer at each node, [R, K]; 0 without an answer."""
    column = f"{ITEM_PREFIX}{item}"
    model = fit_item(rows.drop_nulls(column), column)
    score_O = np.array([scores[option] for option in model.options])
    design_RF = np.column_stack(
        [(rows[name] == level).fill_null(False).to_numpy() for name, level in model.coefficient_of_level]
    ).astype(np.float64)
    logit_RO = model.intercept_O + design_RF @ np.stack(list(model.coefficient_of_level.values()))
    wanted_RO = logit_RO - np.log(np.exp(logit_RO).sum(axis=1, keepdims=True))
    index_R = np.array([model.options.index(option) if option else -1 for option in rows[column]])
    has_answer = index_R >= 0
    found = []
    for loading in GRID:
        shift_KO = loading * nodes_K[:, None] * score_O
        base_RO = wanted_RO.copy()
        for _ in range(NUM_SWEEPS if loading else 0):
            met_RO = np.exp(_log_softmax(base_RO[:, None] + shift_KO) + log_weight_K[:, None]).sum(axis=1)
            base_RO += wanted_RO - np.log(met_RO)
        log_RKO = _log_softmax(base_RO[:, None] + shift_KO)
        table_RK = np.zeros((rows.height, len(nodes_K)))
        table_RK[has_answer] = log_RKO[np.flatnonzero(has_answer), :, index_R[has_answer]]
        found.append(table_RK)
    return found


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    highest = logits.max(axis=-1, keepdims=True)
    return logits - highest - np.log(np.exp(logits - highest).sum(axis=-1, keepdims=True))


def _person_scales(respondents: pl.DataFrame) -> Iterator[Estimate]:
    stored = numbers("person_scale")
    for survey, items in BATTERIES.items():
        rows = respondents.filter((pl.col("survey") == survey) & (pl.col("wave") >= FIRST_WAVE))
        is_at_hand = rows.height >= NUM_RESPONDENTS and all(f"{ITEM_PREFIX}{item}" in rows.columns for item in items)
        found: dict[str, float] = {}
        if is_at_hand:
            found = person_scales(rows.sample(NUM_RESPONDENTS, seed=1), items, SCORES[survey])
        for item in items:
            yield Estimate("person_scale", item, stored[item], found.get(item), NUM_RESPONDENTS if is_at_hand else 0)


def _stability(respondents: pl.DataFrame, panel_people: pl.Series | None) -> Estimate:
    stored = number("trait_stability")
    rows = respondents.filter(pl.col("survey") == PANEL)
    if panel_people is None or rows.is_empty():
        return Estimate("trait_stability", "", stored, None, 0)
    row = rows["respondent_id"].str.extract(r"-(\d+)$", 1).cast(pl.Int64)
    residuals = pl.DataFrame(
        {
            "person": panel_people.gather(row),
            "wave": rows["wave"],
            **{item: _residual(rows, f"{ITEM_PREFIX}{item}", SCORES["gss_abortion"]) for item in PANEL_ITEMS},
        }
    )
    last = residuals["wave"].max()
    again = residuals.filter(pl.col("wave") == last)
    pairs = residuals.filter(pl.col("wave") < last).join(again, on="person", suffix="_again")
    return Estimate("trait_stability", "", stored, trait_stability(pairs, PANEL_ITEMS), pairs.height)


def _residual(rows: pl.DataFrame, column: str, scores: Mapping[str, float]) -> pl.Series:
    """Score of the answer minus what attributes lead to expect by least squares; null without an answer."""
    names = [attribute.name for attribute in ATTRIBUTES if rows[attribute.name].null_count() < rows.height]
    design_RF = rows.select(names).to_dummies().cast(pl.Float64).to_numpy()
    score_R = rows[column].replace_strict(scores, default=None, return_dtype=pl.Float64)
    has_answer = score_R.is_not_null().to_numpy()
    answered_RF, answer_R = design_RF[has_answer], score_R.drop_nulls().to_numpy()
    ridge_FF = 0.1 * np.eye(design_RF.shape[1])
    coefficient_F = np.linalg.solve(answered_RF.T @ answered_RF + ridge_FF, answered_RF.T @ answer_R)
    return score_R - pl.Series(design_RF @ coefficient_F)


def _trust(respondents: pl.DataFrame) -> Iterator[Estimate]:
    """Weighted least squares of confidence on party and degree, averaged over the items of a kind of speaker."""
    names = ("source_trust", "source_trust_of_party", "source_trust_of_degree")
    rows = respondents.filter(pl.col("survey") == CONFIDENCE_SURVEY)
    for speaker, items in SPEAKERS.items():
        columns = [f"{ITEM_PREFIX}{item}" for item in items if f"{ITEM_PREFIX}{item}" in rows.columns]
        fits = [_regress(rows.drop_nulls(column), column) for column in columns if rows[column].count()]
        found = np.mean(fits, axis=0) if fits else None
        for index, name in enumerate(names):
            estimated = None if found is None else float(found[index])
            yield Estimate(name, speaker, numbers(name)[speaker], estimated, rows.height if fits else 0)


def _regress(rows: pl.DataFrame, column: str) -> np.ndarray:
    answer_R = rows[column].replace_strict(CONFIDENCE | TRUST, return_dtype=pl.Float64).to_numpy()
    party_R = rows["party"].replace_strict({"democrat": 1.0, "republican": -1.0}, default=0.0).fill_null(0.0).to_numpy()
    degree_R = (rows["education"] == "college_degree").fill_null(False).to_numpy().astype(np.float64)
    design_R3 = np.column_stack([np.ones(rows.height), party_R, degree_R])
    weight_R = rows["design_weight"].to_numpy()
    return np.linalg.solve((design_R3 * weight_R[:, None]).T @ design_R3, (design_R3 * weight_R[:, None]).T @ answer_R)


def _mean_product(pairs: pl.DataFrame, one: str, other: str) -> float:
    return float((pairs[one] * pairs[other]).mean() or 0.0)  # pyright: ignore[reportArgumentType]
