"""Which events are active at a timestep of the teacher rollout, and whom they reach; triggers included."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from assets.traces.minds import Mind
from assets.traces.panel_society import PanelSociety
from assets.traces.prompts import render_event
from model.lsm.hysteresis import Hysteresis, lower_level
from validation.exposure import exposed_agents


class EventReach:
    """Whom each event reaches, computed once per event."""

    def __init__(self, society: PanelSociety, seed: int) -> None:
        self.society = society
        self.seed = seed
        self.reached_by: dict[str, np.ndarray] = {}

    def lines(self, active: Sequence[Mapping[str, Any]]) -> dict[int, list[tuple[str, str]]]:
        """Per agent, the names and lines of the active events that reach it."""
        shown: dict[int, list[tuple[str, str]]] = {}
        for event in active:
            if event["name"] not in self.reached_by:
                self.reached_by[event["name"]] = exposed_agents(
                    event, self.society.panel, self.society.ties, self.society.media_sources, self.seed
                )
            line = render_event(event)
            for agent_id in self.society.panel["agent_id"].to_numpy()[self.reached_by[event["name"]]]:
                shown.setdefault(int(agent_id), []).append((event["name"], line))
        return shown


class Triggers:
    """Population triggers of a scenario, on the panel's mean probabilities; each watches one of its questions."""

    def __init__(self, triggers: list[dict[str, Any]]) -> None:
        self.triggers = triggers
        self.seen = {
            one["name"]: Hysteresis(
                one["share_above"], lower_level(one["share_above"], one["rearm_below"]), one["hold_for"]
            )
            for one in triggers
        }
        self.fired_at: dict[str, int] = {}

    def observe(self, timestep: int, question: Mapping[str, Any], minds: Mapping[int, Mind]) -> None:
        """Counts how long the shares of one question have stayed above their thresholds.

        A trigger fires for the timestep after, and again only after the share has fallen to its lower level.
        """
        known = [mind.probabilities for mind in minds.values() if mind.probabilities is not None]
        for trigger in self.triggers:
            if trigger["trigger_question"] != question["name"]:
                continue
            index = question["options"].index(trigger["trigger_option"])
            share = float(np.mean([probabilities[index] for probabilities in known])) if known else 0.0
            if self.seen[trigger["name"]].fires(share):
                self.fired_at[trigger["name"]] = timestep + 1

    def start_of(self, name: str) -> int | None:
        """The timestep at which the trigger's event starts, once it has fired; the last one, where it has again."""
        return self.fired_at.get(name)


def active_events(events: pl.DataFrame, watch: Triggers, timestep: int) -> list[dict[str, Any]]:
    """Events and fired triggers that are active: start ≤ timestep < start + duration."""
    active = []
    for event in events.iter_rows(named=True):
        start = event["timestep"] if event["kind"] == "event" else watch.start_of(event["name"])
        if start is not None and start <= timestep < start + event["duration"]:
            active.append(event)
    return active
