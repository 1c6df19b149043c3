"""Scores of predictions of single persons who were asked again: Brier scores, and distances of weighted shares.

    brier        Σ_o (p_o − y_o)², mean over people: proper for predictions of single persons
    tvd          distance of weighted mean predictions to weighted shares of answers, by item, mean over items
    skill, brier_skill  1 − score / score of persistence

Intervals resample items; those of Brier scores also the clusters of the survey, by replicate weights. The noise floor
of TVD is what a resample of the survey's design leaves.

Legend: U items, B resamples, R people, O options.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from assets.evidence.forecast_case import MIN_RESPONDENTS
from assets.evidence.forecast_scores import (
    NUM_RESAMPLES,
    PERSISTENCE,
    interval_ends,
    mean_of_known,
    noise_floor,
    score_row,
)
from assets.evidence.panel_people import PersonForecast
from validation.metrics import tvd
from validation.survey_design import effective_size, linearised_variance

PEOPLE_CASE = "gss_panel_people"
PEOPLE_NOTE = (
    "GSS people of 2018 asked again in 2020, predicted from those of 2016; re-interviews changed mode from in person "
    "to web and telephone, so part of the change is a mode effect; sampling error by strata and clusters"
)


def people_rows(found: Sequence[PersonForecast], seed: int) -> Iterator[dict[str, Any]]:
    """Rows of the people's case: Brier score of persons, and TVD of weighted shares by item and segment."""
    by_item: dict[str, dict[str, PersonForecast]] = {}
    for each in found:
        by_item.setdefault(each.item, {})[each.model] = each
    models = list(next(iter(by_item.values()))) if by_item else []
    slices = sorted({segment for each in found for segment in each.segments})
    generator = np.random.default_rng(seed)
    for name in slices:
        cells = {
            item: forecasts[PERSISTENCE].segments[name]
            for item, forecasts in by_item.items()
            if name in forecasts[PERSISTENCE].segments
            and forecasts[PERSISTENCE].segments[name].sum() >= MIN_RESPONDENTS
        }
        if not cells:
            yield _person_row("tvd", name, "none", None, None, 0, f"suppressed: fewer than {MIN_RESPONDENTS} people")
            continue
        floor = mean_of_known(
            [_people_floor(by_item[item][PERSISTENCE], is_in, generator) for item, is_in in cells.items()]
        )
        scores = {
            model: {
                "tvd": np.array([_share_distance(by_item[item][model], is_in) for item, is_in in cells.items()]),
                "brier": np.array([_brier(by_item[item][model], is_in) for item, is_in in cells.items()]),
            }
            for model in models
        }
        brier_UB = {
            model: np.stack([_replicated_brier(by_item[item][model], is_in) for item, is_in in cells.items()])
            for model in models
        }
        num_people = int(sum(is_in.sum() for is_in in cells.values()))
        counts_BU = generator.multinomial(len(cells), np.full(len(cells), 1 / len(cells)), size=NUM_RESAMPLES)
        for model in models:
            note = "; ".join({part for item in cells if (part := by_item[item][model].note)})
            text = f"{PEOPLE_NOTE}; {note}" if note else PEOPLE_NOTE
            for metric, value_U in scores[model].items():
                base_U = scores[PERSISTENCE][metric]
                value_B = _resampled(value_U, brier_UB.get(model) if metric == "brier" else None, counts_BU)
                base_B = _resampled(base_U, brier_UB[PERSISTENCE] if metric == "brier" else None, counts_BU)
                value, own_floor = float(value_U.mean()), floor if metric == "tvd" else None
                ends = interval_ends(value_B, value)
                yield _person_row(metric, name, model, value, own_floor, num_people, text, ends)
                if model != PERSISTENCE and base_U.mean() > 0:
                    skill = 1 - value / float(base_U.mean())
                    skill_B = 1 - value_B / np.maximum(base_B, 1e-12)
                    kind = "skill" if metric == "tvd" else "brier_skill"
                    best = None if own_floor is None else 1 - own_floor / float(base_U.mean())
                    yield _person_row(kind, name, model, skill, best, num_people, text, interval_ends(skill_B, skill))


def _people_floor(each: PersonForecast, is_in: np.ndarray, generator: np.random.Generator) -> float | None:
    share = _observed(each, is_in)
    one_hot_RO = np.eye(len(each.options))[each.answer_R]
    variance_O = linearised_variance(one_hot_RO, each.weight_R, each.stratum_R, each.psu_R, is_in)
    size = effective_size(share, variance_O, int(is_in.sum()))
    return noise_floor(share[None], np.array([size]), generator)


def _observed(each: PersonForecast, is_in: np.ndarray) -> np.ndarray:
    return np.bincount(each.answer_R[is_in], each.weight_R[is_in], len(each.options)) / each.weight_R[is_in].sum()


def _share_distance(each: PersonForecast, is_in: np.ndarray) -> float:
    weight = each.weight_R[is_in]
    return float(tvd(weight @ each.probability_RO[is_in] / weight.sum(), _observed(each, is_in)))


def _brier(each: PersonForecast, is_in: np.ndarray) -> float:
    truth = np.eye(len(each.options))[each.answer_R[is_in]]
    loss = ((each.probability_RO[is_in] - truth) ** 2).sum(axis=1)
    return float(np.average(loss, weights=each.weight_R[is_in]))


def _replicated_brier(each: PersonForecast, is_in: np.ndarray) -> np.ndarray:
    """The Brier score under every replicate of the survey's design, [B]."""
    truth = np.eye(len(each.options))[each.answer_R[is_in]]
    loss_R = ((each.probability_RO[is_in] - truth) ** 2).sum(axis=1)
    weight_BR = each.replicate_BR[:, is_in]
    return weight_BR @ loss_R / np.maximum(weight_BR.sum(axis=1), 1e-12)


def _resampled(value_U: np.ndarray, replicated_UB: np.ndarray | None, counts_BU: np.ndarray) -> np.ndarray:
    """The mean over resampled items, [B]; of Brier scores each resample has a replicate of the people, too."""
    if replicated_UB is None:
        return counts_BU @ value_U / len(value_U)
    return (counts_BU * replicated_UB.T[np.arange(len(counts_BU)) % replicated_UB.shape[1]]).sum(axis=1) / len(value_U)


def _person_row(
    metric: str,
    slice_name: str,
    model: str,
    value: float | None,
    floor: float | None,
    size: int,
    note: str,
    ends: tuple[float | None, float | None] = (None, None),
) -> dict[str, Any]:
    return score_row(
        PEOPLE_CASE, "agents", "2020, other people", metric, slice_name, model, value, floor, size, note, ends
    )
