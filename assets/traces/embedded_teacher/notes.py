"""What the embedded teacher is told about events, because it cannot read them: the scenario author's annotations.

Prompts show wordings only, to every teacher. A language model reads from them whether an event speaks for an option and
how believable it is. This teacher cannot, so it gets valence and credibility of each event from the scenario table.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl


@dataclass(frozen=True)
class EventNote:
    """Valence −1…1 towards the options with score 1, and credibility 0…1, as the scenario's author states them."""

    valence: float
    credibility: float


@dataclass(frozen=True)
class EventNotes:
    """Notes by scenario and event."""

    notes: Mapping[tuple[str, str], EventNote] = field(default_factory=dict)

    def find(self, scenario_id: str, event: str) -> EventNote | None:
        """The note on an event, if there is one."""
        return self.notes.get((scenario_id, event))


def notes_of(scenarios: pl.DataFrame) -> EventNotes:
    """The notes that a scenario table holds.

    Args:
        scenarios: rows of `scenarios`; questions are passed over.
    """
    events = scenarios.filter(pl.col("kind") != "question").select("scenario_id", "name", "valence", "credibility")
    return EventNotes({(scenario, name): EventNote(*rest) for scenario, name, *rest in events.iter_rows()})
