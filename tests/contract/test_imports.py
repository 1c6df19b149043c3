"""Import direction and import cost: the rooms' rules hold, and the command line answers at once."""

import ast
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from orchestration.settings import PROJECT_ROOT


def test_import_contracts_are_kept() -> None:
    result = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stdout
    assert "broken" in result.stdout
    assert " 0 broken" in result.stdout


def test_only_definitions_and_checks_of_a_room_import_dagster() -> None:
    for path in (PROJECT_ROOT / "assets").rglob("*.py"):
        if path.name not in ("definitions.py", "checks.py"):
            assert "import dagster" not in path.read_text(encoding="utf-8"), path


def test_the_command_line_loads_nothing_heavy() -> None:
    heavy = ("torch", "dagster", "mlflow", "polars", "great_expectations", "openai", "sklearn")
    code = f"import sys, orchestration.cli; print([name for name in {heavy} if name in sys.modules])"

    result = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"


NEEDED_WITHOUT_IMPORT = ("psutil", "python-multipart", "pandera", "matplotlib")
"""What a run needs though no file of ours imports it: MLflow's system metrics, uploads of files, optional features."""

COMES_WITH = {"aiohttp": "mlflow", "markupsafe": "jinja2", "pydantic-core": "pydantic", "triton": "torch"}
"""Imports that a declared package brings along, or that are tried for and may be absent."""


def declared_for_a_run() -> set[str]:
    """Packages that `make run` asks for: the dependencies and the extras demo and kernels, not the tools for tests."""
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["demo"], *extras["kernels"]]
    return {canonicalize_name(Requirement(line).name) for line in wanted}


def test_what_a_run_needs_is_declared_outside_the_tools_for_tests() -> None:
    imported: set[str] = set()
    for package in ("orchestration", "assets", "model", "validation"):
        for path in (PROJECT_ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    imported.add(node.module.split(".")[0])
    ours = {"orchestration", "assets", "model", "validation"}
    distributions = packages_distributions()
    declared = declared_for_a_run()
    undeclared = {
        name
        for name in imported - ours - sys.stdlib_module_names
        if not {canonicalize_name(found) for found in distributions.get(name, [name])} & (declared | COMES_WITH.keys())
    }

    assert undeclared == set()
    assert set(NEEDED_WITHOUT_IMPORT) <= declared
    assert set(COMES_WITH.values()) <= declared
