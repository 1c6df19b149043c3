"""Laws of the simulation room: shares average, chunking changes nothing, equal scenarios differ by nothing."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.simulation.counterfactuals import compare_scenarios
from assets.simulation.draws import sample_options, uniform_draws
from assets.simulation.outcomes import summarise_outcomes
from validation.attributes import ATTRIBUTES, REGION_OF_STATE
from validation.channels import channel_names
from validation.contracts import CONTRACTS

OPTIONS = ("support", "oppose", "unsure")


def _schema(table: str) -> dict:
    return {name: column.dtype.type for name, column in CONTRACTS[table].columns.items()}


def random_agents(num_agents: int, seed: int) -> pl.DataFrame:
    generator = np.random.default_rng(seed)
    columns = {attribute.name: generator.choice(attribute.levels, num_agents) for attribute in ATTRIBUTES}
    columns["region"] = [REGION_OF_STATE[state] for state in columns["state"]]
    return pl.DataFrame(
        {
            "agent_id": np.arange(num_agents),
            "household_id": np.arange(num_agents),
            "respondent_id": [f"survey-2016-{donor}" for donor in generator.integers(0, num_agents, num_agents)],
            "geography": [f"US-{state}" for state in columns["state"]],
            "age": np.full(num_agents, 40),
            **columns,
            "imputed_attributes": [[] for _ in range(num_agents)],
        },
        schema=_schema("agents"),
    )


def question_rows(scenario_id: str) -> pl.DataFrame:
    row = dict.fromkeys(_schema("scenarios")) | {
        "scenario_id": scenario_id,
        "kind": "question",
        "name": "support",
        "position": 0,
        "options": list(OPTIONS),
    }
    return pl.DataFrame([row], schema=_schema("scenarios"))


def random_trajectories(num_agents: int, num_timesteps: int, seed: int, scenario_id: str = "charge") -> pl.DataFrame:
    generator = np.random.default_rng(seed)
    frames = []
    for timestep in range(num_timesteps):
        probability_NO = generator.dirichlet(np.ones(len(OPTIONS)), size=num_agents)
        uniform_N = uniform_draws(
            np.arange(num_agents), seed=seed, replicate=0, question_id="support", timestep=timestep
        )
        channels_NK = generator.uniform(-1, 1, (num_agents, len(channel_names())))
        frames.append(
            pl.DataFrame(
                {
                    "scenario_id": scenario_id,
                    "replicate": 0,
                    "engine": "lsm",
                    "model_version": 1,
                    "agent_id": np.arange(num_agents),
                    "timestep": timestep,
                    "question_id": "support",
                    "channels": channels_NK.tolist(),
                    "latent_summary": np.zeros((num_agents, 3)).tolist(),
                    "conviction": 0.5,
                    "option_probabilities": probability_NO.tolist(),
                    "decision": np.array(OPTIONS)[sample_options(probability_NO, uniform_N)],
                    "expression": np.zeros((num_agents, 1)).tolist(),
                },
                schema_overrides=_schema("trajectories"),
            )
        )
    return pl.concat(frames)


SMALL_WORLDS = {"num_agents": st.integers(2, 150), "seed": st.integers(0, 2**31)}


@settings(max_examples=15, deadline=None)
@given(**SMALL_WORLDS)
def test_outcomes_keep_their_contract_and_shares_sum_to_one(num_agents: int, seed: int):
    outcomes = summarise_outcomes(
        random_trajectories(num_agents, 2, seed), random_agents(num_agents, seed), question_rows("charge")
    )
    CONTRACTS["outcomes"].validate(outcomes)
    sums = outcomes.group_by("timestep", "segment").agg(pl.col("share", "decision_share").sum())
    assert sums["share"].to_numpy() == pytest.approx(1.0, abs=1e-6)
    assert sums["decision_share"].to_numpy() == pytest.approx(1.0, abs=1e-9)


@settings(max_examples=15, deadline=None)
@given(num_agents=st.integers(150, 600), seed=st.integers(0, 2**31))
def test_segments_average_to_everybody(num_agents: int, seed: int):
    """Where no level is left out, the levels' shares weighted by their agents give the share of all."""
    outcomes = summarise_outcomes(
        random_trajectories(num_agents, 1, seed), random_agents(num_agents, seed), question_rows("charge")
    )
    everybody = dict(outcomes.filter(pl.col("segment") == "all").select("option", "share").iter_rows())
    levels = outcomes.filter(pl.col("segment") != "all").with_columns(
        attribute=pl.col("segment").str.split("=").list.first()
    )
    complete = 0
    for (_, option), rows in levels.partition_by(["attribute", "option"], as_dict=True).items():
        if rows["num_agents"].sum() == num_agents:
            complete += 1
            weighted = (rows["share"] * rows["num_agents"]).sum() / num_agents
            assert weighted == pytest.approx(everybody[option], abs=1e-9)
    assert complete >= len(OPTIONS)


@settings(max_examples=10, deadline=None)
@given(num_agents=st.integers(30, 200), seed=st.integers(0, 2**31))
def test_chunks_and_row_order_change_nothing(num_agents: int, seed: int):
    agents, rows = random_agents(num_agents, seed), random_trajectories(num_agents, 3, seed)
    whole = summarise_outcomes(rows, agents, question_rows("charge"))
    chunks = [chunk.sample(fraction=1.0, shuffle=True, seed=1) for chunk in rows.partition_by("timestep")]
    assert summarise_outcomes(iter(chunks), agents, question_rows("charge")).equals(whole)
    assert summarise_outcomes(rows, agents.reverse(), question_rows("charge")).equals(whole)


@settings(max_examples=10, deadline=None)
@given(**SMALL_WORLDS)
def test_a_scenario_equal_to_its_baseline_changes_nothing(num_agents: int, seed: int):
    rows = compare_scenarios(
        random_trajectories(num_agents, 2, seed),
        random_trajectories(num_agents, 2, seed, scenario_id="status-quo"),
        random_agents(num_agents, seed),
        question_rows("charge"),
    )
    CONTRACTS["counterfactuals"].validate(rows)
    assert (rows["difference"] == 0).all()
    assert not rows["has_flipped"].any()
    assert (rows["channel_differences"].list.eval(pl.element().abs()).list.max() == 0).all()


@settings(max_examples=10, deadline=None)
@given(**SMALL_WORLDS)
def test_swapping_scenario_and_baseline_turns_every_sign(num_agents: int, seed: int):
    agents = random_agents(num_agents, seed)
    ours = random_trajectories(num_agents, 1, seed)
    theirs = random_trajectories(num_agents, 1, seed + 1, scenario_id="status-quo")
    forth = compare_scenarios(ours, theirs, agents, question_rows("charge"))
    back = compare_scenarios(theirs, ours, agents, question_rows("status-quo"))
    assert forth["difference"].to_numpy() == pytest.approx(-back["difference"].to_numpy())
    assert forth["has_flipped"].equals(back["has_flipped"])
    effects = forth.filter(pl.col("segment") == "all")
    individual = forth.filter(pl.col("unit") == "agent").group_by("option").agg(pl.col("difference").mean())
    joined = effects.join(individual, on="option", suffix="_mean")
    assert joined["difference"].to_numpy() == pytest.approx(joined["difference_mean"].to_numpy())
