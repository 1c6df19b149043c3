"""Settings and the home folder: unwritable homes and unknown recipes end in one message."""

from pathlib import Path

import pytest
import yaml

from orchestration.recipes import RECIPES, Recipe, find_recipe
from orchestration.settings import PROJECT_ROOT, HomeNotWritable, Settings, prepare_home


def test_a_home_is_made_with_telemetry_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DAGSTER_HOME", "POPULACE_HOME", "DAGSTER_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "before")

    root = prepare_home(Settings(home=tmp_path / "home"))

    instance = yaml.safe_load((root / "dagster" / "dagster.yaml").read_text(encoding="utf-8"))
    assert instance["telemetry"] == {"enabled": False}
    assert (root / "tables").is_dir()


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("keep me", encoding="utf-8")

    with pytest.raises(HomeNotWritable, match="Set POPULACE_HOME"):
        prepare_home(Settings(home=blocked))

    assert blocked.read_text(encoding="utf-8") == "keep me"


def test_the_example_environment_lists_every_setting() -> None:
    listed = (PROJECT_ROOT / ".env.example").read_text(encoding="utf-8")

    for name in Settings.model_fields:
        variable = "OPENAI_API_KEY" if name == "openai_api_key" else f"POPULACE_{name.upper()}"
        assert variable in listed


def test_a_secret_never_shows() -> None:
    settings = Settings(OPENAI_API_KEY="sk-very-secret")  # pyright: ignore[reportCallIssue]

    assert "very-secret" not in repr(settings)
    assert "very-secret" not in settings.model_dump_json()


def test_an_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="smoke, laptop, full"):
        find_recipe("feast")


def test_a_panel_larger_than_the_population_is_refused() -> None:
    with pytest.raises(ValueError, match="panel_size"):
        Recipe(**{**RECIPES["smoke"].as_dict(), "panel_size": 10_000})  # pyright: ignore[reportArgumentType]
