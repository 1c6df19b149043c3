"""Keeps README and docs honest: their commands run, their links lead somewhere, their reference pages are complete."""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

import psutil
import pytest
from typer.main import get_command

from orchestration.cli import app
from orchestration.settings import PROJECT_ROOT, Settings
from validation.contracts import CONTRACTS

PAGES = (PROJECT_ROOT / "README.md", *sorted((PROJECT_ROOT / "docs").rglob("*.md")))
REFERENCE = PROJECT_ROOT / "docs" / "reference"
COMMAND_SECONDS = 280
START_SECONDS = 90
STOP_SECONDS = 30
RUN_FOR_REAL = frozenset({"run", "doctor"})
ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)
NAMED_FILE = re.compile(r"[Ss]ave this as `([\w.-]+)`[^`]*```yaml\n(.*?)```", re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"```.*?```", re.DOTALL)


@dataclass(frozen=True)
class Line:
    """A command of a page: where it stands, the variables set before it, its words without the comment."""

    place: str
    assignments: tuple[str, ...]
    words: tuple[str, ...]


def commands_of(page: Path) -> Iterator[Line]:
    """The lines of a page's bash blocks; a line that ends in a backslash goes on in the next."""
    is_bash, begun = False, ""
    for number, text in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if text.startswith("```"):
            is_bash = text.strip() == "```bash"
            continue
        if not is_bash:
            continue
        begun += text
        if begun.endswith("\\"):
            begun = begun[:-1]
            continue
        words, begun = shlex.split(begun, comments=True), ""
        if words and words[0] == "export":
            words = words[1:]
        first = next((index for index, word in enumerate(words) if not ASSIGNMENT.fullmatch(word)), len(words))
        if words:
            place = f"{page.relative_to(PROJECT_ROOT)}:{number}"
            yield Line(place, tuple(words[:first]), tuple(words[first:]))


def make_targets() -> set[str]:
    """The phony targets of the Makefile."""
    declared = re.search(r"^\.PHONY:(.*)$", (PROJECT_ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert declared
    return set(declared.group(1).split())


@dataclass(frozen=True)
class Desk:
    """Where a reader sits: a folder to type in and the environment of the shell."""

    folder: Path
    environment: dict[str, str]

    def execute(self, command: list[str], extra: Mapping[str, str], place: str, folder: Path | None = None) -> None:
        """Runs a command to its end; anything but success fails with the place that promised it."""
        result = subprocess.run(
            command,
            cwd=folder or self.folder,
            env={**self.environment, **extra},
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert result.returncode == 0, f"{place}: {shlex.join(command)}\n{result.stderr[-3000:]}{result.stdout[-3000:]}"


@pytest.fixture
def desk(smoke_home, tmp_path: Path) -> Desk:
    """A desk with the state of a finished run and scenarios of its own."""
    home, scenarios, folder = tmp_path / "home", tmp_path / "scenarios", tmp_path / "desk"
    shutil.copytree(smoke_home.root, home)
    shutil.copytree(PROJECT_ROOT / "scenarios", scenarios)
    folder.mkdir()
    environment = {**smoke_home.environment, "POPULACE_HOME": str(home), "POPULACE_SCENARIOS_DIR": str(scenarios)}
    return Desk(folder, environment)


def free_port() -> int:
    """A port of loopback on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port: int) -> bool:
    """Whether a web server answers on the port of loopback."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def processes_of(home: str) -> list[psutil.Process]:
    """Every running process whose environment names the home."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("POPULACE_HOME") == home and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def serve_and_interrupt(desk: Desk, command: list[str], folder: Path, place: str) -> None:
    """Starts the servers, waits until both answer, interrupts as Ctrl-C does, and looks for what is left behind."""
    ports = (free_port(), free_port())
    environment = {
        **desk.environment,
        "POPULACE_DAGSTER_PORT": str(ports[0]),
        "POPULACE_MLFLOW_PORT": str(ports[1]),
    }
    home = environment["POPULACE_HOME"]
    log = desk.folder / "servers.log"
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not all(answers(port) for port in ports):
            assert process.poll() is None, f"{place}: ended early\n{log.read_text(encoding='utf-8')[-4000:]}"
            assert time.monotonic() < deadline, f"{place}: no answer\n{log.read_text(encoding='utf-8')[-4000:]}"
            time.sleep(0.5)
        os.killpg(process.pid, signal.SIGINT)
        process.wait(STOP_SECONDS)
        deadline = time.monotonic() + 5
        while (left := processes_of(home)) and time.monotonic() < deadline:
            time.sleep(0.3)
        assert [" ".join(one.cmdline()) for one in left if one.is_running()] == [], place
    finally:
        for one in processes_of(home):
            one.kill()
        process.wait(STOP_SECONDS)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if next(commands_of(page), None)],
    ids=lambda page: str(page.relative_to(PROJECT_ROOT)),
)
def test_every_documented_command_runs(page: Path, desk: Desk) -> None:
    for name, content in NAMED_FILE.findall(page.read_text(encoding="utf-8")):
        (desk.folder / name).write_text(content, encoding="utf-8")
    make = ["make", f"VENV={sys.prefix}", "-o", f"{sys.prefix}/.run", "-o", f"{sys.prefix}/.dev"]
    exported: dict[str, str] = {}
    for line in commands_of(page):
        assigned = dict(word.split("=", 1) for word in line.assignments)
        here = {**desk.environment, **exported, "PWD": str(PROJECT_ROOT)}
        extra = {**exported, **{name: Template(value).safe_substitute(here) for name, value in assigned.items()}}
        match line.words:
            case ():
                exported = extra
            case ("make", "up"):
                serve_and_interrupt(desk, [*make, "up"], PROJECT_ROOT, line.place)
            case ("populace", "up"):
                serve_and_interrupt(desk, ["populace", "up"], desk.folder, line.place)
            case ("make", target):
                assert target in make_targets(), f"{line.place}: the Makefile has no target {target}"
                desk.execute(["make", "-n", target], extra, line.place, PROJECT_ROOT)
                if target in RUN_FOR_REAL:
                    desk.execute([*make, target], extra, line.place, PROJECT_ROOT)
            case ("populace", *_):
                desk.execute(list(line.words), extra, line.place)
            case _:
                pytest.fail(f"{line.place}: {shlex.join(line.words)} is neither populace, make nor a variable")


def test_the_readme_and_the_tutorial_show_commands() -> None:
    for page in (PROJECT_ROOT / "README.md", PROJECT_ROOT / "docs" / "tutorial" / "first-run.md"):
        assert len(list(commands_of(page))) >= 5, page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT_ROOT)))
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    targets = LINK.findall(FENCED.sub("", page.read_text(encoding="utf-8")))
    local = [target.split("#")[0] for target in targets if not re.match(r"https?:|mailto:|#", target)]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_the_index_names_every_page_of_the_docs() -> None:
    index = PROJECT_ROOT / "docs" / "README.md"
    linked = {(index.parent / target).resolve() for target in LINK.findall(index.read_text(encoding="utf-8"))}
    decisions = PROJECT_ROOT / "docs" / "adr"
    pages = {page for page in PAGES if page.is_relative_to(index.parent) and page != index}
    assert {page for page in pages if page.parent != decisions} - linked == set()
    assert decisions in linked or {page for page in pages if page.parent == decisions} <= linked


def test_the_readme_draws_every_table() -> None:
    diagram = re.search(r"```mermaid\n(.*?)```", (PROJECT_ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert diagram
    drawn = set(re.findall(r"\w+", diagram.group(1).replace("<br/>", " ")))
    assert {*CONTRACTS, "student_model", "validation_report"} - drawn == set()


def test_help_answers_within_two_seconds() -> None:
    seconds = []
    for _ in range(3):
        began = time.monotonic()
        program = Path(sys.executable).parent / "populace"
        result = subprocess.run([str(program), "--help"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
        seconds.append(time.monotonic() - began)
        assert "scenario" in result.stdout
    assert min(seconds) < 2


def test_the_reference_lists_every_command_and_option() -> None:
    page = (REFERENCE / "commands.md").read_text(encoding="utf-8")

    def check(command, name: str) -> None:
        for child, below in getattr(command, "commands", {}).items():
            check(below, f"{name} {child}")
        if not hasattr(command, "commands"):
            section = re.search(rf"^## `{name}`$(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
            assert section, name
            options = [option for parameter in command.params for option in parameter.opts if option.startswith("--")]
            assert [option for option in options if option != "--help" and f"`{option}" not in section.group(1)] == []

    check(get_command(app), "populace")


def test_the_reference_lists_every_setting_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", (REFERENCE / "settings.md").read_text("utf-8"), re.MULTILINE))
    names = {
        "OPENAI_API_KEY" if name == "openai_api_key" else f"POPULACE_{name.upper()}": field.default
        for name, field in Settings.model_fields.items()
    }
    assert set(rows) >= set(names)
    for name, default in names.items():
        if isinstance(default, bool):
            shown = str(default).lower()
        elif isinstance(default, Path) and default.is_absolute():
            shown = str(default.relative_to(PROJECT_ROOT))
        else:
            shown = "none" if default is None else f"{default:g}" if isinstance(default, float) else str(default)
        assert rows[name].strip("`") == shown, name
