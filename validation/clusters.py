"""Agreement of two clusterings from how many rows share each pair of clusters, for many resamples at once.

`metrics.cluster_agreement` gives the same figures for one pair of labellings.

Legend: B resamples, C and D clusters of either labelling.
"""

import numpy as np


def table_agreement(count_BCD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Adjusted Rand index and normalised mutual information of every table of counts, each [B].

    Both are 1 where each labelling has a single cluster, and equal ones as scikit-learn has it.

    Args:
        count_BCD: rows in cluster c of one labelling and d of the other, whole numbers; each table holds a row or more.

    Source: Hubert & Arabie (1985), equation 5; mutual information over the mean of the entropies, Vinh, Epps & Bailey
    (2010), table 2.
    """
    count_BCD = np.asarray(count_BCD, dtype=np.float64)
    first_BC, second_BD = count_BCD.sum(axis=2), count_BCD.sum(axis=1)
    total_B = first_BC.sum(axis=1)
    pairs_B, first_B, second_B = (
        _pairs(counts) for counts in (count_BCD.reshape(len(count_BCD), -1), first_BC, second_BD)
    )
    all_B = total_B * (total_B - 1) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        expected_B = np.divide(first_B * second_B, all_B, out=np.zeros_like(all_B), where=all_B > 0)
        largest_B = (first_B + second_B) / 2
        rand_B = np.where(largest_B == expected_B, 1.0, (pairs_B - expected_B) / (largest_B - expected_B))
        first_entropy_B, second_entropy_B, joint_B = (
            _entropy(counts, total_B) for counts in (first_BC, second_BD, count_BCD.reshape(len(count_BCD), -1))
        )
        mean_B = (first_entropy_B + second_entropy_B) / 2
        information_B = np.maximum(first_entropy_B + second_entropy_B - joint_B, 0.0)
        mutual_B = np.where(mean_B <= 1e-12, 1.0, information_B / mean_B)
    return rand_B, mutual_B


def _pairs(count_BX: np.ndarray) -> np.ndarray:
    return (count_BX * (count_BX - 1) / 2).sum(axis=1)


def _entropy(count_BX: np.ndarray, total_B: np.ndarray) -> np.ndarray:
    share_BX = count_BX / total_B[:, None]
    return -np.where(share_BX > 0, share_BX * np.log(np.where(share_BX > 0, share_BX, 1.0)), 0.0).sum(axis=1)
