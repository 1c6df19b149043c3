"""Scenario files: reading one or a folder of them, and adding a new one.

    ScenarioError   a file is missing, too large, no YAML, breaks the schema, or does not fit the others of its folder

One file holds one scenario and is named after it. Nothing in a file is ever run: YAML is read as plain data, predicates
are parsed.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from assets.traces.scenario_errors import Problem, ScenarioError, shortened
from assets.traces.scenario_problems import problems_of
from assets.traces.scenario_schema import Scenario
from assets.traces.scenario_yaml import Document, parse_document

LARGEST_FILE_BYTES = 256 * 1024


def read_scenario(path: Path) -> Scenario:
    """Reads and checks one scenario file by itself; whether its baseline exists is for `read_scenarios`.

    Raises:
        ScenarioError: the file cannot be read or breaks the schema; every problem is listed with its line.
    """
    return _read(path)[0]


def read_scenarios(folder: Path) -> list[Scenario]:
    """Reads every scenario file of a folder, in the order of their ids.

    Raises:
        ScenarioError: any file is wrong, two share an id, a file is not named after its id, or a baseline is missing or
            asks something else; the problems of all files are listed together.
    """
    scenarios, errors = read_valid_scenarios(folder)
    if errors:
        raise ScenarioError([problem for error in errors for problem in error.problems])
    return scenarios


def read_valid_scenarios(folder: Path) -> tuple[list[Scenario], list[ScenarioError]]:
    """The usable scenarios of a folder in the order of their ids, and one error for each file that is not usable.

    For callers that go on with the good files and report the others, such as the sensor of new scenarios.

    Raises:
        ScenarioError: the folder does not exist.
    """
    read, errors = _read_folder(folder)
    return [read[name][0] for name in sorted(read)], errors


def add_scenario(path: Path, folder: Path, *, force: bool = False) -> Path:
    """Checks a scenario file and copies it into a folder as `<id>.yaml`; others see it whole or not at all.

    Args:
        path: the file to add, of any name.
        folder: scenarios to add it to; created when missing. Its baseline must be there already.
        force: whether to replace a different scenario of the same id.

    Returns:
        The file in the folder. A file whose content is already there is left as it is.

    Raises:
        ScenarioError: the file is not usable, its id is taken, or it does not fit its baseline or those that compare
            with it. The folder is then unchanged.
    """
    content = _read_bytes(path)
    scenario, document = _check(content, path)
    target = folder / f"{scenario.id}.yaml"
    if target.resolve().parent != folder.resolve():
        raise ScenarioError(
            [
                _problem_at(
                    document, ("id",), scenario.id, f"an id whose file lies in {folder}", "Remove the link there."
                )
            ]
        )
    if target.exists() and not force:
        if _is_same_content(target, scenario):
            return target
        raise ScenarioError(
            [
                _problem_at(
                    document,
                    ("id",),
                    f"{scenario.id!r}, which {target} already has with another content",
                    "an id of its own",
                    "Choose another id; to replace that scenario, remove its file first or add with force.",
                )
            ]
        )
    others = _read_folder(folder)[0] if folder.exists() else {}
    problems = _baseline_problems({**others, scenario.id: (scenario, document)})
    if problems:
        raise ScenarioError([problem for found in problems.values() for problem in found])
    folder.mkdir(parents=True, exist_ok=True)
    _write_atomically(target, content)
    return target


def content_hash(scenario: Scenario) -> str:
    """sha256 of what a scenario says: comments, layout and the order of fields do not count, defaults do."""
    canonical = json.dumps(scenario.model_dump(mode="json", by_alias=True), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()


def _read_folder(folder: Path) -> tuple[dict[str, tuple[Scenario, Document]], list[ScenarioError]]:
    """The usable files of a folder by scenario id, and one error for each of the others."""
    if not folder.is_dir():
        raise ScenarioError(
            [Problem(folder, None, "", "no folder", "a folder of scenario files", "Create it, or name another folder.")]
        )
    read: dict[str, tuple[Scenario, Document]] = {}
    errors = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.suffix not in (".yaml", ".yml"):
            continue
        try:
            scenario, document = _read(path)
            if path.name != f"{scenario.id}.yaml":
                raise ScenarioError([_misnamed(path, scenario, document)])
            read[scenario.id] = (scenario, document)
        except ScenarioError as error:
            errors.append(error)
    while problems := _baseline_problems(read):
        errors += [ScenarioError(found) for found in problems.values()]
        read = {name: pair for name, pair in read.items() if name not in problems}
    return read, errors


def _read(path: Path) -> tuple[Scenario, Document]:
    return _check(_read_bytes(path), path)


def _read_bytes(path: Path) -> bytes:
    if not path.is_file():
        found = "something that is no file" if path.exists() else "no file"
        raise ScenarioError([Problem(path, None, "", found, "a scenario file", "Check the path.")])
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        found = f"a file that cannot be opened ({error.strerror})"
        raise ScenarioError(
            [Problem(path, None, "", found, "a readable file", "Check the permissions of the file.")]
        ) from error
    if len(content) > LARGEST_FILE_BYTES:
        allowed = f"at most {LARGEST_FILE_BYTES // 1024} KiB"
        raise ScenarioError(
            [Problem(path, None, "", "a larger file", allowed, "Split the scenario; a file holds one scenario only.")]
        )
    return content


def _check(content: bytes, path: Path) -> tuple[Scenario, Document]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = f"the byte 0x{content[error.start]:02x}, which is no UTF-8"
        raise ScenarioError(
            [Problem(path, line, "", found, "text encoded as UTF-8", "Save the file as UTF-8.")]
        ) from error
    document = parse_document(text, path)
    try:
        return Scenario.model_validate(document.data), document
    except ValidationError as error:
        raise ScenarioError(problems_of(error, document)) from error


def _misnamed(path: Path, scenario: Scenario, document: Document) -> Problem:
    expected = path.with_name(f"{scenario.id}.yaml").name
    found = f"{scenario.id!r} in a file named {path.name}"
    return _problem_at(document, ("id",), found, f"that id in {expected}", f"Rename the file to {expected}.")


def _baseline_problems(read: dict[str, tuple[Scenario, Document]]) -> dict[str, list[Problem]]:
    """Problems of scenarios with their baselines, by scenario id: a comparison needs the same people asked the same."""
    problems: dict[str, list[Problem]] = {}
    for scenario, document in read.values():
        if scenario.baseline is None:
            continue
        if scenario.baseline not in read:
            allowed = _listed(name for name in read if name != scenario.id)
            step = "Add that scenario first, mend it if it is there, or name another."
            problems[scenario.id] = [_problem_at(document, ("baseline",), repr(scenario.baseline), allowed, step)]
            continue
        found = _differences(scenario, read[scenario.baseline][0], document)
        if found:
            problems[scenario.id] = found
    return problems


def _differences(scenario: Scenario, baseline: Scenario, document: Document) -> list[Problem]:
    pairs = [
        (("timesteps", "count"), scenario.timesteps.count, baseline.timesteps.count),
        (("timesteps", "unit"), scenario.timesteps.unit, baseline.timesteps.unit),
        (("population", "where"), scenario.population.where, baseline.population.where),
        (("question",), [q.id for q in scenario.questions], [q.id for q in baseline.questions]),
    ]
    for position, (ours, theirs) in enumerate(zip(scenario.questions, baseline.questions, strict=False)):
        for name in ("text", "options", "option_scores", "scale", "item"):
            pairs.append((("question", position, name), getattr(ours, name), getattr(theirs, name)))
    step = f"Make scenario {scenario.id} and its baseline {baseline.id} alike but for their events."
    return [
        _problem_at(document, loc, shortened(ours), f"{shortened(theirs)}, as in {baseline.id}", step)
        for loc, ours, theirs in pairs
        if ours != theirs
    ]


def _problem_at(document: Document, loc: tuple[str | int, ...], found: str, allowed: str, next_step: str) -> Problem:
    field, line = document.locate(loc)
    return Problem(document.file, line, field, found, allowed, next_step)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "no scenario, since the folder has no other"


def _is_same_content(target: Path, scenario: Scenario) -> bool:
    try:
        return content_hash(read_scenario(target)) == content_hash(scenario)
    except ScenarioError:
        return False


def _write_atomically(target: Path, content: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.stem}.", delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            temporary.unlink()
            raise
    try:
        temporary.chmod(0o644)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
