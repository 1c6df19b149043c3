"""Trajectories and episodes: what the student's rollout of one partition leaves behind.

Legend: N agents, M episode slots.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl
import torch

from assets.simulation.questions import asked_questions
from assets.simulation.rollouts import RolloutInputs, prepare_rollout, rollout_steps
from assets.simulation.rows import conform
from assets.simulation.trajectory_rows import LatentAxes, PartitionKey, StepState, trajectory_rows
from model.lsm.inputs import StepRecord
from model.lsm.lsm import LSM
from model.lsm.state import PEERS, Episodes, State

ENGINE = "lsm"


class Simulation:
    """One partition's rollout, advancing as its rows are read; at most one timestep is in memory.

    Read `trajectory_chunks` to the end, then `episodes`.
    """

    def __init__(
        self, model: LSM, model_version: int, inputs: RolloutInputs, key: PartitionKey, scenario_rows: pl.DataFrame
    ) -> None:
        self.num_timesteps = inputs.num_timesteps
        self._model = model
        self._model_version = model_version
        self._inputs = inputs.to(next(model.parameters()).device)
        self._key = key
        self._questions = asked_questions(scenario_rows)
        self._index_N = np.flatnonzero(inputs.counted_N.cpu().numpy())
        self._last_state: State | None = None
        self._has_started = False

    def trajectory_chunks(self) -> Iterator[pl.DataFrame]:
        """Rows of the trajectories table, one frame per timestep from 0.

        Raises:
            RuntimeError: the rollout was started before; a second pass needs a new simulation.
        """
        if self._has_started:
            raise RuntimeError(
                f"Scenario {self._key.scenario_id} replicate {self._key.replicate} is already being simulated; its "
                "chunks can be read once. Call simulate_scenario again for a second pass."
            )
        self._has_started = True
        axes: LatentAxes | None = None
        for step in rollout_steps(self._model, self._inputs):
            record = step.record
            assert record is not None
            if axes is None:
                axes = LatentAxes.of(record.latent_NU.cpu().numpy())
            yield trajectory_rows(
                self._key,
                self._inputs.agent_id_N.numpy()[self._index_N],
                self._questions,
                self._step_state(record, axes),
                engine=ENGINE,
                model_version=self._model_version,
            )
            if record.timestep == self._inputs.num_timesteps:
                self._last_state = step.state

    def episodes(self) -> pl.DataFrame:
        """What agents of the scenario's population remember at the end: rows of the episodes table.

        Raises:
            RuntimeError: the rollout has not ended.
        """
        if self._last_state is None:
            raise RuntimeError(
                f"Scenario {self._key.scenario_id} replicate {self._key.replicate} has not reached its last timestep. "
                "Read trajectory_chunks to the end first."
            )
        return _episode_rows(self._last_state.episodes, self._inputs, self._key, self._index_N)

    def _step_state(self, record: StepRecord, axes: LatentAxes) -> StepState:
        return StepState(
            timestep=record.timestep,
            channels_NK=record.channels_NK.cpu().numpy()[self._index_N],
            latent_summary_NP=axes.project(record.latent_NU.cpu().numpy()[self._index_N]),
            conviction_N=record.conviction_N.cpu().numpy()[self._index_N],
            expression_NX=record.expression_NX.cpu().numpy()[self._index_N],
            option_probabilities=[answer.cpu().numpy()[self._index_N] for answer in record.option_probabilities],
        )


def simulate_scenario(
    model: LSM,
    *,
    model_version: int,
    agents: pl.DataFrame,
    ties: pl.DataFrame,
    media_sources: pl.DataFrame,
    scenario_rows: pl.DataFrame,
    replicate: int,
    seed: int,
    max_timesteps: int,
) -> Simulation:
    """Prepares the rollout of one scenario and replicate over the whole population.

    All agents take part; only those of the scenario's population leave rows. Replicates differ in initial noise, reach
    and decisions; a scenario and its baseline share all three.

    Args:
        model: the student.
        model_version: its registered version, written into every row.
        agents: the agents table.
        ties: the ties table, media ties included.
        media_sources: the media_sources table.
        scenario_rows: rows of the scenarios table for one scenario.
        replicate: from 0.
        seed: seed of the run.
        max_timesteps: cap on the timesteps the scenario asks for.

    Raises:
        ValueError: the tables do not fit together, or nobody belongs to the scenario's population.
    """
    inputs = prepare_rollout(
        agents,
        ties,
        media_sources,
        scenario_rows,
        replicate=replicate,
        seed=seed,
        max_timesteps=max_timesteps,
    )
    key = PartitionKey(scenario_rows["scenario_id"][0], replicate, seed)
    return Simulation(model, model_version, inputs, key, scenario_rows)


def _episode_rows(episodes: Episodes, inputs: RolloutInputs, key: PartitionKey, index_N: np.ndarray) -> pl.DataFrame:
    salience_NM = episodes.salience_NM.cpu()[torch.from_numpy(index_N)]
    row_P, slot_P = torch.nonzero(salience_NM > 0, as_tuple=True)
    agent_P = torch.from_numpy(index_N)[row_P]
    event_P = episodes.event_NM.cpu()[agent_P, slot_P].numpy()
    names = pl.Series([*inputs.event_names, None], dtype=pl.String)
    rows = pl.DataFrame(
        {
            "agent_id": inputs.agent_id_N[agent_P].numpy(),
            "timestep": episodes.timestep_NM.cpu()[agent_P, slot_P].numpy(),
            "kind": np.where(event_P == PEERS, "peers", "event"),
            "event_id": names.gather(np.where(event_P == PEERS, len(inputs.event_names), event_P)),
            "salience": episodes.salience_NM.cpu()[agent_P, slot_P].numpy(),
            "appraisal": episodes.appraisal_NM.cpu()[agent_P, slot_P].numpy(),
        }
    )
    partition = {"scenario_id": pl.lit(key.scenario_id), "replicate": pl.lit(key.replicate)}
    return conform("episodes", rows.sort("agent_id", "timestep", "kind").with_columns(**partition))
