"""Rows of the trajectories and episodes tables from what a rollout of the student hands out.

Only agents of the scenario's population leave rows. Legend: N agents, M episode slots, P pairs of agent and slot.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
import torch

from assets.simulation.questions import AskedQuestion
from assets.simulation.rollouts import RolloutInputs
from assets.simulation.rows import conform
from assets.simulation.trajectory_rows import LatentAxes, PartitionKey, StepState, trajectory_rows
from model.lsm.inputs import StepRecord
from model.lsm.state import PEERS, Episodes

ENGINE = "lsm"


def step_rows(
    key: PartitionKey,
    inputs: RolloutInputs,
    questions: Sequence[AskedQuestion],
    record: StepRecord,
    axes: LatentAxes,
    model_version: int,
) -> pl.DataFrame:
    """Rows of the trajectories table after one timestep.

    Args:
        key: the partition.
        inputs: the rollout, whose agents are those of the record.
        questions: what is asked, in the order of the record's answers.
        record: what is known after the timestep.
        axes: on which the latent is summarised.
        model_version: registered version of the student.
    """
    index_N = np.flatnonzero(inputs.counted_N.cpu().numpy())
    state = StepState(
        timestep=record.timestep,
        channels_NK=record.channels_NK.cpu().numpy()[index_N],
        latent_summary_NP=axes.project(record.latent_NU.cpu().numpy()[index_N]),
        conviction_N=record.conviction_N.cpu().numpy()[index_N],
        expression_NX=record.expression_NX.cpu().numpy()[index_N],
        option_probabilities=[answer.cpu().numpy()[index_N] for answer in record.option_probabilities],
    )
    agent_id_N = inputs.agent_id_N.cpu().numpy()[index_N]
    return trajectory_rows(key, agent_id_N, questions, state, engine=ENGINE, model_version=model_version)


def episode_rows(episodes: Episodes, inputs: RolloutInputs, key: PartitionKey) -> pl.DataFrame:
    """Rows of the episodes table: what each agent remembers, an event or its peers."""
    index_N = np.flatnonzero(inputs.counted_N.cpu().numpy())
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
