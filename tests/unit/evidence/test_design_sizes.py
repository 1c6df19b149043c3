"""Effective sizes of all cells at once are those of one cell after another."""

import numpy as np
import polars as pl
import pytest

from assets.evidence.design_sizes import effective_sizes
from validation.intervals import design_effect
from validation.survey_design import effective_size, linearised_variance

RNG = np.random.default_rng(8)
NUM, OPTIONS = 900, 3


def respondents(*, has_design: bool = True) -> pl.DataFrame:
    answer = RNG.integers(0, OPTIONS, NUM)
    frame = pl.DataFrame(
        {
            "wave": 1990 + RNG.integers(0, 2, NUM),
            "_level": np.where(RNG.random(NUM) < 0.5, "young", "old"),
            "weight": RNG.uniform(0.3, 3, NUM),
            "answer": answer,
            "stratum": RNG.integers(0, 8, NUM),
            "psu": RNG.integers(0, 3, NUM),
        }
    ).with_columns((pl.col("weight") * (pl.col("answer") == i)).alias(f"_held_{i}") for i in range(OPTIONS))
    frame = frame.with_columns((pl.col("weight") ** 2).alias("_squared"))
    return frame if has_design else frame.drop("stratum", "psu")


def cells_of(rows: pl.DataFrame) -> pl.DataFrame:
    sums = pl.col("weight", "_squared", *(f"_held_{i}" for i in range(OPTIONS))).sum()
    return rows.group_by("_level", "wave").agg(sums).sort("_level", "wave")


def test_all_cells_at_once_are_one_after_another() -> None:
    rows = respondents()
    cells = cells_of(rows)

    for row, found in zip(cells.iter_rows(named=True), effective_sizes(rows, cells, OPTIONS), strict=True):
        wave = rows.filter(pl.col("wave") == row["wave"])
        share_O = np.array([row[f"_held_{i}"] for i in range(OPTIONS)]) / row["weight"]
        variance_O = linearised_variance(
            np.eye(OPTIONS)[wave["answer"].to_numpy()], wave["weight"], wave["stratum"], wave["psu"],
            (wave["_level"] == row["_level"]).to_numpy(),
        )  # fmt: skip
        assert found == pytest.approx(effective_size(share_O, variance_O, 0))


def test_without_a_design_or_with_gaps_in_it_weights_alone_count() -> None:
    rows = respondents(has_design=False)
    cells = cells_of(rows)
    gaps = respondents().with_columns(stratum=pl.when(pl.col("wave") == 1990).then(None).otherwise(pl.col("stratum")))

    for cell, found in zip(cells.iter_rows(named=True), effective_sizes(rows, cells, OPTIONS), strict=True):
        weight = rows.filter((pl.col("wave") == cell["wave"]) & (pl.col("_level") == cell["_level"]))["weight"]
        assert found == pytest.approx(len(weight) / design_effect(weight))
    sizes = effective_sizes(gaps, cells_of(gaps), OPTIONS)
    kish = cells_of(gaps).select(pl.col("weight") ** 2 / pl.col("_squared")).to_series()
    is_gap = cells_of(gaps)["wave"] == 1990
    assert sizes.filter(is_gap).to_list() == pytest.approx(kish.filter(is_gap).to_list())
    assert sizes.filter(~is_gap).to_list() != pytest.approx(kish.filter(~is_gap).to_list())
