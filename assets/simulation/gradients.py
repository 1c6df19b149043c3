"""Derivatives of final shares with respect to events, through the whole rollout, in reverse mode.

Reach is a fraction of agents and has no derivative for a single drawn audience. Its gradient is the straight-through
one: every agent that the event could reach, drawn or not, counts as a little more exposed. It is exact where an agent's
answer is linear in its exposure, and off in size, rarely in sign, where attention to the event saturates. Triggers are
thresholds: derivatives say what happens while the same triggers fire at the same timesteps.

Legend: N agents, V events, O options, P fields of an event.
"""

import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from assets.simulation.rollouts import AGENTS_PER_BLOCK, RolloutInputs
from model.lsm.lsm import LSM
from model.lsm.rollout import rollout

EVENT_FIELDS = ("valence", "credibility", "exposure.reach")
"""Fields of an event that derivatives are taken of, as scenario files name them."""


@dataclass(frozen=True)
class QuestionGradient:
    """Final shares of one question's options and their derivatives, in the order of `EVENT_FIELDS`."""

    share_O: np.ndarray
    derivative_PVO: np.ndarray


def final_shares(model: LSM, inputs: RolloutInputs) -> list[np.ndarray]:
    """Mean probability of each option at the last timestep over the scenario's population, per question."""
    with torch.no_grad():
        return [share_O.cpu().numpy() for share_O in _roll_out(model, inputs)]


def event_gradients(model: LSM, inputs: RolloutInputs, reachable_VN: Tensor, reach_V: Tensor) -> list[QuestionGradient]:
    """Final shares and their derivatives with respect to every event, per question.

    Args:
        model: the student; its parameters take no part.
        inputs: the rollout.
        reachable_VN: bool, whom each event could reach were its reach 1.
        reach_V: reach of each event.

    Source: Bengio, Léonard & Courville (2013), Estimating or propagating gradients through stochastic neurons for
    conditional computation, for the straight-through derivative of reach.
    """
    still = copy.deepcopy(model).requires_grad_(False)
    timeline = inputs.timeline
    valence_V, credibility_V, reach_V = (
        values.detach().clone().requires_grad_() for values in (timeline.valence_V, timeline.credibility_V, reach_V)
    )
    change_V1 = (reach_V - reach_V.detach())[:, None]
    soft_VN = timeline.exposure_VN.to(reach_V) + reachable_VN.to(reach_V) * change_V1
    soft_timeline = replace(timeline, valence_V=valence_V, credibility_V=credibility_V, exposure_VN=soft_VN)
    found = []
    for share_O in _roll_out(still, replace(inputs, timeline=soft_timeline)):
        derivative_OPV = [
            torch.stack(
                torch.autograd.grad(
                    share, (valence_V, credibility_V, reach_V), retain_graph=True, materialize_grads=True
                )
            )
            for share in share_O[:-1]
        ]
        derivative_OPV.append(-torch.stack(derivative_OPV).sum(0))
        derivative_PVO = torch.stack(derivative_OPV, dim=2).double()
        found.append(QuestionGradient(share_O.detach().cpu().numpy(), derivative_PVO.cpu().numpy()))
    return found


def _roll_out(model: LSM, inputs: RolloutInputs) -> list[Tensor]:
    state = rollout(
        model,
        inputs.attributes_NA,
        inputs.graph,
        inputs.timeline,
        inputs.questions,
        inputs.triggers,
        inputs.num_timesteps,
        seed=inputs.seed,
        agent_id_N=inputs.agent_id_N,
        counted_N=inputs.counted_N,
        agents_per_block=AGENTS_PER_BLOCK,
    )
    return [answer_NO[inputs.counted_N].double().mean(0) for answer_NO in model.answers(state, inputs.questions)]
