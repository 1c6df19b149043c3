"""The teacher rollout: a panel is asked step by step; what its members said is what the others hear one step later."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import openai
import polars as pl

from assets.traces.answers import MalformedAnswer, read_answer
from assets.traces.asking import Asker, all_of, is_fatal
from assets.traces.ledger import Answer, Ledger
from assets.traces.personas import render_personas
from assets.traces.plan import first_questions
from assets.traces.prompts import (
    Step,
    prompt_hash,
    render_event,
    render_statement,
    render_step,
    render_system,
    schema_hash,
)
from assets.traces.teachers import Teacher
from validation.contracts import CONTRACTS
from validation.exposure import exposed_agents

MOST_NEIGHBOURS = 5
MOST_MEMORIES = 3
FIRST_SALIENCE = 0.12
"""Memories below this salience are not kept."""
PROGRESS_SECONDS = 3.0


@dataclass
class Mind:
    """What the rollout keeps of one panel member between timesteps."""

    channels: list[float] | None = None
    probabilities: list[float] | None = None
    statement: str | None = None
    memories: list[tuple[float, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Elicitation:
    """`traces` are rows of `reasoning_traces`; the counts say what was sent and what the ledger knew."""

    traces: pl.DataFrame
    num_asked: int
    num_known: int
    cost_usd: float


@dataclass(frozen=True)
class _Society:
    """The panel: personas, whom each member listens to, and the tables that exposure needs."""

    panel: pl.DataFrame
    personas: Mapping[int, str]
    neighbours: Mapping[int, list[tuple[int, str]]]
    ties: pl.DataFrame
    media_sources: pl.DataFrame


def run_elicitation(
    plan: pl.DataFrame,
    scenarios: pl.DataFrame,
    agents: pl.DataFrame,
    ties: pl.DataFrame,
    media_sources: pl.DataFrame,
    *,
    teacher: Teacher,
    ledger_path: Path,
    budget_usd: float,
    seed: int,
    progress: Callable[[str], None] | None = None,
) -> Elicitation:
    """Carries out a plan; every planned request is answered, read from the ledger, or listed as failed.

    Args:
        plan: rows of `elicitation_plan`.
        scenarios: rows of `scenarios`.
        agents: rows of `agents`, the whole population.
        ties: rows of `ties`.
        media_sources: rows of `media_sources`.
        teacher: an open teacher.
        ledger_path: SQLite file that remembers every answer.
        budget_usd: most that may be spent according to the ledger.
        seed: seed of exposures and of the requests' seeds.
        progress: receives a line now and then.

    Raises:
        BudgetExceeded: the budget would be passed; what was bought is in the ledger.
        openai.APIConnectionError, openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError:
            nothing can be asked at all; timeouts and errors of single requests are listed as failed instead.
    """
    panel_ids = plan["agent_id"].unique().sort()
    panel = agents.filter(pl.col("agent_id").is_in(panel_ids.implode())).sort("agent_id")
    inside = ties.filter(
        (pl.col("tie_type") != "media")
        & pl.col("src").is_in(panel_ids.implode())
        & pl.col("dst").is_in(panel_ids.implode())
    ).sort(["dst", "strength", "src"], descending=[False, True, False])
    neighbours: dict[int, list[tuple[int, str]]] = {}
    for src, dst, tie_type in inside.select("src", "dst", "tie_type").iter_rows():
        heard = neighbours.setdefault(dst, [])
        if len(heard) < MOST_NEIGHBOURS and src not in [other for other, _ in heard]:
            heard.append((src, tie_type))
    society = _Society(panel, render_personas(panel, agents), neighbours, ties, media_sources)
    with Ledger(ledger_path) as ledger:
        asker = Asker(teacher, ledger, budget_usd)
        before = ledger.spent_usd
        rows = asyncio.run(_ask_all(asker, plan, scenarios, society, seed, progress or (lambda _: None)))
        spent = ledger.spent_usd - before
    traces = pl.DataFrame(rows, schema=CONTRACTS["reasoning_traces"].polars_schema())
    return Elicitation(traces, asker.num_asked, asker.num_known, spent)


async def _ask_all(
    asker: Asker,
    plan: pl.DataFrame,
    scenarios: pl.DataFrame,
    society: _Society,
    seed: int,
    progress: Callable[[str], None],
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    start = last = time.monotonic()
    try:
        for question in first_questions(scenarios).iter_rows(named=True):
            planned = plan.filter(pl.col("scenario_id") == question["scenario_id"])
            events = scenarios.filter(
                (pl.col("scenario_id") == question["scenario_id"]) & (pl.col("kind") != "question")
            ).sort("kind", "position")
            watch = _Triggers(events.filter(pl.col("trigger_question") == question["name"]).to_dicts())
            minds = {agent_id: Mind() for agent_id in society.panel["agent_id"]}
            reached = _Reached(society, seed)
            for (timestep,), requests in planned.sort("timestep").group_by("timestep", maintain_order=True):
                shown = reached.lines(_active(events, watch, int(str(timestep))), question)
                rows += await _ask_step(asker, question, int(str(timestep)), requests, shown, minds, society, seed)
                watch.observe(int(str(timestep)), question, minds)
                if time.monotonic() - last > PROGRESS_SECONDS:
                    last = time.monotonic()
                    done = asker.num_asked + asker.num_known
                    rate = done / (last - start)
                    progress(
                        f"{done:,} of {plan.height:,} requests, {rate:.0f} per second, "
                        f"{asker.ledger.spent_usd:.2f} USD, {(plan.height - done) / max(rate, 1e-9):.0f} s left"
                    )
    finally:
        await asker.teacher.client.close()
    return rows


class _Reached:
    """Whom each event reaches, computed once per event."""

    def __init__(self, society: _Society, seed: int) -> None:
        self.society = society
        self.seed = seed
        self.reached_by: dict[str, np.ndarray] = {}

    def lines(
        self, active: Sequence[Mapping[str, Any]], question: Mapping[str, Any]
    ) -> dict[int, list[tuple[str, str]]]:
        """Per agent, the names and lines of the active events that reach it."""
        shown: dict[int, list[tuple[str, str]]] = {}
        for event in active:
            if event["name"] not in self.reached_by:
                self.reached_by[event["name"]] = exposed_agents(
                    event, self.society.panel, self.society.ties, self.society.media_sources, self.seed
                )
            line = render_event(event, question)
            for agent_id in self.society.panel["agent_id"].to_numpy()[self.reached_by[event["name"]]]:
                shown.setdefault(int(agent_id), []).append((event["name"], line))
        return shown


class _Triggers:
    """Population triggers of the teacher rollout, on the panel's mean probabilities.

    Triggers that watch another question than the one asked cannot fire and are not among them.
    """

    def __init__(self, triggers: list[dict[str, Any]]) -> None:
        self.triggers = triggers
        self.held = dict.fromkeys((trigger["name"] for trigger in triggers), 0)
        self.fired_at: dict[str, int] = {}

    def observe(self, timestep: int, question: Mapping[str, Any], minds: Mapping[int, Mind]) -> None:
        """Counts how long each share has stayed above its threshold; a trigger fires for the timestep after."""
        known = [mind.probabilities for mind in minds.values() if mind.probabilities is not None]
        for trigger in self.triggers:
            index = question["options"].index(trigger["trigger_option"])
            share = float(np.mean([probabilities[index] for probabilities in known])) if known else 0.0
            is_above = share > trigger["share_above"]
            self.held[trigger["name"]] = self.held[trigger["name"]] + 1 if is_above else 0
            if self.held[trigger["name"]] >= trigger["hold_for"]:
                self.fired_at.setdefault(trigger["name"], timestep + 1)

    def start_of(self, name: str) -> int | None:
        """The timestep at which the trigger's event starts, once it has fired."""
        return self.fired_at.get(name)


def _active(events: pl.DataFrame, watch: _Triggers, timestep: int) -> list[dict[str, Any]]:
    """Events and fired triggers that are active: start ≤ timestep < start + duration."""
    active = []
    for event in events.iter_rows(named=True):
        start = event["timestep"] if event["kind"] == "event" else watch.start_of(event["name"])
        if start is not None and start <= timestep < start + event["duration"]:
            active.append(event)
    return active


async def _ask_step(
    asker: Asker,
    question: Mapping[str, Any],
    timestep: int,
    requests: pl.DataFrame,
    shown: Mapping[int, list[tuple[str, str]]],
    minds: dict[int, Mind],
    society: _Society,
    seed: int,
) -> list[dict[str, Any]]:
    """Asks every planned draw of one timestep at once, then updates the minds from first draws."""
    said = {agent_id: mind.statement for agent_id, mind in minds.items()}
    ids = {
        (agent_id, draw, name): custom_id
        for custom_id, agent_id, draw, name in requests.select(
            "custom_id", "agent_id", "draw", "elicitation_pass"
        ).iter_rows()
    }
    draws = sorted({(agent_id, draw) for agent_id, draw, _ in ids})
    outcomes = await asyncio.gather(
        *(
            _ask_draw(
                asker,
                question,
                timestep,
                (ids[agent_id, draw, "reaction"], ids[agent_id, draw, "classification"]),
                (agent_id, draw, seed),
                shown.get(agent_id, []),
                [(other, kind, said[other]) for other, kind in society.neighbours.get(agent_id, ()) if said[other]],
                minds[agent_id],
                society.personas[agent_id],
            )
            for agent_id, draw in draws
        ),
        return_exceptions=True,  # requests under way are paid for: wait for them, so that the ledger gets them
    )
    rows: list[dict[str, Any]] = []
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
        rows.append(outcome)
    for row in rows:
        if row["draw"] == 0:
            _remember(minds[row["agent_id"]], row)
    return rows


async def _ask_draw(
    asker: Asker,
    question: Mapping[str, Any],
    timestep: int,
    custom_ids: tuple[str, str],
    place: tuple[int, int, int],
    events: Sequence[tuple[str, str]],
    heard: Sequence[tuple[int, str, str | None]],
    mind: Mind,
    persona: str,
) -> dict[str, Any]:
    """Both passes of one draw, as a row of `reasoning_traces`."""
    agent_id, draw, seed = place
    state = (mind.channels, mind.probabilities) if mind.channels and mind.probabilities else None
    memories = [text for _, text in mind.memories]
    step = Step(
        timestep,
        exposures=[line for _, line in events],
        statements=[render_statement(other, kind, str(statement)) for other, kind, statement in heard],
        memories=[f"- {text}" for text in memories],
        state=state,
    )
    user = render_step(persona, question["timestep_unit"], step, question["options"])
    request_seed = (int(custom_ids[1][:8], 16) ^ seed) & 0x7FFFFFFF
    row: dict[str, Any] = {
        "custom_id": custom_ids[1],
        "kind": "rollout",
        "scenario_id": question["scenario_id"],
        "question_id": question["name"],
        "agent_id": agent_id,
        "timestep": timestep,
        "draw": draw,
        "repeat_group": f"{question['scenario_id']}|{agent_id}|{timestep}",
        "state_before": state[0] if state else [],
        "exposures": [name for name, _ in events],
        "neighbour_ids": [other for other, _, _ in heard],
        "neighbour_statements": [statement for _, _, statement in heard],
        "retrieved_memories": memories,
        "teacher": asker.teacher.label,
        "model": asker.teacher.model,
        "prompt_hash": prompt_hash(),
        "schema_hash": schema_hash(),
        "seed": request_seed,
        "channels": None,
        "is_refusal": False,
        "validation_status": "failed",
    }
    bought: list[Answer] = []
    try:
        messages = [
            {"role": "system", "content": render_system(question, "reaction")},
            {"role": "user", "content": user},
        ]
        reaction = await asker.ask(custom_ids[0], messages, request_seed, is_json=False)
        bought.append(reaction)
        if _is_refusal(reaction):
            return row | _refused(reaction) | all_of(bought)
        row["reaction"] = reaction.content
        messages = [
            {"role": "system", "content": render_system(question, "classification")},
            {"role": "user", "content": f"{user}\n\n## What the person thinks and says\n{reaction.content}"},
        ]
        row |= await _classify(asker, custom_ids[1], messages, request_seed, list(question["options"]), bought)
        if row["channels"] is not None:
            before = state[0] if state else row["channels"]
            row["channel_deltas"] = [now - then for now, then in zip(row["channels"], before, strict=True)]
    except openai.APIError as error:
        if is_fatal(error):
            raise
        row["rationale"] = f"failed: {type(error).__name__}"
    return row | all_of(bought)


async def _classify(
    asker: Asker,
    custom_id: str,
    messages: list[dict[str, str]],
    seed: int,
    options: list[str],
    bought: list[Answer],
) -> dict[str, Any]:
    """The classification; a malformed answer is asked for once more, then recorded as failed."""
    reason = ""
    for attempt, status in enumerate(("valid", "repaired")):
        key = custom_id if attempt == 0 else f"{custom_id}/repair"
        answer = await asker.ask(key, messages, seed + attempt, is_json=True)
        bought.append(answer)
        if _is_refusal(answer):
            return _refused(answer)
        try:
            return {**read_answer(str(answer.content), options), "validation_status": status}
        except MalformedAnswer as error:
            reason = str(error)
            messages = [
                *messages,
                {"role": "assistant", "content": str(answer.content)},
                {
                    "role": "user",
                    "content": f"That answer is malformed ({reason}). Answer again, as JSON of the schema.",
                },
            ]
    return {"rationale": f"failed: {reason[:200]}"}


def _is_refusal(answer: Answer) -> bool:
    return bool(answer.refusal) or answer.content is None


def _refused(answer: Answer) -> dict[str, Any]:
    return {"is_refusal": True, "rationale": f"refused: {(answer.refusal or 'no content')[:200]}"}


def _remember(mind: Mind, row: Mapping[str, Any]) -> None:
    """Carries an answer over to the next timestep; a failed answer leaves the mind as it was, silent."""
    if row["channels"] is None:
        mind.statement = None
        return
    mind.channels, mind.probabilities = row["channels"], row["option_probabilities"]
    mind.statement = row["statement"] if row["will_share"] else None
    if row["memory_write"] and row["memory_salience"] >= FIRST_SALIENCE:
        mind.memories.append((row["memory_salience"], row["memory_write"]))
        mind.memories = sorted(mind.memories, key=lambda memory: -memory[0])[:MOST_MEMORIES]
