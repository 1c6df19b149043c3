"""Margins: the published totals, and contradictions that are refused."""

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from assets.population.errors import InconsistentMargins, MissingMarginAttribute
from assets.population.laying import compare_with_margins, margins_of
from assets.population.margins import load_margins, margins_from_frame, tabulate_cells
from assets.sources.catalogue import DataCatalogue
from validation.contracts import CONTRACTS

CITIZENS = 228_443_347


def table(**counts):
    rows = [
        {"geography": "US", "margin": margin.replace("_x_", "*"), "level": level, "count": count}
        for margin, levels in counts.items()
        for level, count in levels.items()
    ]
    return pl.DataFrame(rows).with_columns(pl.lit("test").alias("source"), pl.lit(2016).alias("year"))


def test_published_margins_keep_their_contract_and_one_total(embedded):
    frame = CONTRACTS["population_margins"].validate(embedded.margins)
    sums = frame.group_by("margin").agg(pl.col("count").sum(), pl.col("share").sum())
    assert sums["count"].to_list() == [CITIZENS] * 8
    assert sums["share"].to_list() == pytest.approx([1.0] * 8, abs=1e-6)


def test_past_vote_is_the_official_result(embedded):
    votes = dict(embedded.margins.filter(pl.col("margin") == "past_vote").select("level", "count").rows())
    assert votes["trump"] == 62_984_828
    assert votes["trump"] + votes["other_candidate"] == 136_669_276
    assert votes["trump"] / 136_669_276 == pytest.approx(0.461, abs=5e-4)


def test_shares_follow_from_counts():
    frame = margins_from_frame(table(sex={"male": 30, "female": 70}), "own.csv")
    assert frame["share"].to_list() == pytest.approx([0.3, 0.7])


def test_users_margins_come_first(tmp_path):
    own = table(sex={"male": 30, "female": 70})
    own.write_csv(tmp_path / "margins_us_2016.csv")
    loaded = load_margins(DataCatalogue(tmp_path, None, tmp_path / "cache"))
    assert loaded.frame["count"].to_list() == [30.0, 70.0]
    assert loaded.uses[0]["origin"] == "user"


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (table(sex={"male": 1, "female": 1}).drop("source"), r"own\.csv: columns source are missing"),
        (table(gender={"male": 1}), r"unknown attribute 'gender'\. Allowed: sex, age_group"),
        (table(sex={"man": 1}), r"level 'man'; sex has no level 'man'\. Allowed: male, female"),
        (table(sex_x_age_group={"male": 1}), r"level 'male': 1 values for 2 attributes"),
        (table(sex={"male": -1, "female": 2}), r"counts \[-1\.0, 2\.0\]"),
        (
            table(sex={"male": 40, "female": 60}, education={"college_degree": 30, "no_college_degree": 71}),
            r"the total is 101 by margin education, expected 100 as by margin sex",
        ),
        (
            table(
                sex={"male": 40, "female": 60},
                sex_x_education={"male*college_degree": 41, "female*college_degree": 59},
            ),
            r"sex=female is 59 by margin sex\*education, expected 60 as by margin sex",
        ),
        (
            table(sex={"male": 40, "female": 60}).with_columns(pl.Series("share", [0.4, 0.5])),
            r"shares sum to 0\.9, expected 1",
        ),
        (
            table(sex={"male": 40, "female": 60}).with_columns(pl.Series("share", [0.5, 0.5])),
            r"sex of US=male: share 0\.5 does not belong to its count, expected 0\.4",
        ),
        (pl.concat([table(sex={"male": 40, "female": 60})] * 2), r"lists a level twice"),
    ],
)
def test_contradictions_are_refused(frame, message):
    with pytest.raises(InconsistentMargins, match=message):
        margins_from_frame(frame, "own.csv")


def test_people_without_a_level_are_refused():
    margins = margins_from_frame(table(sex={"male": 1, "female": 1}), "own.csv")
    people = pl.DataFrame({"sex": ["male", None, "female"]})
    with pytest.raises(MissingMarginAttribute, match=r"1 of 3 people have no level of margin sex: found \[None\]"):
        margins_of(people, margins)


def test_comparison_with_weights():
    margins = margins_from_frame(table(sex={"male": 1, "female": 3}), "own.csv")
    people = pl.DataFrame({"sex": ["male", "female"]})
    compared = compare_with_margins(people, margins, np.array([3.0, 1.0]))
    assert compared["difference"].to_list() == pytest.approx([0.5, -0.5])


@pytest.mark.data
def test_published_margins_agree_with_the_cells(tmp_path):
    mirror = os.environ.get("POPULACE_DATA_MIRROR")
    if not mirror:
        pytest.skip("POPULACE_DATA_MIRROR is not set")
    catalogue = DataCatalogue(None, Path(mirror), tmp_path)
    loaded = load_margins(catalogue)
    assert [use["source"] for use in loaded.uses] == ["margins_us_2016", "acs_2018_cells"]
    cells = tabulate_cells(catalogue.resolve("acs_2018_cells").load())
    assert set(cells.group_by("margin").agg(pl.col("count").sum())["count"]) == {float(CITIZENS)}


def test_margins_that_differ_from_the_cells_are_refused(tmp_path, monkeypatch):
    catalogue = DataCatalogue(None, None, tmp_path)
    monkeypatch.setattr(DataCatalogue, "has", lambda *_: True)
    cells = pl.DataFrame(
        {"state": ["NY"], "eth": ["White"], "sex": ["male"], "age": ["18-29"], "educ": ["HS"], "n": [CITIZENS]}
    )
    resolve = DataCatalogue.resolve

    def with_cells(self, name):
        resolved = resolve(self, "margins_us_2016")
        if name == "margins_us_2016":
            return resolved
        monkeypatch.setattr(type(resolved), "load", lambda _: cells)
        return resolved

    monkeypatch.setattr(DataCatalogue, "resolve", with_cells)
    with pytest.raises(InconsistentMargins, match=r"margin .*but the cells in .*levels differ"):
        load_margins(catalogue)
