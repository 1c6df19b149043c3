"""Import direction and import cost: the rooms' rules hold, and the command line answers at once."""

import subprocess
import sys

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
