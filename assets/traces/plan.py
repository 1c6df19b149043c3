"""Plans an elicitation: every request with its `custom_id`, expected tokens and cost, before anything is sent."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import yaml

from assets.traces.prompts import PASSES, prompt_hash, render_system, schema_hash
from validation.exposure import uniform_per_agent

PRICES_PATH = Path(__file__).with_name("prices.yaml")
CHARACTERS_PER_TOKEN = 4.0
STEP_CHARACTERS = 1_800
COMPLETION_TOKENS = {"reaction": 90, "classification": 420}


@dataclass(frozen=True)
class Price:
    """Dollars per million tokens of one model on the day that the price file names."""

    prompt_usd: float
    completion_usd: float

    def cost_usd(self, prompt_tokens: float, completion_tokens: float) -> float:
        """Cost of one request."""
        return (prompt_tokens * self.prompt_usd + completion_tokens * self.completion_usd) / 1e6


@cache
def find_price(model: str, path: Path = PRICES_PATH) -> Price:
    """The price of a model; models that are not listed take the entry `other`, which is deliberately dear."""
    table = yaml.safe_load(path.read_text(encoding="utf-8"))["models"]
    entry = table.get(model.split("@")[0]) or table["other"]
    return Price(float(entry["prompt_usd"]), float(entry["completion_usd"]))


def request_id(model: str, scenario_hash: str, agent_id: int, timestep: int, draw: int, elicitation_pass: str) -> str:
    """The cache key of a request: equal keys are asked, and paid for, once.

    `scenario_hash` identifies scenario and question by content, so that an edited scenario is asked again.
    """
    parts = (model, prompt_hash(), schema_hash(), scenario_hash, agent_id, timestep, draw, elicitation_pass)
    return hashlib.sha256("|".join(str(part) for part in parts).encode()).hexdigest()


def plan_elicitation(
    scenarios: pl.DataFrame,
    panel: Sequence[int],
    *,
    teacher: str,
    model: str,
    max_timesteps: int,
    repeat_share: float,
    num_draws: int,
    seed: int,
) -> pl.DataFrame:
    """Every request of a teacher rollout: panel × question × timestep × pass, some of them drawn several times.

    Args:
        scenarios: rows of `scenarios`.
        panel: agent ids.
        teacher: label of the teacher.
        model: model name that will be sent.
        max_timesteps: cap on the scenarios' timesteps; timestep 0 comes on top.
        repeat_share: fraction of (agent, timestep) pairs drawn `num_draws` times, for the noise floor.
        num_draws: draws of those pairs, the first included.
        seed: fixes which pairs are repeated.

    Returns:
        Rows of `elicitation_plan`.
    """
    agent_ids = np.asarray(panel, dtype=np.int64)
    price = find_price(model)
    rows: list[dict[str, object]] = []
    for question in first_questions(scenarios).iter_rows(named=True):
        prompt_tokens = {
            name: round((len(render_system(question, name)) + STEP_CHARACTERS) / CHARACTERS_PER_TOKEN)
            for name in PASSES
        }
        for timestep in range(min(question["num_timesteps"], max_timesteps) + 1):
            key = f"repeat/{question['scenario_id']}/{timestep}"
            is_repeated = uniform_per_agent(key, agent_ids, seed) < repeat_share
            for agent_id, repeats in zip(agent_ids.tolist(), is_repeated.tolist(), strict=True):
                for draw in range(num_draws if repeats else 1):
                    for name in PASSES:
                        rows.append(
                            {
                                "custom_id": request_id(
                                    model, question["content_hash"], agent_id, timestep, draw, name
                                ),
                                "scenario_id": question["scenario_id"],
                                "agent_id": agent_id,
                                "timestep": timestep,
                                "draw": draw,
                                "elicitation_pass": name,
                                "estimated_prompt_tokens": prompt_tokens[name],
                                "estimated_completion_tokens": COMPLETION_TOKENS[name],
                                "estimated_cost_usd": price.cost_usd(prompt_tokens[name], COMPLETION_TOKENS[name]),
                            }
                        )
    return pl.DataFrame(rows, schema_overrides={"timestep": pl.Int32, "draw": pl.Int32}).with_columns(
        teacher=pl.lit(teacher),
        model=pl.lit(model),
        prompt_hash=pl.lit(prompt_hash()),
        schema_hash=pl.lit(schema_hash()),
    )


def first_questions(scenarios: pl.DataFrame) -> pl.DataFrame:
    """The question that a teacher rollout asks in each scenario: the first one of its file."""
    questions = scenarios.filter((pl.col("kind") == "question") & (pl.col("position") == 0))
    return questions.sort("scenario_id")
