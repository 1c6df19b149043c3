"""Asking for assets or groups by name: what they are made from comes along, nothing else, and mistakes are named."""

import pytest

from orchestration.freshness import LINEAGE, STAGE_BY_ASSET
from orchestration.lineage_run import MADE_TOGETHER, Stale, only_wanted
from orchestration.selection import with_upstream
from orchestration.table_store import Partition


def test_an_asset_comes_with_what_it_is_made_from():
    assert with_upstream(["calibrated_respondents"]) == {
        "survey_respondents",
        "population_margins",
        "calibrated_respondents",
    }


def test_a_group_is_whole_and_needs_nothing_downstream():
    wanted = with_upstream(["society"])
    rooms = {STAGE_BY_ASSET[name].room for name in wanted}
    assert rooms == {"population", "society"}
    assert {stage.asset for stage in LINEAGE if stage.room == "society"} <= wanted
    assert "disclosure" not in wanted


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["agents", "tables"], r"--select is tables, which is no group and no asset\. Groups: population, society"),
        ([], r"--select is empty"),
    ],
)
def test_unknown_names_are_answered_with_those_there_are(names, message):
    with pytest.raises(ValueError, match=message):
        with_upstream(names)


def test_only_what_is_stale_and_wanted_is_made_again_with_what_one_computation_makes():
    everything = frozenset(STAGE_BY_ASSET)
    stale = Stale(everything, (Partition("congestion-charge", 0),))
    kept = only_wanted(stale, with_upstream(["agents"]))
    assert {"agents", "households", "calibration_diagnostics"} <= kept.assets
    assert not kept.partitions
    assert all(group <= kept.assets or not group & kept.assets for group in MADE_TOGETHER)
    assert only_wanted(stale, everything) == stale
    assert not only_wanted(Stale(frozenset({"ties", "media_sources"}), ()), with_upstream(["agents"]))
