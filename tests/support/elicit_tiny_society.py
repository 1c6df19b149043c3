"""Elicits a society of a few people from a teacher; as a script, so that a test can kill it.

Usage: python elicit_tiny_society.py FOLDER BASE_URL [MODE] [NAME]; writes NAME.parquet and keeps ledger.sqlite there.
"""

import sys
from pathlib import Path

import polars as pl

from assets.traces.asking import AskingOptions
from assets.traces.elicitation import Elicitation, run_elicitation
from assets.traces.plan import plan_elicitation
from assets.traces.scenario_schema import Scenario
from assets.traces.scenario_table import scenarios_table
from assets.traces.teachers import TeacherEndpoint, open_teacher
from validation.attributes import ATTRIBUTES
from validation.contracts import CONTRACTS

MODEL = "gpt-4o"
KEY = "sk-very-secret-key"
SEED = 5


def tiny_society(num_agents: int) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Agents in a ring of friends, and no media."""
    agents = pl.DataFrame(
        {
            "agent_id": range(num_agents),
            "household_id": range(num_agents),
            "respondent_id": [f"made-{index}" for index in range(num_agents)],
            "geography": "US-NY",
            "age": [20 + index % 60 for index in range(num_agents)],
            **{
                attribute.name: [attribute.levels[index % len(attribute.levels)] for index in range(num_agents)]
                for attribute in ATTRIBUTES
            },
            "imputed_attributes": [[] for _ in range(num_agents)],
        },
        schema=CONTRACTS["agents"].polars_schema(),
    )
    friends = [((i + step) % num_agents, i, "friend", 0.5) for i in range(num_agents) for step in (-1, 1)]
    ties = pl.DataFrame(friends, schema=CONTRACTS["ties"].polars_schema(), orient="row")
    return agents, ties, pl.DataFrame(schema=CONTRACTS["media_sources"].polars_schema())


def tiny_scenario(num_timesteps: int) -> pl.DataFrame:
    """One question, one event."""
    event = {
        "id": "talk",
        "at": 1,
        "source": {"name": "the mayor", "type": "government"},
        "channel": "broadcast",
        "framing": "a fair share",
        "content": "The mayor explains the tax.",
        "valence": 0.8,
        "credibility": 0.9,
        "exposure": {"reach": 1.0},
    }
    scenario = {
        "id": "tax",
        "title": "A tax",
        "description": "A tax is announced.",
        "question": {"id": "support", "text": "A tax?", "options": ["for", "against"]},
        "timesteps": {"count": max(1, num_timesteps), "unit": "week"},
        "events": [event],
    }
    return scenarios_table([Scenario.model_validate(scenario)])


def tiny_plan(num_agents: int, num_timesteps: int, teacher: str = "127.0.0.1", model: str = MODEL) -> pl.DataFrame:
    """Everybody, some of them twice."""
    return plan_elicitation(
        tiny_scenario(num_timesteps),
        list(range(num_agents)),
        teacher=teacher,
        model=model,
        max_timesteps=num_timesteps,
        repeat_share=0.2,
        num_draws=2,
        seed=SEED,
    )


def elicit(
    ledger_path: Path,
    base_url: str,
    *,
    num_agents: int = 20,
    num_timesteps: int = 1,
    model: str = MODEL,
    **options: object,
) -> Elicitation:
    """One elicitation; `options` are those of `AskingOptions`."""
    agents, ties, media_sources = tiny_society(num_agents)
    scenarios = tiny_scenario(num_timesteps)
    teacher = open_teacher(TeacherEndpoint(base_url, model, KEY), pl.DataFrame())
    plan = tiny_plan(num_agents, num_timesteps, teacher.label, teacher.model)
    settings = {"poll_seconds": 0.02, "timeout_seconds": 20.0, "budget_usd": 1_000.0, **options}
    return run_elicitation(
        plan,
        scenarios,
        agents,
        ties,
        media_sources,
        teacher=teacher,
        ledger_path=ledger_path,
        options=AskingOptions(**settings),  # pyright: ignore[reportArgumentType]
        seed=SEED,
    )


if __name__ == "__main__":
    folder, address, *rest = sys.argv[1:]
    mode, name = (rest + ["live", "traces"][len(rest) :])[:2]
    found = elicit(Path(folder) / "ledger.sqlite", address, mode=mode)
    found.traces.write_parquet(Path(folder) / f"{name}.parquet")
    print(found.num_asked, found.num_known)
