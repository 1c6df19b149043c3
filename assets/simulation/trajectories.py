"""Trajectories and episodes: what the student's rollout of one partition leaves behind.

Long rollouts are kept in a folder instead (`long_rollouts.py`), with the same rows.
"""

from collections.abc import Iterator

import polars as pl

from assets.simulation.long_rollouts import Keeping, KeptSimulation
from assets.simulation.questions import asked_questions
from assets.simulation.rollouts import RolloutInputs, prepare_rollout, rollout_steps
from assets.simulation.simulated_rows import episode_rows, step_rows
from assets.simulation.trajectory_rows import LatentAxes, PartitionKey
from model.lsm.lsm import LSM
from model.lsm.state import State


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
            yield step_rows(self._key, self._inputs, self._questions, record, axes, self._model_version)
            if record.timestep == self._inputs.num_timesteps:
                self._last_state = step.state

    @property
    def facts(self) -> dict[str, int | float]:
        """How the rollout is spread, for metadata."""
        return {"processes": 1, "cut_share": 0.0}

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
        return episode_rows(self._last_state.episodes, self._inputs, self._key)


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
    keeping: Keeping | None = None,
) -> Simulation | KeptSimulation:
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
        keeping: where long rollouts are kept and over how many processes they are spread; None keeps none.

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
    if keeping is not None and keeping.applies_to(inputs):
        return KeptSimulation(model, model_version, inputs, key, asked_questions(scenario_rows), keeping)
    return Simulation(model, model_version, inputs, key, scenario_rows)
