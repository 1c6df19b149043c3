"""The mechanistic baseline of a partition: biased Friedkin–Johnsen dynamics started where the student starts.

It sees the same ties, events, reach and triggers as the student, and differs from it in the mechanism alone. It knows
stances only, so its rows have empty channels, latent and expression.

Legend: N agents, O options.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl
import torch

from assets.simulation.questions import asked_questions
from assets.simulation.rollouts import prepare_rollout, rollout_steps
from assets.simulation.trajectory_rows import PartitionKey, StepState, trajectory_rows
from assets.tilting import tilt_to_stance
from model.lpm.programs.opinion import opinion_population, opinion_program
from model.lsm.lsm import LSM
from model.lsm.triggers import TriggerWatch

ENGINE = "lpm_opinion"
MODEL_VERSION = 0


def simulate_opinion_baseline(
    model: LSM,
    *,
    agents: pl.DataFrame,
    ties: pl.DataFrame,
    media_sources: pl.DataFrame,
    scenario_rows: pl.DataFrame,
    replicate: int,
    seed: int,
    max_timesteps: int,
) -> Iterator[pl.DataFrame]:
    """Trajectory rows of the mechanistic baseline, one frame per timestep from 0.

    Every question starts from the student's stance at timestep 0, the mean option score under its probabilities. From
    then on an agent's probabilities are those nearest to its first ones (in Kullback–Leibler divergence) whose mean
    score is the stance. Conviction is the distance of the first question's stance from zero.

    Args:
        model: the student, for timestep 0 only.
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
    record = next(rollout_steps(model, inputs.to(next(model.parameters()).device))).record
    assert record is not None
    key = PartitionKey(scenario_rows["scenario_id"][0], replicate, seed)
    index_N = np.flatnonzero(inputs.counted_N.numpy())
    scores = [question.option_scores_O.double() for question in inputs.questions]
    initial = [answer_NO.cpu().double() for answer_NO in record.option_probabilities]
    stances = [(answer_NO @ score_O).clamp(-1, 1) for answer_NO, score_O in zip(initial, scores, strict=True)]
    program, timeline = opinion_program(), inputs.timeline
    values = program.values(torch.float64)
    populations = [
        opinion_population(stance_N, inputs.graph, timeline, score_O)
        for stance_N, score_O in zip(stances, scores, strict=True)
    ]
    watch = TriggerWatch(inputs.triggers, inputs.questions, timeline)
    for timestep in range(inputs.num_timesteps + 1):
        if timestep > 0:
            populations = [
                program.timestep(population | {"start_V": timeline.start_V}, values, timestep)
                for population in populations
            ]
        answers = [
            torch.from_numpy(tilt_to_stance(first_NO.numpy(), score_O.numpy(), population["stance_N"].numpy()))
            for first_NO, score_O, population in zip(initial, scores, populations, strict=True)
        ]
        timeline = watch.observe(timeline, timestep, answers, inputs.counted_N)
        nothing = np.zeros((len(index_N), 0))
        state = StepState(
            timestep=timestep,
            channels_NK=nothing,
            latent_summary_NP=nothing,
            conviction_N=populations[0]["stance_N"].abs().numpy()[index_N],
            expression_NX=nothing,
            option_probabilities=[answer_NO.numpy()[index_N] for answer_NO in answers],
        )
        yield trajectory_rows(
            key,
            inputs.agent_id_N.numpy()[index_N],
            asked_questions(scenario_rows),
            state,
            engine=ENGINE,
            model_version=MODEL_VERSION,
        )
