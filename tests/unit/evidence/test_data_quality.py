"""Thinning of tables for their suites: bounded, even, and redraws of one moment stay together."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.evidence import data_quality
from assets.evidence.data_quality import thinned


@given(num_groups=st.integers(1, 60), size=st.integers(1, 5), most=st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_groups_that_are_kept_are_whole_and_the_rest_is_thinned(num_groups, size, most):
    num_rows = num_groups * size
    rows = pl.LazyFrame({"group": [f"g{row % num_groups}" for row in range(num_rows)], "row": range(num_rows)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_quality, "MAX_ROWS", most)
        kept = thinned(rows, num_rows, "group")
        plain = thinned(rows, num_rows)

    assert kept.group_by("group").len()["len"].unique().to_list() == [size]
    assert kept["group"].n_unique() <= max(1, most)
    assert plain.height <= most
    if num_rows <= most:
        assert kept.height == num_rows


def test_one_of_k_rows_is_kept(monkeypatch):
    monkeypatch.setattr(data_quality, "MAX_ROWS", 10)

    assert thinned(pl.LazyFrame({"row": range(95)}), 95)["row"].to_list() == list(range(0, 95, 10))
