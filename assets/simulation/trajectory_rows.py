"""Rows of the trajectories table from what the engines know after one timestep.

Legend: N agents, K channels, U latent, X expression, O options, P principal axes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from assets.simulation.draws import sample_options, uniform_draws
from assets.simulation.questions import AskedQuestion
from assets.simulation.rows import conform

NUM_LATENT_AXES = 3


@dataclass(frozen=True)
class PartitionKey:
    """What names a partition's rows and addresses its random draws."""

    scenario_id: str
    replicate: int
    seed: int


@dataclass(frozen=True)
class StepState:
    """An engine's state after one timestep, for the agents that leave rows; empty columns where it has none."""

    timestep: int
    channels_NK: np.ndarray
    latent_summary_NP: np.ndarray
    conviction_N: np.ndarray
    expression_NX: np.ndarray
    option_probabilities: Sequence[np.ndarray]


@dataclass(frozen=True)
class LatentAxes:
    """The fixed axes on which a rollout's latent is summarised."""

    mean_U: np.ndarray
    axes_UP: np.ndarray

    @classmethod
    def of(cls, latent_NU: np.ndarray) -> "LatentAxes":
        """Principal axes of the latent at timestep 0, each signed so that its largest weight is positive.

        Source: Pearson (1901), On lines and planes of closest fit.
        """
        latent_NU = latent_NU.astype(np.float64)
        mean_U = latent_NU.mean(axis=0)
        centred_NU = latent_NU - mean_U
        _, vectors_UU = np.linalg.eigh(centred_NU.T @ centred_NU)
        axes_UP = vectors_UU[:, ::-1][:, :NUM_LATENT_AXES]
        largest_P = np.abs(axes_UP).argmax(axis=0)
        return cls(mean_U, axes_UP * np.sign(axes_UP[largest_P, np.arange(axes_UP.shape[1])]))

    def project(self, latent_NU: np.ndarray) -> np.ndarray:
        """Coordinates on the axes, [N, P]."""
        return (latent_NU - self.mean_U) @ self.axes_UP


def trajectory_rows(
    key: PartitionKey,
    agent_id_N: np.ndarray,
    questions: Sequence[AskedQuestion],
    state: StepState,
    *,
    engine: str,
    model_version: int,
) -> pl.DataFrame:
    """One row per agent and question at one timestep, the decision drawn from the option probabilities.

    Both engines share their draws with each other and with the scenario's baseline.
    """
    columns = {
        "agent_id": pl.Series(agent_id_N),
        "channels": _lists(state.channels_NK),
        "latent_summary": _lists(state.latent_summary_NP),
        "conviction": pl.Series(state.conviction_N),
        "expression": _lists(state.expression_NX),
    }
    frames = []
    for question, probability_NO in zip(questions, state.option_probabilities, strict=True):
        probability_NO = probability_NO.astype(np.float64)
        probability_NO = probability_NO / probability_NO.sum(axis=1, keepdims=True)
        uniform_N = uniform_draws(
            agent_id_N,
            seed=key.seed,
            replicate=key.replicate,
            question_id=question.question_id,
            timestep=state.timestep,
        )
        frame = pl.DataFrame(
            {
                **columns,
                "option_probabilities": _lists(probability_NO),
                "decision": pl.Series(question.options).gather(sample_options(probability_NO, uniform_N)),
            }
        ).with_columns(
            scenario_id=pl.lit(key.scenario_id),
            replicate=pl.lit(key.replicate),
            engine=pl.lit(engine),
            model_version=pl.lit(model_version),
            timestep=pl.lit(state.timestep),
            question_id=pl.lit(question.question_id),
        )
        frames.append(conform("trajectories", frame))
    return pl.concat(frames)


def _lists(values_NC: np.ndarray) -> pl.Series:
    """Rows of a matrix as a list column of single-precision numbers."""
    num_rows, num_columns = values_NC.shape
    if num_columns == 0:
        return pl.Series([[]], dtype=pl.List(pl.Float32)).new_from_index(0, num_rows)
    return pl.Series(np.ascontiguousarray(values_NC, dtype=np.float32)).cast(pl.List(pl.Float32))
