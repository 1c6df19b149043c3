"""Episodic memory: what an agent remembers of single timesteps, how it recalls them, and what it forgets.

A slot holds a reference to an event, when it happened, how salient it was and how it was taken; the content is read
from the event itself. Recall is content-addressed and may come back with nothing. The slot that counts least is
replaced by a more salient timestep. What is stored carries gradient; which slot is replaced does not.

Legend: N agents, M slots, V events, F message, C context.
"""

import math

import torch
from torch import Tensor, nn

from model.lsm.config import LSMConfig
from model.lsm.dense import Dense, DenseBlock, bounded_score, sigmoid
from model.lsm.state import PEERS, Episodes, Perception

NUM_TRACES = 2
"""Recalled weight and recalled appraisal pass through beside the recalled content."""


def no_episodes(num_agents: int, num_slots: int, like: Tensor) -> Episodes:
    """Empty memories."""
    empty_NM = torch.full((num_agents, num_slots), PEERS, dtype=torch.int32, device=like.device)
    zeros_NM = like.new_zeros(num_agents, num_slots)
    return Episodes(
        event_NM=empty_NM, timestep_NM=torch.zeros_like(empty_NM), salience_NM=zeros_NM, appraisal_NM=zeros_NM
    )


class EpisodicMemory(nn.Module):
    """Recall and storage of episodes."""

    def __init__(self, config: LSMConfig) -> None:
        super().__init__()
        self.is_used = config.use_episodes
        self.num_slots = config.num_episode_slots if config.use_episodes else 0
        self.threshold = config.salience_threshold
        self.half_life = config.salience_half_life
        self.size = config.message_dim + NUM_TRACES
        self.query = Dense(config.num_channels + config.latent_dim, config.message_dim)
        self.key = Dense(config.message_dim, config.message_dim)
        self.value = Dense(config.message_dim, config.message_dim)
        self.peers_F = nn.Parameter(torch.zeros(config.message_dim))

    def strength(self, episodes: Episodes, timestep: int | Tensor) -> Tensor:
        """How much each slot counts at a timestep, 0 … 1, [N, M]: salience above the threshold, fading with age.

        Source: exponential forgetting; Ebbinghaus (1885), Memory, chapter 7, in the form of a half-life.
        """
        age_NM = (timestep - episodes.timestep_NM).to(episodes.salience_NM)
        above_NM = torch.relu(episodes.salience_NM - self.threshold) / (1 - self.threshold)
        return above_NM * torch.exp(-age_NM * (math.log(2) / self.half_life))

    def recall(
        self, episodes: Episodes, strength_NM: Tensor, begun: list[int], values_VF: Tensor, mind_NC: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What agents recall, [N, F + 2], and how vivid their most vivid episode is, 0 … 1, [N]; zero without episodes.

        Args:
            episodes: memories before the timestep.
            strength_NM: how much each slot counts, from `strength`.
            begun: events that have begun: only they can be remembered.
            values_VF: content of every event.
            mind_NC: channels and latent before the timestep.
        """
        nothing_N = mind_NC.new_zeros(len(mind_NC))
        if not self.is_used:
            return mind_NC.new_zeros(len(mind_NC), self.size), nothing_N
        content_NF = mind_NC.new_zeros(len(mind_NC), self.size - NUM_TRACES)
        traces = (nothing_N, nothing_N)
        query_NF = self.query(mind_NC)
        contents = {PEERS: torch.tanh(self.peers_F)} | {event: values_VF[event] for event in begun}
        total_N = mind_NC.new_ones(len(mind_NC))
        for event, content_F in contents.items():
            slot_NM = strength_NM * (episodes.event_NM == event)
            key_F, value_F = self.key(content_F[None])[0], torch.tanh(self.value(content_F[None])[0])
            pull_N = bounded_score(query_NF, key_F).exp()
            weight_N = pull_N * slot_NM.sum(1)
            appraisal_N = pull_N * (slot_NM * episodes.appraisal_NM).sum(1)
            content_NF = content_NF + weight_N[:, None] * value_F
            traces = (traces[0] + weight_N, traces[1] + appraisal_N)
            total_N = total_N + weight_N
        recalled_NF = torch.cat([content_NF, torch.stack(traces, 1)], 1)
        return recalled_NF / total_N[:, None], strength_NM.amax(1)

    def store(
        self, episodes: Episodes, strength_NM: Tensor, timestep: int | Tensor, perception: Perception
    ) -> Episodes:
        """Memories after the timestep: it replaces the slot that counts least, where it counts more itself.

        Args:
            episodes: memories before the timestep.
            strength_NM: how much each slot counts, from `strength`.
            timestep: the timestep.
            perception: what the timestep did to the agents.
        """
        if not self.is_used:
            return episodes
        strength_NM = strength_NM.detach()
        weakest_N = strength_NM.argmin(1)
        new_N = torch.relu(perception.salience_N.detach() - self.threshold) / (1 - self.threshold)
        is_kept_N = new_N > strength_NM.gather(1, weakest_N[:, None])[:, 0]
        slots_M = torch.arange(self.num_slots, device=weakest_N.device)
        is_new_NM = slots_M == torch.where(is_kept_N, weakest_N, -1)[:, None]
        event_N = perception.episode_event_N.to(torch.int32)
        return Episodes(
            event_NM=torch.where(is_new_NM, event_N[:, None], episodes.event_NM),
            timestep_NM=episodes.timestep_NM.masked_fill(is_new_NM, timestep),
            salience_NM=torch.where(is_new_NM, perception.salience_N[:, None], episodes.salience_NM),
            appraisal_NM=torch.where(is_new_NM, perception.appraisal_N[:, None], episodes.appraisal_NM),
        )


class Appraisal(nn.Module):
    """How strongly a timestep is felt, and how it is taken: both exactly 0 for agents whom nothing reached."""

    def __init__(self, config: LSMConfig, num_inputs: int) -> None:
        super().__init__()
        self.felt = DenseBlock(num_inputs, config.hidden_dim // 2, 2)

    def forward(self, taken_in_NI: Tensor, received_N: Tensor, exposed_N: Tensor, top_event_N: Tensor) -> Perception:
        """The timestep's perception.

        Args:
            taken_in_NI: channels, latent and the messages of the timestep.
            received_N: 0 … 1, whether events or peers reached the agent.
            exposed_N: bool, whether an event reached the agent.
            top_event_N: the event that got most attention, −1 for peers.
        """
        salience_N, appraisal_N = self.felt(taken_in_NI).unbind(1)
        return Perception(
            exposed_N=exposed_N,
            salience_N=sigmoid(salience_N) * received_N,
            episode_event_N=top_event_N,
            appraisal_N=torch.tanh(appraisal_N) * received_N,
        )
