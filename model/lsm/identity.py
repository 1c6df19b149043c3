"""Who an agent is, what is being asked about, and the state it starts in.

Legend: N agents, A attributes, Z identity, D text dimensions, P topic, K channels, U latent, O options.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from model.lsm.config import LSMConfig
from model.lsm.dense import Dense, DenseBlock
from model.lsm.inputs import InputError, Question
from model.lsm.known_texts import KnownTexts

UNKNOWN = -1
"""Attribute code of a person of whom the attribute is not known."""


class Identity(nn.Module):
    """Static identity from attribute codes: one learned embedding per level, joined and mixed.

    An attribute that is not known stands at the mean of its levels.
    """

    def __init__(self, config: LSMConfig) -> None:
        super().__init__()
        self.levels = config.attribute_levels
        self.embedding = nn.Embedding(sum(self.levels), config.attribute_dim)
        nn.init.normal_(self.embedding.weight, std=0.5)
        width = config.attribute_dim * len(self.levels)
        self.mix = DenseBlock(width, 2 * config.identity_dim, config.identity_dim)

    def forward(self, attributes_NA: Tensor) -> Tensor:
        """Codes int64 [N, A], UNKNOWN where an attribute is not known → identity [N, Z].

        Raises:
            InputError: the number of attributes or a code does not fit the config.
        """
        if attributes_NA.ndim != 2 or attributes_NA.shape[1] != len(self.levels):
            raise InputError(
                f"Attribute codes have shape {list(attributes_NA.shape)}; allowed: [agents, {len(self.levels)}]."
            )
        if attributes_NA.dtype != torch.int64:
            raise InputError(f"Attribute codes are {attributes_NA.dtype}; allowed: torch.int64.")
        levels_A = torch.tensor(self.levels, device=attributes_NA.device)
        if len(attributes_NA) and bool(((attributes_NA < UNKNOWN) | (attributes_NA >= levels_A)).any()):
            lowest, highest = attributes_NA.amin(0).tolist(), attributes_NA.amax(0).tolist()
            raise InputError(
                f"Attribute codes range from {lowest} to {highest}; allowed: 0 up to below {list(self.levels)}, and "
                f"{UNKNOWN} for what is not known."
            )
        first_A = levels_A.cumsum(0) - levels_A
        level_NAD = self.embedding(attributes_NA.clamp(min=0) + first_A)
        is_unknown_NA = attributes_NA == UNKNOWN
        if bool(is_unknown_NA.any()):
            mean_AD = torch.stack([part.mean(0) for part in self.embedding.weight.split(self.levels)])
            level_NAD = torch.where(is_unknown_NA[..., None], mean_AD, level_NAD)
        return torch.tanh(self.mix(level_NAD.flatten(1)))


class Topic(nn.Module):
    """What a scenario's questions are about, and which way their scales point."""

    def __init__(self, config: LSMConfig) -> None:
        super().__init__()
        self.is_used = config.use_topic
        self.size = config.topic_dim
        self.wording = Dense(config.text_dim, config.topic_dim)
        self.direction = Dense(config.text_dim, config.topic_dim)
        self.known = KnownTexts(config.num_known_questions, config.text_dim)

    def forward(self, questions: Sequence[Question]) -> Tensor:
        """The topic [P]; zero without questions, or when the config leaves topics out."""
        weight = self.wording.weight
        if not self.is_used or not questions:
            return weight.new_zeros(self.size)
        scale = self.wording.in_features**0.5
        wording_QD = torch.stack([question.embedding_D for question in questions]).to(weight)
        directions = [question.option_scores_O @ question.option_embeddings_OD for question in questions]
        familiarity_Q = self.known.familiarity(wording_QD)[:, None]
        wording_D = (familiarity_Q * wording_QD).mean(0) * scale
        direction_D = (familiarity_Q * torch.stack(directions).to(weight)).mean(0) * scale
        return torch.tanh(self.wording(wording_D[None]) + self.direction(direction_D[None]))[0]


class InitialState(nn.Module):
    """Channels and latent before any event, from identity and topic.

    Channels are tanh(location + w(topic) ⊙ L · noise) with a lower triangular L: what attributes do not explain about a
    person is drawn, channels that go together in people go together in the draw, and people differ more widely on some
    topics than on others.
    """

    def __init__(self, config: LSMConfig) -> None:
        super().__init__()
        width = config.identity_dim + config.topic_dim
        self.has_latent = config.use_latent
        self.project = Dense(config.identity_dim, config.topic_dim)
        self.channels = DenseBlock(width + config.topic_dim, config.hidden_dim, config.num_channels)
        self.latent = DenseBlock(width + config.num_channels, config.hidden_dim, config.latent_dim)
        self.raw_scale_K = nn.Parameter(torch.full((config.num_channels,), -2.0))
        self.mixing_KK = nn.Parameter(torch.zeros(config.num_channels, config.num_channels))
        self.width = Dense(config.topic_dim, config.num_channels)
        nn.init.zeros_(self.width.weight)
        nn.init.zeros_(self.width.bias)

    @property
    def scale_K(self) -> Tensor:
        """Diagonal of `factor_KK`: spread of a channel's own noise before the tanh, above 0."""
        return nn.functional.softplus(self.raw_scale_K)

    @property
    def factor_KK(self) -> Tensor:
        """Lower triangular factor of the residuals' covariance before the tanh, at a width of one."""
        return torch.diag(self.scale_K) + torch.tril(self.mixing_KK, -1)

    def residual_parameters(self) -> Iterator[nn.Parameter]:
        """What sets the distribution of the residuals."""
        yield from (self.raw_scale_K, self.mixing_KK, *self.width.parameters())

    def widths(self, topic_P: Tensor) -> Tensor:
        """Factor on the residuals by topic, e⁻² … e²; [K], or [N, K] for topics [N, P]."""
        factor_NK = torch.exp(2 * torch.tanh(self.width(torch.atleast_2d(topic_P)) / 2))
        return factor_NK if topic_P.ndim == 2 else factor_NK[0]

    def residual(self, noise_NK: Tensor, topic_P: Tensor) -> Tensor:
        """Residuals with the covariance of `factor_KK`, widened by topic, from standard normal numbers, [N, K].

        Summed channel by channel, so that an agent's bits do not depend on who is drawn with it.
        """
        factor_KK, residual_NK = self.factor_KK, torch.zeros_like(noise_NK)
        for channel, noise_N in enumerate(noise_NK.unbind(1)):
            residual_NK = residual_NK + noise_N[:, None] * factor_KK[:, channel]
        return self.widths(topic_P) * residual_NK

    def locate(self, identity_NZ: Tensor, topic_P: Tensor) -> Tensor:
        """Location of the channels before the tanh, [N, K]."""
        topic_NP = topic_P.expand(len(identity_NZ), -1)
        meeting_NP = torch.tanh(self.project(identity_NZ)) * topic_NP
        return self.channels(torch.cat([identity_NZ, topic_NP, meeting_NP], 1))

    def complete(self, identity_NZ: Tensor, topic_P: Tensor, channels_NK: Tensor) -> Tensor:
        """The free latent that goes with the channels, [N, U]; zero when the config leaves it out."""
        if not self.has_latent:
            return channels_NK.new_zeros(len(channels_NK), self.latent.out.out_features)
        topic_NP = topic_P.expand(len(identity_NZ), -1)
        return torch.tanh(self.latent(torch.cat([identity_NZ, topic_NP, channels_NK], 1)))
