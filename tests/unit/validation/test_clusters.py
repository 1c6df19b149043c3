"""Agreement from tables of counts is that of scikit-learn on the labels, for every resample."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from validation.clusters import table_agreement
from validation.metrics import cluster_agreement


@given(st.integers(1, 60), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**32 - 1))
@settings(max_examples=80, deadline=None)
def test_tables_and_labels_agree(num_rows: int, num_first: int, num_second: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = [(rng.integers(0, num_first, num_rows), rng.integers(0, num_second, num_rows)) for _ in range(3)]
    tables = np.zeros((3, 4, 4))
    for number, (first, second) in enumerate(pairs):
        np.add.at(tables[number], (first, second), 1)
    rand, mutual = table_agreement(tables)
    for number, (first, second) in enumerate(pairs):
        expected = cluster_agreement(first, second)
        assert rand[number] == pytest.approx(expected.adjusted_rand_index, abs=1e-9)
        assert mutual[number] == pytest.approx(expected.normalised_mutual_information, abs=1e-9)
