"""The plan: every request once, counted and priced before anything is sent."""

from functools import partial

import numpy as np
import polars as pl
import pytest

from assets.traces import plan as plan_module
from assets.traces.plan import plan_elicitation, request_id
from assets.traces.prices import find_price
from assets.traces.prompts import PASSES
from assets.traces.scenario_files import read_scenarios
from assets.traces.scenario_table import scenarios_table
from orchestration.settings import PROJECT_ROOT
from validation.contracts import CONTRACTS
from validation.exposure import uniform_per_agent

PANEL = list(range(0, 80, 2))
PARTS = {"model": "m", "scenario_hash": "h", "agent_id": 3, "timestep": 2, "draw": 0, "elicitation_pass": "reaction"}


@pytest.fixture(scope="module")
def scenarios() -> pl.DataFrame:
    return scenarios_table(read_scenarios(PROJECT_ROOT / "scenarios"))


make_plan = partial(
    plan_elicitation, panel=PANEL, teacher="t", model="gpt-4o", max_timesteps=4, repeat_share=0.0, num_draws=1, seed=5
)


def test_a_plan_keeps_its_contract_with_unique_ids(scenarios: pl.DataFrame) -> None:
    plan = make_plan(scenarios, repeat_share=0.3, num_draws=3)
    CONTRACTS["elicitation_plan"].validate(plan)
    assert plan["custom_id"].n_unique() == plan.height


@pytest.mark.parametrize("max_timesteps", [0, 3, 10_000])
def test_one_request_per_agent_timestep_and_pass(scenarios: pl.DataFrame, max_timesteps: int) -> None:
    plan = make_plan(scenarios, max_timesteps=max_timesteps)
    lengths = dict(scenarios.select("scenario_id", "num_timesteps").unique().iter_rows())
    for scenario_id, length in lengths.items():
        expected = len(PANEL) * (min(length, max_timesteps) + 1) * len(PASSES)
        assert plan.filter(pl.col("scenario_id") == scenario_id).height == expected


def test_repeated_pairs_add_their_redraws(scenarios: pl.DataFrame) -> None:
    one, all_five = make_plan(scenarios), make_plan(scenarios, repeat_share=1.0, num_draws=5)
    assert all_five.height == 5 * one.height
    some = make_plan(scenarios, repeat_share=0.25, num_draws=5)
    num_repeated = sum(
        int((uniform_per_agent(f"repeat/{scenario_id}/{timestep}", np.array(PANEL), 5) < 0.25).sum())
        for scenario_id, timestep in one.select("scenario_id", "timestep").unique().iter_rows()
    )
    assert some.height == one.height + 4 * len(PASSES) * num_repeated
    pairs = one.height / len(PASSES)
    assert num_repeated / pairs == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / pairs) ** 0.5)


def test_redraws_are_the_same_whoever_else_is_asked(scenarios: pl.DataFrame) -> None:
    whole = make_plan(scenarios, repeat_share=0.3, num_draws=3)
    few = make_plan(scenarios, panel=PANEL[5:9], repeat_share=0.3, num_draws=3)
    ids = whole.filter(pl.col("agent_id").is_in(PANEL[5:9]))["custom_id"]
    assert set(few["custom_id"]) == set(ids)


def test_the_cost_is_that_of_the_expected_tokens(scenarios: pl.DataFrame) -> None:
    plan = make_plan(scenarios)
    expected = plan["estimated_prompt_tokens"] * 2.5e-6 + plan["estimated_completion_tokens"] * 10e-6
    assert plan["estimated_cost_usd"].to_list() == pytest.approx(expected.to_list())


def test_an_unknown_model_costs_at_least_as_much_as_any_listed() -> None:
    unknown = find_price("a-model-of-tomorrow")
    for model in ("populace-embedded-teacher", "gpt-4o-mini", "gpt-4o"):
        assert unknown.prompt_usd >= find_price(model).prompt_usd
        assert unknown.completion_usd >= find_price(model).completion_usd
    assert find_price("populace-embedded-teacher@0123abcd").cost_usd(1e6, 1e6) == 0
    assert unknown.cost_usd(2e6, 1e6) == pytest.approx(2 * unknown.prompt_usd + unknown.completion_usd)


@pytest.mark.parametrize("part", PARTS)
def test_a_custom_id_changes_with_each_of_its_parts(part: str) -> None:
    value = PARTS[part]
    changed = value + 1 if isinstance(value, int) else f"{value}2"
    assert request_id(**PARTS) == request_id(**PARTS)  # pyright: ignore[reportArgumentType]
    assert request_id(**{**PARTS, part: changed}) != request_id(**PARTS)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("digest", ["prompt_hash", "schema_hash"])
def test_a_custom_id_changes_with_prompts_and_schema(monkeypatch: pytest.MonkeyPatch, digest: str) -> None:
    before = request_id(**PARTS)  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr(plan_module, digest, lambda: "edited")
    assert request_id(**PARTS) != before  # pyright: ignore[reportArgumentType]


def test_an_edited_scenario_is_asked_again(scenarios: pl.DataFrame) -> None:
    edited = scenarios.with_columns(content_hash=pl.col("content_hash") + "x")
    assert set(make_plan(scenarios)["custom_id"]).isdisjoint(make_plan(edited)["custom_id"])
