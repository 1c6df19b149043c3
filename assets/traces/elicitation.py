"""The teacher rollout: a panel is asked step by step; what its members said is what the others hear one step later.

All scenarios and all questions of a scenario advance together, so that a timestep is one wave of reactions and one of
their classifications: the server is kept busy, and a batch holds as much as it can. Each question is a rollout of its
own, in which people answer that question only; what they answer counts for the triggers of the whole scenario.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from assets.traces.asking import Asker, AskingOptions, Counts, Till, Transport, tell_regularly
from assets.traces.batches import Batches
from assets.traces.draws import Draw, Planned
from assets.traces.event_reach import EventReach, Triggers, active_events
from assets.traces.ledger import Ledger
from assets.traces.ledger_queue import LedgerQueue
from assets.traces.live import Live
from assets.traces.minds import Mind, remember
from assets.traces.panel_society import PanelSociety, gather_society
from assets.traces.plan import asked_questions
from assets.traces.progress import Meter
from assets.traces.teachers import Teacher
from validation.contracts import CONTRACTS

PROGRESS_SECONDS = 3.0
ADOPTION_SECONDS = 5.0
"""How often abandoned batches are looked for."""


@dataclass(frozen=True)
class Elicitation:
    """`traces` are rows of `reasoning_traces`; the counts say what was sent and what the ledger knew."""

    traces: pl.DataFrame
    num_asked: int
    num_known: int
    cost_usd: float


@dataclass
class _Rollout:
    """One question of a scenario: what is planned, and what each member carries from step to step."""

    question: Mapping[str, Any]
    events: pl.DataFrame
    steps: Mapping[int, pl.DataFrame]
    triggers: Triggers
    minds: dict[int, Mind]


def run_elicitation(
    plan: pl.DataFrame,
    scenarios: pl.DataFrame,
    agents: pl.DataFrame,
    ties: pl.DataFrame,
    media_sources: pl.DataFrame,
    *,
    teacher: Teacher,
    ledger_path: Path,
    options: AskingOptions,
    seed: int,
    progress: Callable[[str], None] | None = None,
    transport: Transport | None = None,
) -> Elicitation:
    """Carries out a plan; every planned request is answered, read from the ledger, or listed as failed.

    Args:
        plan: rows of `elicitation_plan`.
        scenarios: rows of `scenarios`.
        agents: rows of `agents`, the whole population.
        ties: rows of `ties`.
        media_sources: rows of `media_sources`.
        teacher: an open teacher; its client is closed at the end.
        ledger_path: SQLite file that remembers every answer.
        options: how the teacher is asked, and the budget.
        seed: seed of exposures and of the requests' seeds.
        progress: receives a line now and then.
        transport: what gets the answers that the ledger lacks, instead of what the options choose; batches at the
            server are then left alone.

    Raises:
        BudgetExceeded: the budget would be passed; what was bought is in the ledger.
        TeacherUnusable: nothing can be asked at all; errors of single requests are listed as failed instead.
        LedgerError: the ledger cannot be written, for example because the disk is full.
    """
    society = gather_society(plan["agent_id"].unique().sort(), agents, ties, media_sources)
    counts = Counts()
    with Ledger(ledger_path) as ledger:
        ledger.close_abandoned()
        rows = asyncio.run(
            _elicit(
                plan,
                scenarios,
                society,
                teacher,
                ledger,
                options,
                seed,
                counts,
                progress or (lambda _: None),
                transport,
            )
        )
    traces = pl.DataFrame(rows, schema=CONTRACTS["reasoning_traces"].polars_schema())
    return Elicitation(traces, counts.num_asked, counts.num_known, counts.cost_usd)


async def _elicit(
    plan: pl.DataFrame,
    scenarios: pl.DataFrame,
    society: PanelSociety,
    teacher: Teacher,
    ledger: Ledger,
    options: AskingOptions,
    seed: int,
    counts: Counts,
    progress: Callable[[str], None],
    transport: Transport | None,
) -> list[dict[str, Any]]:
    """Opens what asking needs, asks, and closes it whatever happens."""
    meter = Meter(counts, plan.height)
    async with LedgerQueue(ledger) as queue:
        till = Till(teacher, queue, options, counts)
        batches = Batches(till)
        chosen = transport or (batches if options.mode == "batch" else Live(till))
        asker = Asker(queue, chosen, counts)
        beside = [asyncio.create_task(tell_regularly(lambda: progress(meter.line()), PROGRESS_SECONDS))]
        if transport is None:
            beside.append(asyncio.create_task(_adopt_regularly(batches, till)))
        try:
            return await _roll_out(asker, plan, scenarios, society, teacher, seed)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await teacher.client.close()


async def _adopt_regularly(batches: Batches, till: Till) -> None:
    """Brings home what killed processes left at the server, for as long as something is asked."""
    while till.stopped_by is None:
        try:
            await batches.adopt()
        except Exception as error:  # whatever ends the adoption ends the run, which would wait for its batches for ever
            till.stop(error)
        await asyncio.sleep(ADOPTION_SECONDS)


async def _roll_out(
    asker: Asker, plan: pl.DataFrame, scenarios: pl.DataFrame, society: PanelSociety, teacher: Teacher, seed: int
) -> list[dict[str, Any]]:
    """All rollouts of the plan, step by step."""
    rollouts = _rollouts(plan, scenarios, society)
    reached = {rollout.question["scenario_id"]: EventReach(society, seed) for rollout in rollouts}
    rows: list[dict[str, Any]] = []
    for timestep in sorted({timestep for rollout in rollouts for timestep in rollout.steps}):
        draws: list[Draw] = []
        owners: list[_Rollout] = []
        for rollout in rollouts:
            if timestep in rollout.steps:
                active = active_events(rollout.events, rollout.triggers, timestep)
                shown = reached[rollout.question["scenario_id"]].lines(active)
                new = _draws(rollout, timestep, shown, society, teacher, seed)
                draws += new
                owners += [rollout] * len(new)
        await _ask_step(asker, draws)
        for rollout, draw in zip(owners, draws, strict=True):
            row = draw.row()
            rows.append(row)
            if row["draw"] == 0:
                remember(rollout.minds[row["agent_id"]], row)
        for rollout in rollouts:
            if timestep in rollout.steps:
                rollout.triggers.observe(timestep, rollout.question, rollout.minds)
    places = {
        (rollout.question["scenario_id"], rollout.question["name"]): place for place, rollout in enumerate(rollouts)
    }
    return sorted(rows, key=lambda row: places[row["scenario_id"], row["question_id"]])


def _rollouts(plan: pl.DataFrame, scenarios: pl.DataFrame, society: PanelSociety) -> list[_Rollout]:
    """One rollout per planned question; questions of a scenario share its triggers."""
    found: list[_Rollout] = []
    watched: dict[str, Triggers] = {}
    for question in asked_questions(scenarios).iter_rows(named=True):
        scenario_id = question["scenario_id"]
        planned = plan.filter((pl.col("scenario_id") == scenario_id) & (pl.col("question_id") == question["name"]))
        events = scenarios.filter((pl.col("scenario_id") == scenario_id) & (pl.col("kind") != "question"))
        events = events.sort("kind", "position")
        triggers = watched.setdefault(scenario_id, Triggers(events.filter(pl.col("kind") == "trigger").to_dicts()))
        steps = {int(str(timestep)): step for (timestep,), step in planned.group_by("timestep")}
        minds = {agent_id: Mind() for agent_id in society.panel["agent_id"]}
        found.append(_Rollout(question, events, steps, triggers, minds))
    return found


def _draws(
    rollout: _Rollout,
    timestep: int,
    shown: Mapping[int, list[tuple[str, str]]],
    society: PanelSociety,
    teacher: Teacher,
    seed: int,
) -> list[Draw]:
    """Every planned draw of one question at one timestep, by agent and draw."""
    ids = {
        (agent_id, draw, name): custom_id
        for custom_id, agent_id, draw, name in rollout.steps[timestep]
        .select("custom_id", "agent_id", "draw", "elicitation_pass")
        .iter_rows()
    }
    said = {agent_id: mind.statement for agent_id, mind in rollout.minds.items()}
    draws = []
    for agent_id, draw in sorted({(agent_id, draw) for agent_id, draw, _ in ids}):
        planned = Planned(
            agent_id,
            timestep,
            draw,
            ids[agent_id, draw, "reaction"],
            ids[agent_id, draw, "classification"],
            teacher.label,
            teacher.model,
        )
        heard = [
            (other, kind, statement)
            for other, kind in society.neighbours.get(agent_id, ())
            if (statement := said[other])
        ]
        events = shown.get(agent_id, [])
        mind, persona = rollout.minds[agent_id], society.personas[agent_id]
        draws.append(Draw(rollout.question, planned, seed, events, heard, mind, persona))
    return draws


async def _ask_step(asker: Asker, draws: list[Draw]) -> None:
    """Both passes of the draws of one timestep, and the repair of what was malformed."""
    outcomes = await asker.ask([draw.reaction_request() for draw in draws])
    draws = [draw for draw, outcome in zip(draws, outcomes, strict=True) if draw.take_reaction(outcome)]
    outcomes = await asker.ask([draw.classification_request() for draw in draws])
    draws = [draw for draw, outcome in zip(draws, outcomes, strict=True) if draw.take_classification(outcome)]
    for draw, outcome in zip(draws, await asker.ask([draw.repair_request() for draw in draws]), strict=True):
        draw.take_repair(outcome)
