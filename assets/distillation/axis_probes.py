"""Probes of the free latent: what its principal axes say about channels and attributes, against a permuted noise floor.

An axis that predicts no channel and no attribute better than chance carries something that the anchored channels lack;
one that predicts a channel well is redundant with it.

Legend: B observations (agent × scenario), J principal axes, U latent, F folds.
"""

import numpy as np
import polars as pl

from assets.distillation.free_running import free_run
from assets.distillation.stacking import stack_panel
from assets.distillation.training_set import TrainingSet
from assets.tensors import MODEL_ATTRIBUTES
from model.lsm.lsm import LSM
from validation.channels import channel_names
from validation.contracts import CONTRACTS

NUM_AXES = 4
NUM_FOLDS = 5
NUM_PERMUTATIONS = 20
NUM_RESAMPLES = 500
SMALLEST_VARIANCE = 1e-12


def probe_axes(model: LSM, training_set: TrainingSet, *, model_version: int, seed: int) -> pl.DataFrame:
    """How well each principal axis of the latent predicts each channel and attribute: the table `axis_probes`.

    The latent is that of the panel at the end of every scenario, rolled out freely. Latent and targets are centred
    within scenarios, so that an axis is about differences between people and not between questions. Folds hold out
    agents, with all their scenarios.

    Args:
        model: the student.
        training_set: the panel it is probed on.
        model_version: registered version of the student.
        seed: fixes folds, permutations and resampling.

    Source: linear probes, Alain & Bengio (2016); permuted control, Hewitt & Liang (2019), section 2.
    """
    window = free_run(model, stack_panel(training_set))
    num_agents = training_set.num_agents
    agent_B = np.tile(np.arange(num_agents), len(training_set.rollouts))
    latent_BU = _centre_by_scenario(window.latent_TNU[-1].double().numpy(), num_agents)
    channels_BK = _centre_by_scenario(window.channels_TNK[-1].double().numpy(), num_agents)
    axes_BJ = principal_axes(latent_BU, NUM_AXES)
    targets = {name: channels_BK[:, number] for number, name in enumerate(channel_names())}
    targets |= {
        name: np.tile(values_P - values_P.mean(), len(training_set.rollouts))
        for name, values_P in _attribute_targets(training_set).items()
    }
    rng = np.random.default_rng(seed)
    fold_P = rng.permutation(num_agents) % NUM_FOLDS
    rows = [
        {
            "axis": f"latent_pc{number + 1}",
            "target": name,
            **_probe(axes_BJ[:, number], target_B, agent_B, fold_P, rng),
            "num_agents": num_agents,
            "model_version": model_version,
        }
        for number in range(axes_BJ.shape[1])
        for name, target_B in targets.items()
        if target_B.var() > SMALLEST_VARIANCE and axes_BJ[:, number].var() > SMALLEST_VARIANCE
    ]
    columns = CONTRACTS["axis_probes"].columns
    schema = {name: column.dtype.type for name, column in columns.items()}  # pyright: ignore[reportOptionalMemberAccess]
    return pl.DataFrame(rows, schema=schema)


def principal_axes(latent_BU: np.ndarray, num_axes: int) -> np.ndarray:
    """Projections on the first principal axes, [B, J]; the sign makes each axis's largest loading positive."""
    centred_BU = latent_BU - latent_BU.mean(axis=0)
    _, _, loadings_JU = np.linalg.svd(centred_BU, full_matrices=False)
    loadings_JU = loadings_JU[:num_axes]
    largest_J = np.take_along_axis(loadings_JU, np.abs(loadings_JU).argmax(axis=1)[:, None], axis=1)
    return centred_BU @ (loadings_JU * np.sign(largest_J)).T


def cross_validated(axis_B: np.ndarray, target_B: np.ndarray, fold_B: np.ndarray) -> np.ndarray:
    """Out-of-fold predictions of the target by least squares on the axis alone, [B]."""
    predicted_B = np.empty_like(target_B)
    for fold in np.unique(fold_B):
        is_test_B = fold_B == fold
        axis, target = axis_B[~is_test_B], target_B[~is_test_B]
        spread = axis.var()
        slope = np.mean((axis - axis.mean()) * (target - target.mean())) / spread if spread > 0 else 0.0
        predicted_B[is_test_B] = target.mean() + slope * (axis_B[is_test_B] - axis.mean())
    return predicted_B


def _probe(
    axis_B: np.ndarray, target_B: np.ndarray, agent_B: np.ndarray, fold_P: np.ndarray, rng: np.random.Generator
) -> dict[str, float]:
    fold_B = fold_P[agent_B]
    predicted_B = cross_validated(axis_B, target_B, fold_B)
    permuted = []
    for _ in range(NUM_PERMUTATIONS):
        shuffled_B = _of_other_agents(target_B, rng.permutation(len(fold_P)))
        permuted.append(_r2(shuffled_B, cross_validated(axis_B, shuffled_B, fold_B)))
    residual_P, total_P = _sums_by_agent(target_B, predicted_B, agent_B)
    draws = rng.integers(0, len(fold_P), (NUM_RESAMPLES, len(fold_P)))
    resampled = 1 - residual_P[draws].sum(axis=1) / np.maximum(total_P[draws].sum(axis=1), SMALLEST_VARIANCE)
    lower, upper = np.quantile(resampled, (0.025, 0.975))
    return {
        "r2": _r2(target_B, predicted_B),
        "r2_permuted": float(np.mean(permuted)),
        "lower": float(lower),
        "upper": float(upper),
    }


def _r2(target_B: np.ndarray, predicted_B: np.ndarray) -> float:
    return float(1 - ((target_B - predicted_B) ** 2).sum() / ((target_B - target_B.mean()) ** 2).sum())


def _sums_by_agent(target_B: np.ndarray, predicted_B: np.ndarray, agent_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squared residuals and squared deviations from the mean, summed per agent."""
    residual_P = np.bincount(agent_B, weights=(target_B - predicted_B) ** 2)
    return residual_P, np.bincount(agent_B, weights=(target_B - target_B.mean()) ** 2)


def _of_other_agents(target_B: np.ndarray, order_P: np.ndarray) -> np.ndarray:
    """Targets of permuted agents, scenario by scenario."""
    return target_B.reshape(-1, len(order_P))[:, order_P].ravel()


def _centre_by_scenario(values_BU: np.ndarray, num_agents: int) -> np.ndarray:
    values_SPU = values_BU.reshape(-1, num_agents, values_BU.shape[1])
    return (values_SPU - values_SPU.mean(axis=1, keepdims=True)).reshape(values_BU.shape)


def _attribute_targets(training_set: TrainingSet) -> dict[str, np.ndarray]:
    """Codes of ordinal attributes by name; of nominal ones, whether each level is held, by attribute=level."""
    codes_PA = training_set.attributes_PA.numpy()
    targets: dict[str, np.ndarray] = {}
    for number, attribute in enumerate(MODEL_ATTRIBUTES):
        codes_P = codes_PA[:, number].astype(np.float64)
        if attribute.is_ordinal:
            targets[attribute.name] = codes_P
        else:
            targets |= {f"{attribute.name}={level}": codes_P == code for code, level in enumerate(attribute.levels)}
    return {name: values_P.astype(np.float64) for name, values_P in targets.items()}
