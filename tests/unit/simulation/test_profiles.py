"""Reasoning profiles on planted clusters."""

import numpy as np
import polars as pl
import pytest

from assets.simulation.profiles import cluster_channels, defining_attributes, reasoning_profiles
from validation.channels import channel_names
from validation.contracts import CONTRACTS

SIZES = (120, 80, 50, 30)


@pytest.fixture
def planted_NK() -> np.ndarray:
    generator = np.random.default_rng(9)
    centres = 0.8 * np.eye(len(SIZES), len(channel_names()))
    members_NK = np.repeat(centres, SIZES, axis=0)
    return np.clip(members_NK + generator.normal(0, 0.03, members_NK.shape), -1, 1)


def test_planted_clusters_are_found_by_falling_size(planted_NK):
    cluster_N, silhouette = cluster_channels(planted_NK, seed=4)
    assert cluster_N.tolist() == np.repeat(np.arange(len(SIZES)), SIZES).tolist()
    assert silhouette > 0.8


def test_order_of_the_seed_does_not_move_clear_clusters(planted_NK):
    assert cluster_channels(planted_NK, seed=4)[0].tolist() == cluster_channels(planted_NK, seed=5)[0].tolist()


def test_agents_that_all_agree_are_one_cluster():
    cluster_N, silhouette = cluster_channels(np.zeros((50, 12)), seed=0)
    assert set(cluster_N.tolist()) == {0}
    assert silhouette == 0.0


def test_rows_keep_the_contract(planted_NK, make_agents, make_trajectories, make_question_rows):
    num_agents = sum(SIZES)
    probability_TNO = np.tile(np.eye(3)[0], (2, num_agents, 1))
    probability_TNO[:, : SIZES[0]] = np.eye(3)[1]
    agents = make_agents(num_agents)
    agents = agents.with_columns(
        party=pl.when(pl.col("agent_id") < SIZES[0]).then(pl.lit("republican")).otherwise(pl.lit("democrat"))
    )
    trajectories = make_trajectories(probability_TNO, channels_NK=planted_NK)
    profiles = reasoning_profiles(trajectories, agents, make_question_rows(), seed=4)
    CONTRACTS["reasoning_profiles"].validate(profiles)
    assert profiles["size"].to_list() == list(SIZES)
    assert profiles["share"].sum() == pytest.approx(1.0)
    largest = profiles.row(0, named=True)
    assert largest["option_probabilities"] == [0.0, 1.0, 0.0]
    assert largest["defining_attributes"][0] == "party=republican"
    assert set(largest["exemplar_agents"]) <= set(range(SIZES[0]))
    distance_M = np.square(planted_NK[: SIZES[0]] - planted_NK[: SIZES[0]].mean(axis=0)).sum(axis=1)
    assert largest["exemplar_agents"][0] == int(distance_M.argmin())


def test_lift_needs_support(make_agents):
    agents = make_agents(200).with_columns(sex=pl.lit("male"))
    is_member_N = np.zeros(200, dtype=bool)
    is_member_N[:50] = True
    agents = agents.with_columns(
        party=pl.when(pl.col("agent_id") < 40).then(pl.lit("democrat")).otherwise(pl.lit("republican"))
    )
    found = defining_attributes(agents, is_member_N)
    assert found[0] == "party=democrat"
    assert "sex=male" not in found


def test_too_few_agents_are_refused(make_agents, make_trajectories, make_question_rows):
    with pytest.raises(ValueError, match="more than 3 agents"):
        reasoning_profiles(make_trajectories(np.full((1, 3, 3), 1 / 3)), make_agents(3), make_question_rows(), seed=0)
