"""The teacher rollout: a panel is asked step by step; what its members said is what the others hear one step later."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from assets.traces.asking import Asker
from assets.traces.draws import ask_draw
from assets.traces.event_reach import EventReach, Triggers, active_events
from assets.traces.ledger import Ledger
from assets.traces.minds import Mind, remember
from assets.traces.panel_society import PanelSociety, gather_society
from assets.traces.plan import first_questions
from assets.traces.teachers import Teacher
from validation.contracts import CONTRACTS

PROGRESS_SECONDS = 3.0


@dataclass(frozen=True)
class Elicitation:
    """`traces` are rows of `reasoning_traces`; the counts say what was sent and what the ledger knew."""

    traces: pl.DataFrame
    num_asked: int
    num_known: int
    cost_usd: float


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
    society = gather_society(plan["agent_id"].unique().sort(), agents, ties, media_sources)
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
    society: PanelSociety,
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
            watch = Triggers(events.filter(pl.col("trigger_question") == question["name"]).to_dicts())
            minds = {agent_id: Mind() for agent_id in society.panel["agent_id"]}
            reached = EventReach(society, seed)
            for (timestep,), requests in planned.sort("timestep").group_by("timestep", maintain_order=True):
                shown = reached.lines(active_events(events, watch, int(str(timestep))), question)
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


async def _ask_step(
    asker: Asker,
    question: Mapping[str, Any],
    timestep: int,
    requests: pl.DataFrame,
    shown: Mapping[int, list[tuple[str, str]]],
    minds: dict[int, Mind],
    society: PanelSociety,
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
            ask_draw(
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
            remember(minds[row["agent_id"]], row)
    return rows
