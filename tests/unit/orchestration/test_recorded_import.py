"""`populace traces import` keeps answers that are sound, all of them or none, and the next run is told."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from assets.sources.errors import CodebookError
from assets.traces.recorded_answers.codebook import find_recorded_codebooks
from orchestration.cli import app
from orchestration.freshness import read_outside_inputs
from orchestration.recorded_import import import_answers
from orchestration.settings import Settings

CODEBOOK = """\
answers: town_llm
title: Answers of a model to a town item
scenario_id: town-items
sources: [town_llm.csv]
respondents: {survey: town, first_row: 1}
columns: {persona: who, model: model, item: item, answer: code}
items:
  q7:
    question_id: charge
    question: Should the town charge for driving into the centre?
    scale: nominal
    options: {1: support, 2: oppose}
    item: charge
"""
ANSWERS = "who,model,item,code\n1,m,q7,1\n2,m,q7,2\n3,m,q7,\n"


@pytest.fixture
def settings(tmp_path_factory: pytest.TempPathFactory, user_survey: Path) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"), data_dir=user_survey, _env_file=None)  # pyright: ignore[reportCallIssue]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    folder = tmp_path / "given"
    folder.mkdir()
    codebook, answers = folder / "town_llm.yaml", folder / "town_llm.csv"
    codebook.write_text(CODEBOOK)
    answers.write_text(ANSWERS)
    return codebook, answers


def test_an_import_is_kept_found_by_the_next_run_and_idempotent(settings: Settings, files: tuple[Path, Path]) -> None:
    codebook, answers = files
    before = read_outside_inputs(settings)
    imported, has_changed = import_answers(settings, codebook, [answers])
    after = read_outside_inputs(settings)
    assert has_changed
    assert imported.answers.height == 3
    assert imported.answers["human_option"].count() == 2
    assert (after.recorded != before.recorded, after.data == before.data) == (True, True)
    assert "town_llm" in [each.spec.answers for each in find_recorded_codebooks(None, settings.recorded_dir)]
    assert import_answers(settings, codebook, [answers])[1] is False
    assert read_outside_inputs(settings).recorded == after.recorded
    answers.write_text(ANSWERS.replace("2,m,q7,2", "2,m,q7,1"))
    assert import_answers(settings, codebook, [answers])[1] is True
    assert read_outside_inputs(settings).recorded not in (before.recorded, after.recorded)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (ANSWERS.replace("1,m,q7,1", "1,m,q7,9"), "does not explain"),
        (ANSWERS.replace("q7", "q8"), "does not describe: q8"),
        (ANSWERS.replace("3,m", "33,m"), "lead to no respondent"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_kept(
    settings: Settings, files: tuple[Path, Path], content: str, words: str
) -> None:
    codebook, answers = files
    import_answers(settings, codebook, [answers])
    kept = read_outside_inputs(settings).recorded
    answers.write_text(content)
    with pytest.raises(CodebookError, match=words):
        import_answers(settings, codebook, [answers])
    assert read_outside_inputs(settings).recorded == kept, "what was there before stays"
    assert sorted(path.name for path in settings.root.iterdir()) == ["recorded_answers"], "nothing is left behind"


def test_files_that_the_codebook_does_not_name_and_absent_ones_are_named(
    settings: Settings, files: tuple[Path, Path], tmp_path: Path
) -> None:
    codebook, answers = files
    other = tmp_path / "other.csv"
    other.write_text("a\n")
    with pytest.raises(CodebookError, match=r"other\.csv is not named by the codebook"):
        import_answers(settings, codebook, [answers, other])
    with pytest.raises(CodebookError, match=r"town_llm\.csv.*is neither a source"):
        import_answers(settings, codebook, [])


def test_the_command_says_what_it_imported(
    settings: Settings, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POPULACE_HOME", str(settings.home))
    monkeypatch.setenv("POPULACE_DATA_DIR", str(settings.data_dir))
    monkeypatch.delenv("POPULACE_DATA_MIRROR", raising=False)
    codebook, answers = files
    for last in ("Imported; populace run puts them into reasoning_traces.", "Nothing has changed."):
        result = CliRunner().invoke(app, ["traces", "import", "--codebook", str(codebook), str(answers)])
        assert result.exit_code == 0, result.output
        assert "3 answers of 1 models to 1 questions; 1 could not be read" in result.output
        assert last in result.output
