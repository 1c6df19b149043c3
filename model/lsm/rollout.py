"""A rollout: a population through the timesteps of a scenario, in constant memory or with gradient.

Legend: N agents, A attributes, K channels.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from model.lsm.inputs import InputError, Question, SocialGraph, StepRecord, Timeline, Trigger
from model.lsm.lsm import LSM
from model.lsm.noise import standard_normal
from model.lsm.state import State
from model.lsm.triggers import TriggerWatch


def rollout(
    model: LSM,
    attributes_NA: Tensor,
    graph: SocialGraph,
    timeline: Timeline,
    questions: Sequence[Question],
    triggers: Sequence[Trigger],
    num_timesteps: int,
    *,
    seed: int,
    record: Callable[[StepRecord], None] | None = None,
    observed_channels_NK: Tensor | None = None,
    observed_answers: Sequence[Tensor] | None = None,
    agent_id_N: Tensor | None = None,
    counted_N: Tensor | None = None,
    agents_per_block: int | None = None,
) -> State:
    """Takes a population through a scenario and returns its last state.

    Under `torch.no_grad()` nothing but the current state is kept. Otherwise the last state, and every record, carries
    gradient with respect to the model's parameters and the timeline's valence, credibility and fractional exposure.
    The same seed gives the same bits on the same machine, whatever the number of threads and `agents_per_block`.

    Args:
        model: the student.
        attributes_NA: int64 attribute codes.
        graph: ties between the agents.
        timeline: events, those of triggers with start NEVER.
        questions: what is asked at every timestep; they also set the topic of the state.
        triggers: population thresholds that start events.
        num_timesteps: timesteps after the initial state.
        seed: 0 or more; fixes the initial noise.
        record: called with timesteps 0 (initial state) … num_timesteps, as they are computed.
        observed_channels_NK: known channels at timestep 0; NaN where unknown.
        observed_answers: known first answers [N, O] per question; rows of NaN where unknown.
        agent_id_N: int64, ids that the agents' noise goes by; None for 0 … N − 1.
        counted_N: bool, agents whose answers count towards triggers; None for all.
        agents_per_block: agents computed together, to bound memory.

    Raises:
        InputError: inputs do not fit the model or one another.
    """
    if num_timesteps < 0:
        raise InputError(f"num_timesteps is {num_timesteps}; allowed: 0 or more.")
    _check_codes("Timeline.source_type_V", timeline.source_type_V, model.config.num_source_types)
    _check_codes("SocialGraph.tie_type_E", graph.tie_type_E, model.config.num_tie_types)
    if timeline.num_events and timeline.embedding_VD.shape[1] != model.config.text_dim:
        raise InputError(
            f"Events have embeddings of length {timeline.embedding_VD.shape[1]}; allowed: {model.config.text_dim}, "
            "as the student was trained. Embed them with the student's text encoder."
        )
    watch = TriggerWatch(triggers, questions, timeline)
    if agent_id_N is None:
        agent_id_N = torch.arange(len(attributes_NA))
    noise_NR = standard_normal(seed, agent_id_N, model.noise_size(questions)).to(attributes_NA.device)
    state = model.initial_state(
        attributes_NA, observed_channels_NK, noise_NR, questions=questions, observed_answers=observed_answers
    )
    perception = None
    for timestep in range(num_timesteps + 1):
        if timestep > 0:
            state, perception = model.advance(state, graph, timeline, timestep, agents_per_block=agents_per_block)
        if record is not None or triggers:
            entry = model.describe(state, perception, timeline, timestep, questions, agents_per_block=agents_per_block)
            if record is not None:
                record(entry)
            timeline = watch.observe(timeline, timestep, entry.option_probabilities, counted_N)
    return state


def _check_codes(name: str, codes: Tensor, num_codes: int) -> None:
    if len(codes) and not 0 <= int(codes.min()) <= int(codes.max()) < num_codes:
        raise InputError(
            f"{name} ranges from {int(codes.min())} to {int(codes.max())}; allowed: 0 … {num_codes - 1}, "
            "as the model's config says."
        )
