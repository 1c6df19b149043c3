"""What active events do to each agent: attention over the few active events, conditioned on identity and source trust.

An agent may also attend to nothing: weights are exposure · exp(score) ÷ (exp(null) + Σ exposure · exp(score)), so an
event that does not reach an agent contributes exactly nothing, and a fractional exposure is differentiable. Events are
added one after another, so that leaving one out changes no bit for agents whom it does not reach.

Legend: N agents, V events, D text dimensions, F message, Z identity, K channels, P topic, S sources.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.lsm.config import LSMConfig
from model.lsm.dense import Dense, DenseBlock, bounded_score
from model.lsm.inputs import Timeline
from model.lsm.known_texts import KnownTexts

NUM_PUSHES = 4
"""Attention, valence, credibility and their product pass through beside the learned message."""
LEAST_REMEMBERED = 0.5
"""Exposure from which an episode can be about the event: a trace of an event does not rename what peers made."""


@dataclass(frozen=True, eq=False)
class Heard:
    """What events did to each agent.

    `message_NF` [N, F + 4]; `exposure_N` 0 … 1, whether any event reached the agent; `top_event_N` int64, the event
    that got most attention, −1 where none reached the agent at least by half.
    """

    message_NF: Tensor
    exposure_N: Tensor
    top_event_N: Tensor


class Exposure(nn.Module):
    """Events → agents."""

    def __init__(self, config: LSMConfig) -> None:
        super().__init__()
        self.is_used = config.use_exposure
        self.size = config.message_dim + NUM_PUSHES
        source_dim = config.attribute_dim
        self.source_embedding = nn.Embedding(config.num_source_types, source_dim)
        self.text = Dense(config.text_dim, config.message_dim)
        self.event = DenseBlock(config.message_dim + 3 + source_dim, config.hidden_dim, 2 * config.message_dim)
        width = config.identity_dim + config.num_channels + config.topic_dim
        self.query = Dense(width, config.message_dim)
        self.source_trust = Dense(width, config.num_source_types)
        self.null_score = nn.Parameter(torch.zeros(()))
        self.known = KnownTexts(config.num_known_events, config.text_dim)

    def describe_events(self, timeline: Timeline) -> tuple[Tensor, Tensor]:
        """Key and value of every event, each [V, F]."""
        text_VD = self.known.read(timeline.embedding_VD.to(self.text.weight)) * self.text.in_features**0.5
        valence_V = timeline.valence_V.to(text_VD)
        credibility_V = timeline.credibility_V.to(text_VD)
        pushes_V3 = torch.stack([valence_V, credibility_V, valence_V * credibility_V], 1)
        source_VF = self.source_embedding(timeline.source_type_V)
        key_VF, value_VF = self.event(torch.cat([torch.tanh(self.text(text_VD)), pushes_V3, source_VF], 1)).chunk(2, 1)
        return key_VF, torch.tanh(value_VF)

    def forward(
        self,
        timeline: Timeline,
        timestep: int | Tensor,
        events: tuple[Tensor, Tensor],
        active: Sequence[tuple[int, int]],
        agents: slice | Tensor,
        identity_NZ: Tensor,
        channels_NK: Tensor,
        topic_P: Tensor,
    ) -> Heard:
        """What the active events do to a block of agents.

        Args:
            timeline: all events.
            timestep: the timestep.
            events: keys and values from `describe_events`.
            active: the active events, each with its kind of speaker.
            agents: the block's agents, by slice or number, as columns of the timeline's exposure.
            identity_NZ: identity of the block.
            channels_NK: channels of the block before the timestep.
            topic_P: topic of the scenario.
        """
        num_agents = len(identity_NZ)
        top_event_N = torch.full((num_agents,), -1, dtype=torch.int64, device=identity_NZ.device)
        sum_NF = identity_NZ.new_zeros(num_agents, self.size)
        missed_N = identity_NZ.new_ones(num_agents)
        if not self.is_used or not active:
            return Heard(sum_NF, 1 - missed_N, top_event_N)
        context = torch.cat([identity_NZ, channels_NK, topic_P.expand(num_agents, -1).contiguous()], 1)
        query_NF, trust_NS = self.query(context), torch.tanh(self.source_trust(context))
        activity_V = timeline.activity(timestep)
        highest_N = identity_NZ.new_zeros(num_agents)
        total_N = torch.exp(torch.tanh(self.null_score) * 4).expand(num_agents)
        for event, source in active:
            exposure_N = timeline.exposure_VN[event, agents].to(identity_NZ)
            if activity_V is not None:
                exposure_N = exposure_N * activity_V[event].to(exposure_N)
            score_N = bounded_score(query_NF, events[0][event]) + trust_NS[:, source]
            weight_N = exposure_N * score_N.exp()
            valence = timeline.valence_V[event].to(weight_N)
            credibility = timeline.credibility_V[event].to(weight_N)
            pushes_4 = torch.stack([torch.ones_like(valence), valence, credibility, valence * credibility])
            sum_NF = sum_NF + weight_N[:, None] * torch.cat([events[1][event], pushes_4])
            total_N = total_N + weight_N
            missed_N = missed_N * (1 - exposure_N)
            heeded_N = torch.where(exposure_N >= LEAST_REMEMBERED, weight_N, 0.0)
            top_event_N = torch.where(heeded_N > highest_N, event, top_event_N)
            highest_N = torch.maximum(heeded_N, highest_N)
        return Heard(sum_NF / total_N[:, None], 1 - missed_N, top_event_N)
