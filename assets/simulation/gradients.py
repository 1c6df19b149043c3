"""Derivatives of final shares with respect to events and ties, through the whole rollout, in reverse mode.

- *Reach* is a fraction of agents and has no derivative for one drawn audience. Its gradient is the straight-through
  one: every agent that the event could reach, drawn or not, counts as a little more exposed. It is exact where an
  agent's answer is linear in its exposure. Attention saturates, e·x / (1 + e·x) of exposure e, so that the slope of an
  agent not reached is x where being reached is worth x / (1 + x): the size can be off by hundreds.
- *Timing* is the soft schedule's: an event delayed by a fraction of a timestep is active by that fraction less at its
  first timestep and more after its last. The derivative is that of coming later. A little less costs next to nothing
  where attention saturates and a little more is worth the slope at no exposure, so that neither size nor sign need be
  those of a whole timestep.

Sizes by these two fields come from rollouts instead: `finite_differences.py`.

- *Framing* is an intensity, 1 as written and 0 for the content alone: the embedding moves along what the framing added.
- *Ties* of one type are stronger or weaker together, by a factor that is 1 as they are.

Triggers are thresholds: derivatives say what happens while the same triggers fire at the same timesteps.

Legend: N agents, V events, O options, P fields of an event, T tie types, E ties, D text dimensions.
"""

import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from assets.simulation.rollouts import RolloutInputs, steps_of
from model.lsm.lsm import LSM

EVENT_FIELDS = ("valence", "credibility", "exposure.reach", "at", "framing")
"""Fields of an event that derivatives are taken of, as scenario files name them."""

AGENT_TIMESTEPS_KEPT = 50_000
"""Agents × timesteps beyond which the way back computes timesteps again rather than keep some 12 KB for each."""


@dataclass(frozen=True)
class QuestionGradient:
    """Final shares of a question's options, their derivatives by event in the order of `EVENT_FIELDS`, and by ties."""

    share_O: np.ndarray
    derivative_PVO: np.ndarray
    tie_derivative_TO: np.ndarray


def final_shares(model: LSM, inputs: RolloutInputs) -> list[np.ndarray]:
    """Mean probability of each option at the last timestep over the scenario's population, per question."""
    with torch.no_grad():
        return [share_O.cpu().numpy() for share_O in _roll_out(model, inputs)]


def outcome_gradients(
    model: LSM, inputs: RolloutInputs, reachable_VN: Tensor, reach_V: Tensor, unframed_VD: Tensor
) -> list[QuestionGradient]:
    """Final shares and their derivatives with respect to every event and every type of tie, per question.

    Args:
        model: the student; its parameters take no part.
        inputs: the rollout.
        reachable_VN: bool, whom each event could reach were its reach 1.
        reach_V: reach of each event.
        unframed_VD: embedding of each event's content without its framing; the event's own where it has none.

    Source: Bengio, Léonard & Courville (2013), Estimating or propagating gradients through stochastic neurons for
    conditional computation, for the straight-through derivative of reach.
    """
    still = copy.deepcopy(model).requires_grad_(False)
    timeline, graph = inputs.timeline, inputs.graph
    delay_V, one_V = torch.zeros_like(timeline.valence_V), torch.ones_like(timeline.valence_V)
    factor_T = torch.ones(model.config.num_tie_types).to(one_V)
    valence_V, credibility_V, reach_V, delay_V, intensity_V, factor_T = leaves = tuple(
        values.detach().clone().requires_grad_()
        for values in (timeline.valence_V, timeline.credibility_V, reach_V, delay_V, one_V, factor_T)
    )
    change_V1 = (reach_V - reach_V.detach())[:, None]
    soft_timeline = replace(
        timeline,
        embedding_VD=unframed_VD + intensity_V[:, None] * (timeline.embedding_VD - unframed_VD),
        valence_V=valence_V,
        credibility_V=credibility_V,
        exposure_VN=timeline.exposure_VN.to(reach_V) + reachable_VN.to(reach_V) * change_V1,
        delay_V=delay_V,
    )
    soft_graph = replace(graph, strength_E=graph.strength_E * factor_T.index_select(0, graph.tie_type_E.long()))
    found = []
    for share_O in _roll_out(still, replace(inputs, timeline=soft_timeline, graph=soft_graph)):
        by_option = [
            torch.autograd.grad(share, leaves, retain_graph=True, materialize_grads=True) for share in share_O[:-1]
        ]
        events_PVO = _with_last(torch.stack([torch.stack(gradients[:-1]) for gradients in by_option], dim=2))
        ties_TO = _with_last(torch.stack([gradients[-1] for gradients in by_option], dim=1))
        found.append(QuestionGradient(share_O.detach().cpu().numpy(), events_PVO, ties_TO))
    return found


def _with_last(derivative_O: Tensor) -> np.ndarray:
    """Derivatives of all options from those of all but the last, since shares sum to one."""
    derivative_O = derivative_O.double()
    return torch.cat([derivative_O, -derivative_O.sum(-1, keepdim=True)], dim=-1).cpu().numpy()


def _roll_out(model: LSM, inputs: RolloutInputs) -> list[Tensor]:
    is_long = len(inputs.attributes_NA) * inputs.num_timesteps > AGENT_TIMESTEPS_KEPT
    state = None
    for step in steps_of(model, inputs, is_recorded=False, is_checkpointed=is_long):
        state = step.state
    assert state is not None, "a rollout has timestep 0"
    return [answer_NO[inputs.counted_N].double().mean(0) for answer_NO in model.answers(state, inputs.questions)]
