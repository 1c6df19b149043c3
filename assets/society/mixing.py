"""Who is tied with whom by age: the mixing matrix beside chance and beside recorded contacts.

Legend: A age groups.
"""

import numpy as np
import polars as pl

from assets.society.recorded import RecordedNetworks
from validation.attributes import AGE_GROUP_BOUNDS, SOCIAL_TIE_TYPES

AGE_GROUPS = tuple(AGE_GROUP_BOUNDS)


def joint_shares(group_src_E: np.ndarray, group_dst_E: np.ndarray) -> np.ndarray:
    """Share of ties between each pair of age groups, [A, A], summing to one; listener first. Zero without ties."""
    num = len(AGE_GROUPS)
    counts = np.bincount(group_dst_E.astype(np.int64) * num + group_src_E, minlength=num * num).reshape(num, num)
    return counts / max(counts.sum(), 1)


def recorded_shares(recorded: RecordedNetworks, margin_A: np.ndarray) -> np.ndarray:
    """Shares of ties between age groups if people mixed as in the recorded contacts, given our tie ends by age.

    Raking the recorded counts to our margin keeps their odds ratios, so that neither the ages of the participants nor
    those of their countries matter.

    Source: iterative proportional fitting keeps association, Deming & Stephan (1940); for contact matrices between
    populations Arregui et al. (2018), Projecting social contact matrices to different demographic structures, M3.

    Args:
        recorded: numbers measured on recorded networks.
        margin_A: share of our tie ends in each age group.
    """
    has_ends_A = margin_A > 0.0
    shares = (np.array(recorded.age_mixing, dtype=np.float64) + 0.5) * np.outer(has_ends_A, has_ends_A)
    for _ in range(200):
        shares *= (margin_A / np.where(has_ends_A, shares.sum(axis=1), 1.0))[:, None]
        shares *= (margin_A / np.where(has_ends_A, shares.sum(axis=0), 1.0))[None, :]
    return (shares + shares.T) / 2.0


def age_mixing_distance(
    group_src_E: np.ndarray, group_dst_E: np.ndarray, recorded: RecordedNetworks
) -> tuple[float | None, float | None]:
    """Total variation distance of our age mixing from the recorded one, and that of random mixing."""
    ours = joint_shares(group_src_E, group_dst_E)
    if ours.sum() == 0.0:
        return None, None
    margin_A = ours.sum(axis=1)
    theirs = recorded_shares(recorded, margin_A)
    return float(np.abs(ours - theirs).sum() / 2.0), float(np.abs(np.outer(margin_A, margin_A) - theirs).sum() / 2.0)


def age_mixing(agents: pl.DataFrame, ties: pl.DataFrame, recorded: RecordedNetworks) -> pl.DataFrame:
    """Of the ties of each age group, the share that goes to each: rows of `age_mixing`.

    Args:
        agents: rows of `agents`.
        ties: rows of `ties`.
        recorded: numbers measured on recorded networks, beside the social ties in all.
    """
    group_N = agents.sort("agent_id")["age_group"].cast(pl.Enum(AGE_GROUPS)).to_physical().to_numpy()
    frames = []
    for tie_type in (*SOCIAL_TIE_TYPES, "all_social"):
        wanted = list(SOCIAL_TIE_TYPES) if tie_type == "all_social" else [tie_type]
        part = ties.filter(pl.col("tie_type").is_in(wanted))
        ours = joint_shares(group_N[part["src"].to_numpy()], group_N[part["dst"].to_numpy()])
        margin_A = ours.sum(axis=1)
        has_ties = ours.sum() > 0.0
        theirs = recorded_shares(recorded, margin_A) if tie_type == "all_social" and (margin_A > 0.0).all() else None
        for row, group in enumerate(AGE_GROUPS):
            for column, alter in enumerate(AGE_GROUPS):
                frames.append(
                    {
                        "tie_type": tie_type,
                        "age_group": group,
                        "alter_age_group": alter,
                        "share": _share(ours[row], column),
                        "chance_share": float(margin_A[column]) if has_ties else None,
                        "recorded_share": _share(theirs[row], column) if theirs is not None else None,
                    }
                )
    return pl.DataFrame(
        frames,
        schema={
            "tie_type": pl.String,
            "age_group": pl.String,
            "alter_age_group": pl.String,
            "share": pl.Float64,
            "chance_share": pl.Float64,
            "recorded_share": pl.Float64,
        },
    )


def _share(row_A: np.ndarray, column: int) -> float | None:
    return float(row_A[column] / row_A.sum()) if row_A.sum() > 0.0 else None
