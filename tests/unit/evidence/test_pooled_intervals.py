"""The report's intervals over replicates are those of the terminal: one rule, stated once in SQL and once in Python."""

import duckdb
import numpy as np
import polars as pl
import pytest
from scipy import stats

from assets.evidence.sql_pooling import T_EXPANSION, Z, pooled
from assets.simulation.decisions import _combined_interval


def reported(replicates: pl.DataFrame) -> tuple[float, float]:
    connection = duckdb.connect()
    connection.register("replicates", replicates.to_arrow())
    ((lower, upper),) = connection.sql(f"select {pooled('share', 0)} from replicates").fetchall()
    return lower, upper


@pytest.mark.parametrize("num_replicates", [1, 2, 3, 5, 20])
@pytest.mark.parametrize("spread", [0.0, 0.002, 0.02])
def test_the_report_and_the_terminal_agree(num_replicates: int, spread: float) -> None:
    share_R = 0.4 + spread * np.random.default_rng(num_replicates).normal(size=num_replicates)
    replicates = pl.DataFrame(
        {"replicate": range(num_replicates), "share": share_R, "lower": share_R - 0.02, "upper": share_R + 0.02}
    )

    lower, upper = reported(replicates)
    _, expected_lower, expected_upper = _combined_interval(replicates)

    assert lower == pytest.approx(expected_lower, abs=0.002)
    assert upper == pytest.approx(expected_upper, abs=0.002)


@pytest.mark.parametrize("freedom", [2, 3, 5, 10, 100])
def test_the_expansion_is_students_t(freedom: float) -> None:
    ours = Z + sum(term / freedom**power for power, term in enumerate(T_EXPANSION, start=1))

    assert ours == pytest.approx(stats.t.ppf(0.975, freedom), rel=0.02)
