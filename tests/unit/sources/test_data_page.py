"""The data page says what the catalogue holds, and its codebook works."""

import re
from pathlib import Path

import polars as pl
import pytest

from assets.population.surveys import load_respondents
from assets.sources.catalogue import DataCatalogue
from assets.sources.entries import CATALOGUE_PATH, read_catalogue
from validation.contracts import CONTRACTS


@pytest.fixture(scope="module")
def page():
    return (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")


def test_every_source_is_on_the_page_with_its_mirror_path(page):
    rows = {name: row for row in page.splitlines() if (name := row.split("|")[1].strip(" `") if "|" in row else "")}
    for source in read_catalogue(CATALOGUE_PATH):
        assert source.name in rows
        if source.mirror:
            assert f"`{source.mirror.place}`" in rows[source.name]


def test_codebook_of_the_page_works(page, tmp_path):
    (codebook,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "town.yaml").write_text(codebook, encoding="utf-8")
    rows = {
        "gender": [1, 2, -1],
        "state": ["New York", "New Jersey", "New York"],
        "income": [29_999, 30_000, 250_000],
        "hispanic": [1, 0, 0],
        "race": [1, 2, 7],
        "q7": [1, 3, 9],
        "weight": [0.5, 1.0, 1.5],
        "years": [18, 70, 44],
    }
    pl.DataFrame(rows).write_csv(tmp_path / "town.csv")
    frame = load_respondents(DataCatalogue(tmp_path, None, tmp_path / "cache"), ["town"]).frame
    CONTRACTS["survey_respondents"].validate(frame)
    assert frame["race_ethnicity"].to_list() == ["hispanic", "black", "other"]
    assert frame["income_group"].to_list() == ["under_30k", "30k_to_60k", "over_100k"]
    assert frame["sex"].to_list() == ["male", "female", None]
    assert frame["item_charge"].to_list() == ["support", "unsure", None]
