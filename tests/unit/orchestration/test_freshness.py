"""Fingerprints: they change with what an asset depends on, and with nothing else."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from orchestration.freshness import (
    LINEAGE,
    PROJECT_ROOT,
    STAGE_BY_ASSET,
    OutsideInputs,
    expected_fingerprints,
    read_outside_inputs,
)
from orchestration.recipes import RECIPES
from orchestration.settings import Settings
from orchestration.table_store import Partition

RECIPE = RECIPES["smoke"]
OUTSIDE = OutsideInputs(
    data="data",
    teacher="embedded",
    scenario_digests={"ad": "1", "quiet": "2"},
    baselines={"ad": "quiet", "quiet": None},
)


def changed(recipe=RECIPE, outside=OUTSIDE) -> set[str]:
    before, after = expected_fingerprints(RECIPE, OUTSIDE), expected_fingerprints(recipe, outside)
    return {
        f"{asset}[{partition.key}]" if partition else asset
        for (asset, partition) in before.keys() | after.keys()
        if before.get((asset, partition)) != after.get((asset, partition))
    }


def test_nothing_changes_when_nothing_changes() -> None:
    assert changed() == set()


def test_new_data_make_everything_stale_but_scenarios() -> None:
    stale = changed(outside=replace(OUTSIDE, data="other"))

    assert {stage.asset for stage in LINEAGE if not stage.is_partitioned} - stale == {
        "scenarios",
        "benchmark_scenarios",
    }


def test_another_text_encoder_makes_a_new_student_and_leaves_the_population() -> None:
    stale = changed(outside=replace(OUTSIDE, encoder="embed-1"))

    assert {"scenarios", "benchmark_scenarios", "recorded_questions", "student_model"} <= stale
    assert any(name.startswith("trajectories[") for name in stale)
    assert not stale & {"agents", "ties", "calibrated_respondents", "recorded_answers"}


def test_the_teacher_is_downstream_of_the_population() -> None:
    stale = changed(outside=replace(OUTSIDE, teacher="somebody"))

    assert "reasoning_traces" in stale
    assert "student_model" in stale
    assert not stale & {"agents", "ties", "calibrated_respondents", "benchmark_scores"}


def test_the_teacher_is_as_fresh_as_the_rule_by_which_its_triggers_fire() -> None:
    """Code of an engine that the room of traces uses, so that the room's own files do not tell of it."""
    used = set()
    for path in (PROJECT_ROOT / "assets/traces").rglob("*.py"):
        used |= set(re.findall(r"^from (model[.\w]*) import", path.read_text(encoding="utf-8"), flags=re.MULTILINE))
    followed = {place.removesuffix(".py").replace("/", ".") for place in STAGE_BY_ASSET["reasoning_traces"].other_code}

    assert used
    assert used <= followed


def test_training_longer_leaves_the_traces() -> None:
    stale = changed(recipe=replace(RECIPE, training_epochs=99))

    assert "student_model" in stale
    assert "reasoning_traces" not in stale


def test_a_baseline_file_makes_the_comparisons_with_it_stale() -> None:
    recorded = expected_fingerprints(RECIPE, OUTSIDE)
    partition = Partition("ad", 0)
    other = expected_fingerprints(RECIPE, replace(OUTSIDE, baselines={"ad": None, "quiet": None}))

    assert recorded["counterfactuals", partition] != other["counterfactuals", partition]
    assert recorded["outcomes", partition] == other["outcomes", partition]


def test_outside_inputs_follow_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POPULACE_DATA_MIRROR", raising=False)
    (tmp_path / "ad.yaml").write_text("id: ad\nbaseline: quiet\n", encoding="utf-8")
    first = read_outside_inputs(Settings(scenarios_dir=tmp_path, home=tmp_path / "home"))
    (tmp_path / "ad.yaml").write_text("id: ad\nbaseline: quiet\ntitle: new\n", encoding="utf-8")
    second = read_outside_inputs(Settings(scenarios_dir=tmp_path, home=tmp_path / "home"))

    assert first.baselines == second.baselines == {"ad": "quiet"}
    assert first.scenario_digests != second.scenario_digests
