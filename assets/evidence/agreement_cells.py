"""Weighted sums of held-out answers by cell, for every bootstrap resample at once.

A cell is one question of one scenario at one timestep. Every metric of teacher agreement is made of sums over cells, so
resampling agents costs one matrix product per cell instead of one pass per resample.

Legend: B resamples (row 0 weighs every agent once), C cells, R observations, A agents, O options (shorter questions are
padded with options of probability zero), G groups, X bins of confidence.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from validation.metrics import jsd, subgroup_gap, tail_survival, treatment_effect_agreement, tvd

NUM_BINS = 10
LOWEST_PROBABILITY = 1e-6
MIN_GROUP_AGENTS = 5
"""Groups with fewer agents are left out of the subgroup gap."""

CELL_KEYS = ("scenario_id", "question_id", "timestep", "split")


@dataclass(frozen=True)
class Observations:
    """Predictions beside the teacher's answers, one row per held-out answer."""

    cell_R: np.ndarray
    agent_R: np.ndarray
    predicted_RO: np.ndarray
    teacher_RO: np.ndarray
    observed_R: np.ndarray
    scores_RO: np.ndarray
    num_options_R: np.ndarray
    is_ordinal_R: np.ndarray


@dataclass(frozen=True)
class CellSums:
    """Sums over the observations of each cell; `members_GC` counts distinct agents per group."""

    weight_BC: np.ndarray
    distances_BCM: np.ndarray
    ordinal_weight_BC: np.ndarray
    calibration_gap_BCX: np.ndarray
    predicted_BCO: np.ndarray
    teacher_BCO: np.ndarray
    score_moments_BC4: np.ndarray
    group_weight_BCG: np.ndarray
    group_predicted_BCGO: np.ndarray
    group_teacher_BCGO: np.ndarray
    num_rows_C: np.ndarray


def resampled_agents(num_agents: int, num_resamples: int, seed: int) -> np.ndarray:
    """How often each agent is drawn, shape [1 + num_resamples, A]; row 0 is the sample itself."""
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(num_agents, np.full(num_agents, 1.0 / num_agents), size=num_resamples)
    return np.concatenate([np.ones((1, num_agents)), drawn.astype(np.float64)])


def sum_cells(
    observations: Observations, num_cells: int, weight_BA: np.ndarray, group_A: np.ndarray, num_groups: int
) -> CellSums:
    """Sums the observations cell by cell under every resample.

    Args:
        observations: rows of one model.
        num_cells: cells of all models, so that sums of models line up.
        weight_BA: draws of each agent.
        group_A: group of each agent, −1 for none.
        num_groups: number of groups.
    """
    num_resamples, num_options = len(weight_BA), observations.predicted_RO.shape[1]
    row_values, gap_RX, moments_R4 = _row_values(observations)
    width = [1, 3, 1, NUM_BINS, num_options, num_options, 4]
    columns_RV = np.concatenate(
        [
            np.ones((len(observations.cell_R), 1)),
            row_values,
            observations.is_ordinal_R[:, None].astype(np.float64),
            gap_RX,
            observations.predicted_RO,
            observations.teacher_RO,
            moments_R4,
        ],
        axis=1,
    )
    sums_BCV = np.zeros((num_resamples, num_cells, columns_RV.shape[1]))
    shares = (num_resamples, num_cells, num_groups, num_options)
    group_weight, group_predicted, group_teacher = np.zeros(shares[:3]), np.zeros(shares), np.zeros(shares)
    order = np.argsort(observations.cell_R, kind="stable")
    starts = np.searchsorted(observations.cell_R[order], np.arange(num_cells + 1))
    for cell in range(num_cells):
        rows = order[starts[cell] : starts[cell + 1]]
        weight_BR = weight_BA[:, observations.agent_R[rows]]
        sums_BCV[:, cell] = weight_BR @ columns_RV[rows]
        for group in range(num_groups):
            is_member = group_A[observations.agent_R[rows]] == group
            members = rows[is_member]
            if len(np.unique(observations.agent_R[members])) < MIN_GROUP_AGENTS:
                continue
            member_weight = weight_BR[:, is_member]
            group_weight[:, cell, group] = member_weight.sum(axis=1)
            group_predicted[:, cell, group] = member_weight @ observations.predicted_RO[members]
            group_teacher[:, cell, group] = member_weight @ observations.teacher_RO[members]
    weight, distances, ordinal, gaps, predicted, teacher, moments = np.split(sums_BCV, np.cumsum(width)[:-1], axis=2)
    return CellSums(
        weight_BC=weight[:, :, 0],
        distances_BCM=np.concatenate([distances, _log_loss_sums(observations, weight_BA, num_cells)], axis=2),
        ordinal_weight_BC=ordinal[:, :, 0],
        calibration_gap_BCX=gaps,
        predicted_BCO=predicted,
        teacher_BCO=teacher,
        score_moments_BC4=moments,
        group_weight_BCG=group_weight,
        group_predicted_BCGO=group_predicted,
        group_teacher_BCGO=group_teacher,
        num_rows_C=np.diff(starts),
    )


def metric_values(sums: CellSums, is_in_C: np.ndarray, baseline_cell_C: np.ndarray) -> dict[str, np.ndarray]:
    """Every metric over the chosen cells, per resample; nan where it is not defined.

    Args:
        sums: sums of one model.
        is_in_C: cells of the slice.
        baseline_cell_C: for each cell the same question and timestep of its scenario's baseline, −1 where none.
    """
    weight_B = sums.weight_BC[:, is_in_C].sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_BM = sums.distances_BCM[:, is_in_C].sum(axis=1) / weight_B[:, None]
        w1_B = sums.distances_BCM[:, is_in_C, 2].sum(axis=1) / sums.ordinal_weight_BC[:, is_in_C].sum(axis=1)
        ece_B = np.abs(sums.calibration_gap_BCX[:, is_in_C].sum(axis=1)).sum(axis=1) / weight_B
    tails, effects = _shares_by_resample(sums, is_in_C, baseline_cell_C)
    return {
        "tvd": mean_BM[:, 0],
        "jsd": mean_BM[:, 1],
        "w1_ordinal": w1_B,
        "log_loss": mean_BM[:, 3],
        "ece": ece_B,
        "tail_survival": tails,
        "dispersion_ratio": _dispersion(sums, is_in_C),
        "subgroup_gap": _subgroup_gap(sums, is_in_C),
        "treatment_effect_correlation": effects[:, 0],
        "treatment_effect_sign_agreement": effects[:, 1],
    }


def _row_values(observations: Observations) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per row: TVD, JSD and W1; the calibration gap in its bin of confidence; first and second moments of scores."""
    predicted, teacher = observations.predicted_RO, observations.teacher_RO
    rows = np.arange(len(predicted))
    if not len(rows):
        return np.zeros((0, 3)), np.zeros((0, NUM_BINS)), np.zeros((0, 4))
    steps_R = np.maximum(observations.num_options_R - 1, 1)
    w1_R = np.abs(np.cumsum(predicted - teacher, axis=1)).sum(axis=1) / steps_R * observations.is_ordinal_R
    confidence_R = predicted.max(axis=1)
    is_correct_R = (predicted.argmax(axis=1) == observations.observed_R).astype(np.float64)
    gap_RX = np.zeros((len(predicted), NUM_BINS))
    gap_RX[rows, np.minimum((confidence_R * NUM_BINS).astype(np.int64), NUM_BINS - 1)] = is_correct_R - confidence_R
    ours_R = (predicted * observations.scores_RO).sum(axis=1)
    theirs_R = (teacher * observations.scores_RO).sum(axis=1)
    distances = np.stack([tvd(predicted, teacher), jsd(predicted, teacher), w1_R], axis=1)
    return distances, gap_RX, np.stack([ours_R, ours_R**2, theirs_R, theirs_R**2], axis=1)


def _log_loss_sums(observations: Observations, weight_BA: np.ndarray, num_cells: int) -> np.ndarray:
    """Cross-entropy of the teacher's distribution under the prediction, in nats, summed by cell; [B, C, 1]."""
    logs_RO = np.log(np.maximum(observations.predicted_RO, LOWEST_PROBABILITY))
    loss_R = -(observations.teacher_RO * logs_RO).sum(axis=1)
    by_agent_AC = np.zeros((weight_BA.shape[1], num_cells))
    np.add.at(by_agent_AC, (observations.agent_R, observations.cell_R), loss_R)
    return (weight_BA @ by_agent_AC)[:, :, None]


def _shares_by_resample(
    sums: CellSums, is_in_C: np.ndarray, baseline_cell_C: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Tail survival [B] and treatment-effect correlation and sign agreement [B, 2], from the cells' mean shares."""
    chosen_C = np.flatnonzero(is_in_C)
    treated_C = chosen_C[baseline_cell_C[chosen_C] >= 0]
    tails_B = np.full(len(sums.weight_BC), np.nan)
    effects_B2 = np.full((len(sums.weight_BC), 2), np.nan)
    for resample, weight_C in enumerate(sums.weight_BC):
        filled_C = chosen_C[weight_C[chosen_C] > 0]
        if len(filled_C):
            weight = weight_C[filled_C, None]
            tails_B[resample] = tail_survival(
                sums.predicted_BCO[resample, filled_C] / weight, sums.teacher_BCO[resample, filled_C] / weight
            )
        pairs_C = treated_C[(weight_C[treated_C] > 0) & (weight_C[baseline_cell_C[treated_C]] > 0)]
        if len(pairs_C):
            against_C = baseline_cell_C[pairs_C]
            ours, theirs = (
                shares[resample, pairs_C] / weight_C[pairs_C, None]
                - shares[resample, against_C] / weight_C[against_C, None]
                for shares in (sums.predicted_BCO, sums.teacher_BCO)
            )
            effects_B2[resample] = treatment_effect_agreement(_without_noise(ours), _without_noise(theirs))
    return tails_B, effects_B2


def _without_noise(effects: np.ndarray) -> np.ndarray:
    """Effects with the rounding of sums removed, so that no effect counts as exactly none."""
    return np.where(np.abs(effects) < 1e-9, 0.0, effects)


def _dispersion(sums: CellSums, is_in_C: np.ndarray) -> np.ndarray:
    """Σ Var_sim / Σ Var_ref over cells, of the agents' expected option scores, [B]."""
    weight_BC1 = sums.weight_BC[:, is_in_C, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        moments = np.nan_to_num(sums.score_moments_BC4[:, is_in_C] / weight_BC1)
        ours_B = np.maximum(moments[..., 1] - moments[..., 0] ** 2, 0.0).sum(axis=1)
        theirs_B = np.maximum(moments[..., 3] - moments[..., 2] ** 2, 0.0).sum(axis=1)
        return np.where(theirs_B > 1e-12, ours_B / theirs_B, np.nan)


def _subgroup_gap(sums: CellSums, is_in_C: np.ndarray) -> np.ndarray:
    """Mean over cells of the subgroup gap of the groups' mean distributions, [B]; cells need two groups."""
    weight_BCG = sums.group_weight_BCG[:, is_in_C]
    with np.errstate(divide="ignore", invalid="ignore"):
        predicted = sums.group_predicted_BCGO[:, is_in_C] / weight_BCG[..., None]
        teacher = sums.group_teacher_BCGO[:, is_in_C] / weight_BCG[..., None]
    is_eligible_CG = weight_BCG[0] > 0
    gap_B = np.full(len(weight_BCG), np.nan)
    gaps: list[np.ndarray] = []
    for cell, is_eligible_G in enumerate(is_eligible_CG):
        if is_eligible_G.sum() < 2:
            continue
        ours, theirs = predicted[:, cell, is_eligible_G], teacher[:, cell, is_eligible_G]
        is_whole_B = np.isfinite(ours).all(axis=(1, 2))
        gap = np.full(len(weight_BCG), np.nan)
        gap[is_whole_B] = subgroup_gap(ours[is_whole_B], theirs[is_whole_B])
        gaps.append(gap)
    if gaps:
        stacked = np.stack(gaps, axis=1)
        is_known_B = np.isfinite(stacked).any(axis=1)
        gap_B[is_known_B] = np.nanmean(stacked[is_known_B], axis=1)
    return gap_B


def padded(values: pl.Series, num_options: int) -> np.ndarray:
    """A list column as a matrix [rows, num_options], shorter lists padded with zeros."""
    matrix = np.zeros((len(values), num_options))
    lengths = values.list.len().to_numpy()
    columns = np.arange(num_options)[None, :] < lengths[:, None]
    matrix[columns] = values.explode(empty_as_null=False).drop_nulls().to_numpy()
    return matrix
