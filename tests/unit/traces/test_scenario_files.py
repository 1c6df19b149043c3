"""Folders of scenario files: what belongs together, and how a new file joins."""

import shutil
from pathlib import Path

import pytest

from assets.traces.scenario_errors import ScenarioError
from assets.traces.scenario_files import add_scenario, content_hash, read_scenario, read_scenarios, read_valid_scenarios
from validation.events import MEDIA_SOURCE_TYPES

SHIPPED = Path(__file__).parents[3] / "scenarios"
BASELINE = """\
id: quiet
question: {id: support, text: "Do you support the toll?", options: [support, oppose]}
timesteps: {count: 4, unit: week}
"""
COMPARED = BASELINE.replace("quiet", "toll") + (
    "events:\n"
    "  - {id: news, at: 1, source: {name: city hall, type: government}, channel: broadcast, framing: clean air,\n"
    "     content: A toll is announced., valence: 0.4, credibility: 0.6, exposure: {reach: 0.7}}\n"
    "baseline: quiet\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "scenarios"
    folder.mkdir()
    (folder / "quiet.yaml").write_text(BASELINE)
    (folder / "toll.yaml").write_text(COMPARED)
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_reads_in_the_order_of_ids_and_ignores_other_files(folder: Path) -> None:
    (folder / "README.md").write_text("notes")
    (folder / ".toll.yaml.swp").write_text("{")
    (folder / ".draft.yaml").write_text("{")
    assert [scenario.id for scenario in read_scenarios(folder)] == ["quiet", "toll"]


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="no folder"):
        read_scenarios(tmp_path / "absent")


def test_missing_baseline_is_refused_by_line(folder: Path) -> None:
    (folder / "quiet.yaml").unlink()
    with pytest.raises(ScenarioError, match=r"toll\.yaml, line 7, baseline: found 'quiet'"):
        read_scenarios(folder)


def test_file_not_named_after_its_scenario_is_refused(folder: Path) -> None:
    shutil.copy(folder / "quiet.yaml", folder / "calm.yaml")
    with pytest.raises(ScenarioError, match=r"calm\.yaml, line 1, id: .*Rename the file to quiet\.yaml"):
        read_scenarios(folder)
    (folder / "calm.yaml").rename(folder / "quiet.yml")
    with pytest.raises(ScenarioError, match=r"Rename the file to quiet\.yaml"):
        read_scenarios(folder)


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("[support, oppose]", "[support, reject]", "question.options"),
        ("Do you support the toll?", "Would you pay a toll?", "question.text"),
        ("{id: support,", "{id: approval,", "question"),
        ("count: 4", "count: 5", "timesteps.count"),
        ("timesteps:", "population: {where: \"sex = 'female'\"}\ntimesteps:", "population.where"),
    ],
)
def test_baseline_that_asks_something_else_is_refused(folder: Path, old: str, new: str, field: str) -> None:
    (folder / "quiet.yaml").write_text(BASELINE.replace(old, new))
    with pytest.raises(ScenarioError) as caught:
        read_scenarios(folder)
    assert field in [problem.field for problem in caught.value.problems]
    assert "as in quiet" in str(caught.value)


def test_problems_of_all_files_are_listed_and_good_files_stay_usable(folder: Path) -> None:
    (folder / "bad.yaml").write_text("id: bad\n")
    (folder / "worse.yaml").write_text("id: [")
    with pytest.raises(ScenarioError) as caught:
        read_scenarios(folder)
    assert {problem.file.name for problem in caught.value.problems} == {"bad.yaml", "worse.yaml"}
    scenarios, errors = read_valid_scenarios(folder)
    assert [scenario.id for scenario in scenarios] == ["quiet", "toll"]
    assert len(errors) == 2


def test_scenario_that_lost_its_baseline_takes_down_those_that_compare_with_it(folder: Path) -> None:
    third = COMPARED.replace("id: toll", "id: higher-toll").replace("baseline: quiet", "baseline: toll")
    (folder / "higher-toll.yaml").write_text(third)
    (folder / "quiet.yaml").write_text("id: [")
    scenarios, errors = read_valid_scenarios(folder)
    assert scenarios == []
    assert len(errors) == 3


def test_added_file_is_copied_byte_by_byte_under_its_id(folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "my draft.yaml"
    source.write_text("# a comment\n" + COMPARED.replace("id: toll", "id: fare"))
    target = add_scenario(source, folder)
    assert target == folder / "fare.yaml"
    assert target.read_bytes() == source.read_bytes()
    assert names(folder) == ["fare.yaml", "quiet.yaml", "toll.yaml"]


def test_first_file_makes_the_folder(tmp_path: Path) -> None:
    source = tmp_path / "quiet.yaml"
    source.write_text(BASELINE)
    assert add_scenario(source, tmp_path / "new" / "folder").exists()


def test_another_scenario_of_the_same_id_is_kept_unless_forced(folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "toll.yaml"
    source.write_text("# only a comment differs\n" + COMPARED)
    assert add_scenario(source, folder) == folder / "toll.yaml"
    assert (folder / "toll.yaml").read_text() == COMPARED
    source.write_text(COMPARED.replace("valence: 0.4", "valence: 0.5"))
    with pytest.raises(ScenarioError, match="already has with another content"):
        add_scenario(source, folder)
    assert (folder / "toll.yaml").read_text() == COMPARED
    add_scenario(source, folder, force=True)
    assert read_scenario(folder / "toll.yaml").events[0].valence == 0.5


def test_replacing_a_baseline_may_not_break_those_that_compare_with_it(folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "quiet.yaml"
    source.write_text(BASELINE.replace("count: 4", "count: 9"))
    with pytest.raises(ScenarioError, match=r"scenarios/toll\.yaml, line 3, timesteps\.count"):
        add_scenario(source, folder, force=True)
    assert (folder / "quiet.yaml").read_text() == BASELINE


def test_nothing_is_added_without_its_baseline(folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "toll.yaml"
    source.write_text(COMPARED.replace("id: toll", "id: fare").replace("baseline: quiet", "baseline: absent"))
    with pytest.raises(ScenarioError, match="found 'absent'; allowed: quiet, toll"):
        add_scenario(source, folder)
    with pytest.raises(ScenarioError):
        add_scenario(source, tmp_path / "other")
    assert names(folder) == ["quiet.yaml", "toll.yaml"]
    assert not (tmp_path / "other").exists()


def test_a_broken_neighbour_does_not_stop_an_addition(folder: Path, tmp_path: Path) -> None:
    (folder / "broken.yaml").write_text("id: [")
    source = tmp_path / "fare.yaml"
    source.write_text(COMPARED.replace("id: toll", "id: fare"))
    assert add_scenario(source, folder).exists()


def test_no_file_is_written_through_a_link_out_of_the_folder(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.yaml"
    outside.write_text("precious")
    (folder / "fare.yaml").symlink_to(outside)
    source = tmp_path / "fare.yaml"
    source.write_text(COMPARED.replace("id: toll", "id: fare"))
    with pytest.raises(ScenarioError, match="Remove the link"):
        add_scenario(source, folder, force=True)
    assert outside.read_text() == "precious"


def test_an_interrupted_write_leaves_no_trace(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("assets.traces.scenario_files.os.fsync", fail)
    source = tmp_path / "toll.yaml"
    source.write_text(COMPARED.replace("valence: 0.4", "valence: 0.5"))
    with pytest.raises(OSError, match="disk full"):
        add_scenario(source, folder, force=True)
    assert (folder / "toll.yaml").read_text() == COMPARED
    assert names(folder) == ["quiet.yaml", "toll.yaml"]


def test_hash_is_about_what_a_file_says(folder: Path) -> None:
    path = folder / "toll.yaml"
    before = content_hash(read_scenario(path))
    lines = COMPARED.splitlines(keepends=True)
    path.write_text(
        "# comment\n"
        + "".join(lines[-1:] + lines[:-1]).replace("{id: support,", "{option_scores: [1, -1], id: support,")
    )
    assert content_hash(read_scenario(path)) == before
    path.write_text(COMPARED.replace("reach: 0.7", "reach: 0.71"))
    assert content_hash(read_scenario(path)) != before


def test_shipped_scenarios_cover_the_kinds_that_users_need() -> None:
    """Static, evolving and triggered, each with a baseline without events, on survey items, over the same weeks."""
    scenarios = {scenario.id: scenario for scenario in read_scenarios(SHIPPED)}
    compared = [scenario for scenario in scenarios.values() if scenario.baseline]
    assert {len(scenario.questions) for scenario in scenarios.values()} == {1}
    assert {scenario.timesteps.count for scenario in scenarios.values()} == {12}
    assert all(scenario.questions[0].item for scenario in scenarios.values())
    assert all(not scenarios[scenario.baseline].events for scenario in compared if scenario.baseline)
    assert all(scenario.interventions for scenario in compared)
    static = scenarios["abortion-ruling"]
    assert [(event.at, event.duration) for event in static.events] == [(1, static.timesteps.count)]
    evolving = scenarios["advantage-debate"]
    assert {event.valence > 0 for event in evolving.events} == {True, False}
    assert {event.channel for event in evolving.events} & set(MEDIA_SOURCE_TYPES)
    assert any(event.exposure.where for event in evolving.events)
    assert [trigger.when.option for trigger in scenarios["hiring-audit"].triggers] == ["strongly_disagree"]
