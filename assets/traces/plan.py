"""Plans an elicitation: every request with its `custom_id`, expected tokens and cost, before anything is sent."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from assets.traces.completions import CHARACTERS_PER_TOKEN
from assets.traces.prices import find_price
from assets.traces.prompts import PASSES, prompt_hash, render_system, schema_hash
from validation.exposure import uniform_per_agent

STEP_CHARACTERS = 1_800
COMPLETION_TOKENS = {"reaction": 90, "classification": 420}


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
    is_batch: bool = False,
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
        is_batch: whether prices are those of the Batch API.

    Returns:
        Rows of `elicitation_plan`.
    """
    agent_ids = np.asarray(panel, dtype=np.int64)
    price = find_price(model)
    rows: list[dict[str, object]] = []
    for question in asked_questions(scenarios).iter_rows(named=True):
        prompt_tokens = {
            name: round((len(render_system(question, name)) + STEP_CHARACTERS) / CHARACTERS_PER_TOKEN)
            for name in PASSES
        }
        content = question["content_hash"] if question["position"] == 0 else _of_question(question)
        for timestep in range(min(question["num_timesteps"], max_timesteps) + 1):
            key = f"repeat/{question['scenario_id']}/{timestep}"
            is_repeated = uniform_per_agent(key, agent_ids, seed) < repeat_share
            for agent_id, repeats in zip(agent_ids.tolist(), is_repeated.tolist(), strict=True):
                for draw in range(num_draws if repeats else 1):
                    for name in PASSES:
                        rows.append(
                            {
                                "custom_id": request_id(model, content, agent_id, timestep, draw, name),
                                "scenario_id": question["scenario_id"],
                                "question_id": question["name"],
                                "agent_id": agent_id,
                                "timestep": timestep,
                                "draw": draw,
                                "elicitation_pass": name,
                                "estimated_prompt_tokens": prompt_tokens[name],
                                "estimated_completion_tokens": COMPLETION_TOKENS[name],
                                "estimated_cost_usd": price.cost_usd(
                                    prompt_tokens[name], COMPLETION_TOKENS[name], is_batch=is_batch
                                ),
                            }
                        )
    return pl.DataFrame(rows, schema_overrides={"timestep": pl.Int32, "draw": pl.Int32}).with_columns(
        teacher=pl.lit(teacher),
        model=pl.lit(model),
        prompt_hash=pl.lit(prompt_hash()),
        schema_hash=pl.lit(schema_hash()),
    )


def asked_questions(scenarios: pl.DataFrame) -> pl.DataFrame:
    """The questions that a teacher rollout asks: all of every scenario, in the order of their file."""
    return scenarios.filter(pl.col("kind") == "question").sort("scenario_id", "position")


def _of_question(question: Mapping[str, Any]) -> str:
    """Digest of a scenario and one of its further questions; the first question goes by the scenario's own."""
    return f"{question['content_hash']}/{question['name']}"
