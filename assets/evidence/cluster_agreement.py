"""Whether the student reasons like the teacher: clusters of anchored channels, beside the teacher's own agreement.

The teacher's first answers of agents that were not held out set the centroids, by k-means on the anchored channels. The
held-out agents' rows are then assigned to the nearest centroid twice: by the teacher's channels and by the compared
model's, at the same scenario, agent and timestep. Agreement of the two assignments is the adjusted Rand index, and
normalised mutual information beside it; both are free of the clusters' names.

    lsm              the student's channels, begun at the teacher's of timestep 0; lsm_no_graph likewise, without ties
    lsm_simulated    the student's channels as simulations run it: of the agent it knows attributes and ties alone
    persistence      the teacher's own channels at timestep 0, carried forward
    noise floor      the teacher's redraws against its first draws, over all agents: no student can be asked for more

Legend: R rows (scenario × agent × timestep), K channels, C clusters, B resamples of agents.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from assets.evidence.agreement_cells import resampled_agents
from validation.clusters import table_agreement
from validation.contracts import CONTRACTS
from validation.metrics import cluster_agreement as agreement_of

NUM_CLUSTERS = 4
NUM_RESAMPLES = 200
MIN_ROWS = 40
"""Fewer rows cannot tell four clusters' agreement from chance."""

KEYS = ("scenario_id", "agent_id", "timestep")
METRICS = ("cluster_ari", "cluster_nmi")
SCHEMA = CONTRACTS["teacher_agreement"].polars_schema()


def cluster_rows(
    reasoning_traces: pl.DataFrame, trajectories: pl.LazyFrame, held_out_predictions: pl.DataFrame, seed: int
) -> pl.DataFrame:
    """Rows of `teacher_agreement` with the metrics cluster_ari and cluster_nmi in the slice held_out=agents.

    Args:
        reasoning_traces: the teacher's answers of its rollouts, with redraws.
        trajectories: the simulated channels of the student, first replicate used.
        held_out_predictions: the table of that name: agents that nothing was fitted on, and channels of students that
            began at the teacher's.
        seed: fixes centroids and resamples.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    channels = reasoning_traces.filter(pl.col("channels").is_not_null()).unique(
        [*KEYS, "draw"], keep="first", maintain_order=True
    )
    first = channels.filter(pl.col("draw") == 0).select(*KEYS, "channels")
    of_agents = held_out_predictions.filter(pl.col("split") == "agents")
    is_held_out = pl.col("agent_id").is_in(of_agents["agent_id"].unique().implode())
    fitted = first.filter(~is_held_out)
    if fitted.height < MIN_ROWS:
        return _missing(f"{fitted.height} fitted answers with channels; {MIN_ROWS} are needed for clusters")
    with threadpool_limits(limits=1):
        fitted_means = KMeans(NUM_CLUSTERS, n_init="auto", random_state=seed % 2**32).fit(_matrix(fitted["channels"]))
    centroids_CK = np.asarray(fitted_means.cluster_centers_)

    def labels(values: pl.Series) -> np.ndarray:
        gap_RCK = _matrix(values)[:, None] - centroids_CK[None]
        return (gap_RCK**2).sum(axis=2).argmin(axis=1)

    judged = first.filter(is_held_out & (pl.col("timestep") > 0))
    start = first.filter(pl.col("timestep") == 0).select("scenario_id", "agent_id", pl.col("channels").alias("theirs"))
    simulated = (
        trajectories.filter((pl.col("engine") == "lsm") & (pl.col("replicate") == 0) & is_held_out)
        .select(*KEYS, pl.col("channels").alias("theirs"))
        .unique(list(KEYS), keep="first", maintain_order=True)
        .collect()
    )
    again = channels.filter(pl.col("draw") > 0).select(*KEYS, pl.col("channels").alias("theirs"))
    known = of_agents.filter(pl.col("channels").is_not_null()).select(
        "model", *KEYS, pl.col("channels").alias("theirs")
    )
    pairs = {
        str(model): judged.join(
            rows.drop("model").unique(list(KEYS), keep="first", maintain_order=True),
            on=list(KEYS),
            how="inner",
            maintain_order="left",
        )
        for (model,), rows in sorted(known.group_by("model"), key=lambda group: str(group[0][0]))
    } | {
        "lsm_simulated": judged.join(simulated, on=list(KEYS), how="inner", maintain_order="left"),
        "persistence": judged.join(start, on=["scenario_id", "agent_id"], how="inner", maintain_order="left"),
    }
    redraws = again.join(first, on=list(KEYS), how="inner", maintain_order="left")
    floor: dict[str, float | None] = dict.fromkeys(METRICS)
    if redraws.height >= MIN_ROWS:
        found = agreement_of(labels(redraws["theirs"]), labels(redraws["channels"]))
        floor = {metric: float(value) for metric, value in zip(METRICS, found, strict=True)}
    rows = [
        row
        for name, pair in pairs.items()
        for row in _scored(name, pair, labels, floor, seed)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=SCHEMA)


def _scored(
    name: str, pair: pl.DataFrame, labels: Any, floor: Mapping[str, float | None], seed: int
) -> list[dict[str, Any]]:
    if pair.height < MIN_ROWS:
        reason = f"fewer than {MIN_ROWS} answers"
        return [_row(metric, name, None, None, floor[metric], pair.height, reason) for metric in METRICS]
    theirs_R, teacher_R = labels(pair["theirs"]), labels(pair["channels"])
    agents, agent_R = np.unique(pair["agent_id"].to_numpy(), return_inverse=True)
    count_ACC = np.zeros((len(agents), NUM_CLUSTERS, NUM_CLUSTERS))
    np.add.at(count_ACC, (agent_R, theirs_R, teacher_R), 1)
    weight_BA = resampled_agents(len(agents), NUM_RESAMPLES, seed)
    found_MB = np.stack(table_agreement(np.einsum("ba,acd->bcd", weight_BA, count_ACC)))
    lower, upper = np.quantile(found_MB[:, 1:], (0.025, 0.975), axis=1)
    value = found_MB[:, 0]
    note = f"{NUM_CLUSTERS} clusters of channels; intervals resample agents"
    return [
        _row(
            metric,
            name,
            float(value[i]),
            (min(float(lower[i]), float(value[i])), max(float(upper[i]), float(value[i]))),
            floor[metric],
            pair.height,
            note,
        )
        for i, metric in enumerate(METRICS)
    ]


def _missing(reason: str) -> pl.DataFrame:
    rows = [_row(metric, "lsm_simulated", None, None, None, 0, reason) for metric in METRICS]
    return pl.DataFrame(rows, schema=SCHEMA)


def _row(
    metric: str,
    model: str,
    value: float | None,
    ends: tuple[float, float] | None,
    floor: float | None,
    num_rows: int,
    note: str,
) -> dict[str, Any]:
    return {
        "metric": metric,
        "slice": "held_out=agents",
        "held_out": "agents",
        "model": model,
        "value": value,
        "lower": ends[0] if ends else None,
        "upper": ends[1] if ends else None,
        "noise_floor": floor,
        "is_higher_better": True,
        "num_observations": num_rows,
        "note": note,
    }


def _matrix(channels: pl.Series) -> np.ndarray:
    return np.array(channels.to_list(), dtype=np.float64)
