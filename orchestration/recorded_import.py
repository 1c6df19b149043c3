"""`populace traces import`: recorded answers and their codebook, checked as by a run, kept for the next one."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from assets.sources.catalogue import open_catalogue
from assets.sources.errors import CodebookError
from assets.traces.recorded_answers.as_traces import as_traces
from assets.traces.recorded_answers.codebook import RecordedCodebookFile, load_recorded_codebook
from assets.traces.recorded_answers.importing import RecordedAnswers, import_recorded_answers
from orchestration.settings import Settings
from orchestration.teacher_server import find_respondents
from validation.contracts import CONTRACTS


def import_answers(settings: Settings, codebook_path: Path, files: Sequence[Path]) -> tuple[RecordedAnswers, bool]:
    """Checks files against their codebook and keeps both under `POPULACE_HOME`; all of them or none.

    Importing the same again changes nothing; importing another version under the same name takes its place.

    Args:
        settings: where data and state lie.
        codebook_path: the codebook; its `sources` name the files.
        files: answer files, and the file of persona texts where the codebook names one.

    Returns:
        What was imported, and whether anything changed.

    Raises:
        CodebookError: codebook, files or respondents do not fit, or a named file is not among those given.
        CatalogueError: a file cannot be read.
        ContractError: rows break a contract.
    """
    codebook = load_recorded_codebook(codebook_path)
    named = _named_files(codebook)
    given = {path.name: path for path in files}
    unnamed = sorted(set(given) - named)
    if unnamed:
        raise CodebookError(
            f"{codebook.place('sources')}: {', '.join(unnamed)} is not named by the codebook. Named: "
            f"{', '.join(sorted(named))}. Correct sources, or leave the file out."
        )
    target = settings.recorded_dir / codebook.spec.answers
    settings.recorded_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.root, prefix="import-") as folder:
        staged = Path(folder) / codebook.spec.answers
        staged.mkdir()
        shutil.copy2(codebook_path, staged / codebook_path.name)
        for name, path in given.items():
            if not path.is_file():
                raise CodebookError(f"{path} is no file. Correct the path; nothing was imported.")
            shutil.copy2(path, staged / name)
        respondents, _ = find_respondents(settings)
        imported = import_recorded_answers(
            [load_recorded_codebook(staged / codebook_path.name)], open_catalogue(settings), respondents
        )
        if imported.absent:
            missing = ", ".join(source for sources in imported.absent.values() for source in sources)
            raise CodebookError(f"{codebook.place('sources')}: not at hand: {missing}. Nothing was imported.")
        CONTRACTS["recorded_answers"].validate(imported.answers)
        CONTRACTS["reasoning_traces"].validate(as_traces(imported.answers))
        if _content(target) == _content(staged):
            return imported, False
        if target.exists():
            target.rename(Path(folder) / "replaced")
        staged.rename(target)
    return imported, True


def _named_files(codebook: RecordedCodebookFile) -> set[str]:
    spec = codebook.spec
    return {*spec.sources, *([spec.personas.source] if spec.personas else [])}


def _content(folder: Path) -> dict[str, bytes] | None:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else None
