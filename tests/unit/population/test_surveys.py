"""The real surveys, through their codebooks."""

import os
from pathlib import Path

import polars as pl
import pytest

from assets.population.surveys import load_respondents
from assets.sources.catalogue import DataCatalogue
from validation.contracts import CONTRACTS


def agreement(frame, item, **groups):
    """Share that agrees with an item within a group."""
    for name, level in groups.items():
        frame = frame.filter(pl.col(name) == level)
    answers = frame[f"item_{item}"].drop_nulls()
    return answers.is_in(["strongly_agree", "somewhat_agree"]).mean()


def test_embedded_surveys_keep_their_contract_and_size(embedded):
    frame = CONTRACTS["survey_respondents"].validate(embedded.respondents.frame)
    assert dict(frame["survey"].value_counts().rows()) == {"cces_2016": 64_600, "gss_abortion": 64_814}
    assert {use["origin"] for use in embedded.respondents.uses} == {"embedded"}
    assert {use["design_weight"] for use in embedded.respondents.uses} == {"none"}


def test_race_items_point_the_way_the_vote_says(embedded):
    cces = embedded.respondents.frame.filter(pl.col("survey") == "cces_2016")
    trump, other = {"past_vote": "trump"}, {"past_vote": "other_candidate"}
    assert agreement(cces, "angry_about_racism", **other) > agreement(cces, "angry_about_racism", **trump)
    assert agreement(cces, "white_advantage", **other) > agreement(cces, "white_advantage", **trump) + 0.3
    assert agreement(cces, "racial_problems_rare", **trump) > agreement(cces, "racial_problems_rare", **other) + 0.2
    assert agreement(cces, "fear_of_other_races") < 0.2
    assert agreement(cces, "angry_about_racism") > 0.7


def test_attributes_of_the_seed_survey_that_margins_use_are_complete(embedded):
    cces = embedded.respondents.frame.filter(pl.col("survey") == "cces_2016")
    for name in ("sex", "age", "age_group", "race_ethnicity", "education", "region", "state", "past_vote"):
        assert cces[name].null_count() == 0
    assert cces.filter(pl.col("state") == "DC")["region"].unique().to_list() == ["south"]
    religious = cces.group_by("religion_importance").agg((pl.col("party") == "republican").mean().alias("share"))
    shares = dict(religious.drop_nulls().rows())
    assert shares["very"] > shares["not_at_all"]


def test_abortion_items_are_ordered_as_known(embedded):
    gss = embedded.respondents.frame.filter(pl.col("survey") == "gss_abortion")
    support = {name: (gss[f"item_abortion_{name}"].drop_nulls() == "yes").mean() for name in ("health", "any_reason")}
    assert support["health"] > 0.85
    assert 0.3 < support["any_reason"] < 0.5
    assert embedded.respondents.items["abortion_health"].options == ("yes", "no")


@pytest.mark.data
def test_mirror_adds_the_panel_with_weights(tmp_path):
    mirror = os.environ.get("POPULACE_DATA_MIRROR")
    if not mirror:
        pytest.skip("POPULACE_DATA_MIRROR is not set")
    respondents = load_respondents(DataCatalogue(None, Path(mirror), tmp_path))
    frame = CONTRACTS["survey_respondents"].validate(respondents.frame)
    panel = frame.filter(pl.col("survey") == "gss_2016_2020_panel")
    assert dict(panel["wave"].value_counts().rows()) == {2016: 2867, 2018: 2348, 2020: 1823}
    assert panel["design_weight"].n_unique() > 100
    assert (panel["item_death_penalty"].drop_nulls() == "favor").mean() > 0.5
    origins = {use["source"]: use["origin"] for use in respondents.uses}
    assert origins["cces_2016"] == origins["gss_abortion"] == "embedded"
    assert origins["gss_2016_2020_panel"] == "mirror"
    assert respondents.items["abortion_any_reason"].surveys == ("gss_abortion", "gss_2016_2020_panel")
