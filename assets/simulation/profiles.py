"""Reasoning profiles: clusters of agents whose anchored channels agree at the end of a rollout.

The number of clusters is chosen by the mean silhouette on a sample, the clustering itself runs on all agents in
mini-batches, so that it stays linear in agents.

Legend: N agents, K channels, O options, C clusters.
"""

from typing import Any

import numpy as np
import polars as pl

from assets.simulation.questions import asked_questions, list_matrix, rows_of_question
from assets.simulation.rows import table_rows
from assets.simulation.segments import SEGMENT_ATTRIBUTES

ENGINE = "lsm"
CLUSTER_COUNTS = (3, 4, 5, 6)
"""Numbers of clusters that compete: enough to tell reasons apart, few enough to read."""

MAX_SILHOUETTE_AGENTS = 2_000
"""Silhouettes cost the square of the sample."""

NUM_EXEMPLARS = 5
NUM_DEFINING_ATTRIBUTES = 5
MIN_LIFT = 1.1
MIN_CLUSTER_SHARE = 0.05
"""A level defines a cluster only when at least this fraction of the cluster has it."""


def reasoning_profiles(
    trajectories: pl.DataFrame, agents: pl.DataFrame, scenario_rows: pl.DataFrame, *, seed: int
) -> pl.DataFrame:
    """Clusters the agents of one partition by their channels at its last timestep.

    Channels belong to the agent and not to a question, so the clusters are the same for every question; the option
    probabilities shown are those of the scenario's first question.

    Args:
        trajectories: rows of one partition; the last timestep of the student's rows is used.
        agents: the agents table.
        scenario_rows: rows of the scenarios table for the scenario.
        seed: fixes the sample and the starting centroids.

    Returns:
        The `reasoning_profiles` table, the largest cluster first.

    Raises:
        ValueError: the partition has no rows of the student, or fewer agents than the least number of clusters.
    """
    ours = trajectories.filter(pl.col("engine") == ENGINE)
    final = rows_of_question(
        ours.filter(pl.col("timestep") == pl.col("timestep").max()), asked_questions(scenario_rows)[0]
    )
    if len(final) <= min(CLUSTER_COUNTS):
        raise ValueError(
            f"Profiles need more than {min(CLUSTER_COUNTS)} agents, found {len(final)} rows of engine {ENGINE}. "
            "Simulate the scenario first, or widen its population predicate."
        )
    channels_NK = list_matrix(final["channels"])
    cluster_N, silhouette = cluster_channels(channels_NK, seed=seed)
    agents_by_id = agents.sort("agent_id")[final["agent_id"].to_numpy()]
    probability_NO = list_matrix(final["option_probabilities"])
    rows: list[dict[str, Any]] = []
    for cluster in range(int(cluster_N.max()) + 1):
        is_member_N = cluster_N == cluster
        centroid_K = channels_NK[is_member_N].mean(axis=0)
        rows.append(
            {
                "scenario_id": final["scenario_id"][0],
                "replicate": final["replicate"][0],
                "cluster": cluster,
                "size": int(is_member_N.sum()),
                "share": float(is_member_N.mean()),
                "silhouette": silhouette,
                "channel_centroid": centroid_K.tolist(),
                "option_probabilities": probability_NO[is_member_N].mean(axis=0).tolist(),
                "defining_attributes": defining_attributes(agents_by_id, is_member_N),
                "exemplar_agents": _exemplars(final["agent_id"].to_numpy(), channels_NK, is_member_N, centroid_K),
            }
        )
    return table_rows("reasoning_profiles", rows)


def cluster_channels(channels_NK: np.ndarray, *, seed: int) -> tuple[np.ndarray, float]:
    """Cluster of each agent, 0 for the largest, and the mean silhouette of the clustering on a sample.

    k-means with k chosen among 3…6 by silhouette; one thread, so that the same seed gives the same clusters anywhere.
    When all agents agree exactly, there is one cluster with silhouette 0.

    Source: Rousseeuw (1987), Silhouettes; Sculley (2010), Web-scale k-means clustering.
    """
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.metrics import silhouette_score
    from threadpoolctl import threadpool_limits

    generator = np.random.default_rng(seed)
    num_agents = len(channels_NK)
    sample_S = np.sort(generator.permutation(num_agents)[:MAX_SILHOUETTE_AGENTS])
    num_distinct = len(np.unique(channels_NK[sample_S], axis=0))
    best: tuple[float, np.ndarray] = (0.0, np.zeros(num_agents, dtype=np.int64))
    has_clustering = False
    with threadpool_limits(limits=1):
        for num_clusters in CLUSTER_COUNTS:
            if num_clusters >= min(num_distinct, len(sample_S)):
                break
            model = MiniBatchKMeans(n_clusters=num_clusters, random_state=seed % 2**32, n_init=3, batch_size=1024)  # pyright: ignore[reportArgumentType]
            cluster_N = model.fit_predict(channels_NK)
            if len(np.unique(cluster_N[sample_S])) < 2:
                continue
            silhouette = float(silhouette_score(channels_NK[sample_S], cluster_N[sample_S]))
            if not has_clustering or silhouette > best[0]:
                best, has_clustering = (silhouette, cluster_N), True
    silhouette, cluster_N = best
    return _by_size(channels_NK, cluster_N), silhouette


def defining_attributes(agents_of_rows: pl.DataFrame, is_member_N: np.ndarray) -> list[str]:
    """Up to five attribute=level pairs that the cluster's members hold more often than everybody, by lift.

    Lift is P(level | cluster) / P(level); pairs below 1.1, or held by less than 5 % of the cluster, say little and are
    left out.
    """
    found: list[tuple[float, str]] = []
    for attribute in SEGMENT_ATTRIBUTES:
        levels, code_N = np.unique(agents_of_rows[attribute].to_numpy().astype(str), return_inverse=True)
        share_L = np.bincount(code_N, minlength=len(levels)) / len(code_N)
        share_in_cluster_L = np.bincount(code_N[is_member_N], minlength=len(levels)) / is_member_N.sum()
        found.extend(
            (-float(inside / share), f"{attribute}={level}")
            for level, share, inside in zip(levels, share_L, share_in_cluster_L, strict=True)
            if inside >= MIN_CLUSTER_SHARE and inside / share >= MIN_LIFT
        )
    return [pair for _, pair in sorted(found)[:NUM_DEFINING_ATTRIBUTES]]


def _by_size(channels_NK: np.ndarray, cluster_N: np.ndarray) -> np.ndarray:
    """Renumbers clusters by falling size; equal sizes by centroid, so that numbering does not depend on chance."""
    labels = np.unique(cluster_N)
    order = sorted(
        labels,
        key=lambda label: (-int((cluster_N == label).sum()), channels_NK[cluster_N == label].mean(axis=0).tolist()),
    )
    rank = {label: index for index, label in enumerate(order)}
    return np.array([rank[label] for label in cluster_N], dtype=np.int64)


def _exemplars(
    agent_id_N: np.ndarray, channels_NK: np.ndarray, is_member_N: np.ndarray, centroid_K: np.ndarray
) -> list[int]:
    """Members nearest to the centroid; equal distances by id."""
    distance_M = np.square(channels_NK[is_member_N] - centroid_K).sum(axis=1)
    nearest_M = np.lexsort((agent_id_N[is_member_N], distance_M))[:NUM_EXEMPLARS]
    return agent_id_N[is_member_N][nearest_M].tolist()
