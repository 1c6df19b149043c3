"""A random typed graph and an untrained student of the shipped size, for benchmarks of the engine."""

import torch

from model.lsm.config import LSMConfig
from model.lsm.inputs import Question, SocialGraph, Timeline

ATTRIBUTE_LEVELS = (2, 6, 4, 2, 4, 3, 5, 4, 4, 3)
TEXT_DIM = 64


def random_graph(num_agents: int, ties_per_agent: int) -> SocialGraph:
    """Uniform ties of four types: the worst case for memory locality."""
    generator = torch.Generator().manual_seed(0)
    num_ties = num_agents * ties_per_agent
    return SocialGraph(
        offsets_N1=torch.arange(0, num_ties + 1, ties_per_agent),
        src_E=torch.randint(num_agents, (num_ties,), generator=generator, dtype=torch.int32),
        tie_type_E=torch.randint(4, (num_ties,), generator=generator, dtype=torch.uint8),
        strength_E=torch.rand(num_ties, generator=generator) * 0.9 + 0.1,
    )


def random_attributes(num_agents: int) -> torch.Tensor:
    """Attribute codes, uniform per attribute."""
    generator = torch.Generator().manual_seed(1)
    return torch.stack(
        [torch.randint(levels, (num_agents,), generator=generator) for levels in ATTRIBUTE_LEVELS], dim=1
    )


def one_question() -> Question:
    """A question with five ordinal options."""
    generator = torch.Generator().manual_seed(2)
    return Question(
        "benchmark",
        torch.randn(TEXT_DIM, generator=generator),
        torch.randn(5, TEXT_DIM, generator=generator),
        torch.linspace(1, -1, 5),
        is_ordinal=True,
    )


def two_events(num_agents: int) -> Timeline:
    """Two events that reach half of the agents each."""
    generator = torch.Generator().manual_seed(3)
    return Timeline(
        embedding_VD=torch.randn(2, TEXT_DIM, generator=generator),
        valence_V=torch.tensor([0.6, -0.4]),
        credibility_V=torch.tensor([0.8, 0.5]),
        source_type_V=torch.tensor([0, 1]),
        start_V=torch.tensor([1, 3]),
        duration_V=torch.tensor([4, 2]),
        exposure_VN=torch.rand(2, num_agents, generator=generator) < 0.5,
    )


CONFIG = LSMConfig(attribute_levels=ATTRIBUTE_LEVELS, text_dim=TEXT_DIM)
