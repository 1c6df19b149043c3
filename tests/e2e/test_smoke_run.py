"""The whole lineage on real data, run as a user runs it: what it prints, leaves behind and re-uses."""

import re
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from orchestration.query import run_query
from orchestration.recipes import RECIPES
from orchestration.records import Records
from validation.contracts import CONTRACTS
from validation.report import read_figures
from validation.report.page import rows_for_json

pytestmark = pytest.mark.slow
RECIPE = RECIPES["smoke"]


def report_page(home) -> str:
    return Path(Records(home.root / "records").read("validation_report")["path"]).read_text(encoding="utf-8")


def test_the_run_ends_with_shares_the_report_and_how_to_open_it(smoke_home) -> None:
    assert "Decision shares" in smoke_home.output
    assert "abortion-ruling" in smoke_home.output
    assert re.search(r"\d+\.\d% … \d+\.\d%", smoke_home.output)
    assert "report.html" in smoke_home.output.replace("\n", "")
    assert "make up" in smoke_home.output


def test_every_table_is_there_with_the_sizes_of_the_recipe(smoke_home) -> None:
    assert smoke_home.store.tables() == list(CONTRACTS)
    agents = smoke_home.store.read("agents")
    scenarios = smoke_home.store.read("scenarios")["scenario_id"].n_unique()
    trajectories = smoke_home.store.scan("trajectories").filter(pl.col("engine") == "lsm").collect()

    assert agents.height == RECIPE.num_agents
    assert trajectories["scenario_id"].n_unique() == scenarios == 6
    assert trajectories["replicate"].n_unique() == RECIPE.num_replicates
    assert trajectories.height == scenarios * RECIPE.num_replicates * RECIPE.num_agents * (RECIPE.max_timesteps + 1)


def test_the_student_is_registered_without_pickles_and_with_a_card(smoke_home) -> None:
    artifacts = smoke_home.root / "mlflow" / "artifacts"
    names = {path.name for path in artifacts.rglob("*") if path.is_file()}

    assert any(name.endswith(".safetensors") for name in names)
    assert "MODEL_CARD.md" in names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".pt"))]


def test_the_data_sources_and_the_teacher_are_named_as_what_they_are(smoke_home) -> None:
    page = report_page(smoke_home)

    assert "embedded" in page
    assert "not a language model" in page
    for source in ("cces_2016", "gss_abortion", "margins_us_2016"):
        assert source in page
    assert smoke_home.store.read("reasoning_traces")["teacher"].unique().to_list() == ["embedded"]


def test_every_figure_of_the_report_is_recomputed_by_its_query(smoke_home) -> None:
    figures = read_figures(report_page(smoke_home))
    assert len(figures) > 20

    for figure in figures:
        frame = run_query(smoke_home.store, figure["sql"])
        assert frame.columns == figure["columns"], figure["caption"]
        again, shown = (
            pl.DataFrame(rows, schema=figure["columns"], orient="row", infer_schema_length=None)
            for rows in (rows_for_json(frame), figure["rows"])
        )
        assert_frame_equal(again, shown, rel_tol=1e-9, abs_tol=1e-12)


def test_the_page_asks_nothing_of_the_network(smoke_home) -> None:
    page = report_page(smoke_home)

    assert not re.search(r'<(script|link|img|iframe)[^>]+(src|href)="https?://', page)


def test_the_same_seed_gives_the_same_population_and_graph(smoke_home) -> None:
    from assets.society.ties import form_society

    agents = smoke_home.store.read("agents").drop("run_id")
    ties = form_society(agents, RECIPE.seed)[0].rows()

    stored = smoke_home.store.read("ties").drop("run_id")
    assert ties.sort(CONTRACTS["ties"].key).equals(stored)
