"""What the rollout keeps of a panel member between timesteps: state, answer, what was said aloud, memories."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_MEMORIES = 3
FIRST_SALIENCE = 0.12
"""Memories below this salience are not kept."""


@dataclass
class Mind:
    """What the rollout keeps of one panel member between timesteps."""

    channels: list[float] | None = None
    probabilities: list[float] | None = None
    statement: str | None = None
    memories: list[tuple[float, str]] = field(default_factory=list)


def remember(mind: Mind, row: Mapping[str, Any]) -> None:
    """Carries an answer over to the next timestep; a failed answer leaves the mind as it was, silent."""
    if row["channels"] is None:
        mind.statement = None
        return
    mind.channels, mind.probabilities = row["channels"], row["option_probabilities"]
    mind.statement = row["statement"] if row["will_share"] else None
    if row["memory_write"] and row["memory_salience"] >= FIRST_SALIENCE:
        mind.memories.append((row["memory_salience"], row["memory_write"]))
        mind.memories = sorted(mind.memories, key=lambda memory: -memory[0])[:MOST_MEMORIES]
