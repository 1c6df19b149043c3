"""Rollouts in which one field of one event is otherwise and every random draw is kept.

Legend: N agents, V events.
"""

from dataclasses import dataclass, replace
from typing import Any

import polars as pl
import torch

from assets.simulation.rollouts import SHARED_DRAWS, RolloutInputs
from assets.tensors import exposure_mask

COLUMN_OF_FIELD = {"valence": "valence", "credibility": "credibility", "exposure.reach": "reach", "at": "timestep"}
"""Column of the scenarios table that holds each field that can be changed, as scenario files name it."""


@dataclass(frozen=True)
class ChangeableEvents:
    """A rollout whose events can be changed one by one, with the tables that audiences are drawn from.

    Attributes:
        inputs: the rollout as the scenario's file has it.
        events: rows of the scenarios table of kind event, by position.
        agents: agents of the rollout, in its order.
        ties: the ties table, ends in agent ids.
        media_sources: the media_sources table.
    """

    inputs: RolloutInputs
    events: pl.DataFrame
    agents: pl.DataFrame
    ties: pl.DataFrame
    media_sources: pl.DataFrame

    def value_in_file(self, index: int, field: str) -> float:
        """The field's value as the scenario's file has it; `at` in timesteps."""
        return float(self.events[COLUMN_OF_FIELD[field]][index])

    def changed(self, index: int, field: str, value: float) -> RolloutInputs:
        """The rollout with one field of one event changed; an audience grows and shrinks around the same draws.

        Args:
            index: position of the event.
            field: one of `COLUMN_OF_FIELD`.
            value: the new value; a whole number of timesteps, 1 or later, for `at`.
        """
        timeline = self.inputs.timeline
        if field == "exposure.reach":
            exposure_VN = timeline.exposure_VN.clone()
            exposure_VN[index] = self.audiences([self.events.row(index, named=True) | {"reach": value}])[0]
            return replace(self.inputs, timeline=replace(timeline, exposure_VN=exposure_VN))
        name = "start_V" if field == "at" else f"{COLUMN_OF_FIELD[field]}_V"
        changed_V = getattr(timeline, name).clone()
        changed_V[index] = int(value) if field == "at" else value
        return replace(self.inputs, timeline=replace(timeline, **{name: changed_V}))

    def audiences(self, events: list[dict[str, Any]]) -> torch.Tensor:
        """Whom some events reach, bool [V, N], by the draws of this rollout."""
        rows = pl.DataFrame(events, infer_schema_length=None).with_columns(scenario_id=pl.lit(SHARED_DRAWS))
        return exposure_mask(rows, self.agents, self.ties, self.media_sources, self.inputs.seed)
