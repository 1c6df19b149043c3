"""A small society made without data: households within states, couples of one race, a party that goes with race."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from validation.attributes import AGE_GROUP_BOUNDS, ATTRIBUTE_BY_NAME, ATTRIBUTES, REGION_OF_STATE
from validation.contracts import CONTRACTS


@pytest.fixture(scope="session")
def make_society_agents() -> Callable[..., pl.DataFrame]:
    def make(num_agents: int, seed: int = 0) -> pl.DataFrame:
        rng = np.random.default_rng(seed)
        household = np.repeat(np.arange(num_agents), rng.choice([1, 2, 3], p=[0.4, 0.45, 0.15], size=num_agents))
        household = household[:num_agents]
        num_households = household[-1] + 1
        states = ATTRIBUTE_BY_NAME["state"].levels
        columns = {a.name: rng.choice(a.levels, num_agents) for a in ATTRIBUTES}
        columns["state"] = np.sort(rng.choice(states, num_households, p=rng.dirichlet(np.ones(51))))[household]
        columns["region"] = [REGION_OF_STATE[state] for state in columns["state"]]
        columns["race_ethnicity"] = rng.choice(
            ATTRIBUTE_BY_NAME["race_ethnicity"].levels, num_households, p=[0.64, 0.12, 0.16, 0.08]
        )[household]
        is_white = columns["race_ethnicity"] == "white"
        columns["party"] = np.where(
            rng.random(num_agents) < np.where(is_white, 0.55, 0.2),
            "republican",
            np.where(rng.random(num_agents) < 0.15, "independent", "democrat"),
        )
        lowest = np.array([AGE_GROUP_BOUNDS[group][0] for group in columns["age_group"]])
        frame = pl.DataFrame(
            {
                "agent_id": np.arange(num_agents),
                "household_id": household,
                "respondent_id": [f"made-2016-{i}" for i in range(num_agents)],
                "geography": [f"US-{state}" for state in columns["state"]],
                "age": (lowest + rng.integers(0, 10, num_agents)).astype(np.int32),
                **columns,
                "imputed_attributes": [[] for _ in range(num_agents)],
            },
            schema={name: column.dtype.type for name, column in CONTRACTS["agents"].columns.items()},
        )
        return CONTRACTS["agents"].validate(frame)

    return make


@pytest.fixture(scope="session")
def society_agents(make_society_agents: Callable[..., pl.DataFrame]) -> pl.DataFrame:
    return make_society_agents(4_000)
