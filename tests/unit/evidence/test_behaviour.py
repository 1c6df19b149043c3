"""Behaviour benchmarks: declarations that stand on their own, and scores that follow from them."""

from pathlib import Path

import polars as pl
import pytest
import torch

from assets.evidence.behaviour import BehaviourError, Society, final_answers, load_behaviours, score_behaviours
from assets.tensors import attribute_levels, ties_to_graph
from assets.traces.scenario_files import read_scenarios
from assets.traces.scenario_table import scenarios_table
from assets.traces.text_encoder import encode_texts
from model.lsm.config import LSMConfig
from model.lsm.lsm import LSM
from orchestration.settings import PROJECT_ROOT
from validation.attributes import ATTRIBUTES, SOCIAL_TIE_TYPES
from validation.channels import channel_names
from validation.contracts import CONTRACTS
from validation.events import SOURCE_TYPES

FOLDER = PROJECT_ROOT / "scenarios" / "benchmarks"


@pytest.fixture(scope="module")
def scenarios() -> pl.DataFrame:
    return scenarios_table(read_scenarios(FOLDER))


@pytest.fixture(scope="module")
def agents() -> pl.DataFrame:
    rows = [
        {"agent_id": i, **{each.name: each.levels[(i + k) % len(each.levels)] for k, each in enumerate(ATTRIBUTES)}}
        for i in range(40)
    ]
    return pl.DataFrame(rows)


NO_TIES = pl.DataFrame(schema={"src": pl.Int64, "dst": pl.Int64, "tie_type": pl.String, "strength": pl.Float64})
NO_MEDIA = pl.DataFrame(schema={"source_id": pl.Int64, "source_type": pl.String, "reach": pl.Float64})


@pytest.fixture(scope="module")
def student() -> LSM:
    torch.manual_seed(0)
    return LSM(
        LSMConfig(
            attribute_levels=attribute_levels(),
            num_channels=len(channel_names()),
            text_dim=encode_texts(["text"]).shape[1],
            num_source_types=len(SOURCE_TYPES),
            num_tie_types=len(SOCIAL_TIE_TYPES),
        )
    ).eval()


def test_at_least_twelve_cases_are_declared_with_source_and_mapping() -> None:
    declared = load_behaviours()

    assert len(declared) >= 12
    assert {each.quantity for each in declared} == {"share", "change"}
    for each in declared:
        assert str(each.published) in each.source or each.source.split(",")[0]
        assert each.high - each.low <= 0.25


def test_every_declaration_has_a_scenario_with_its_option_and_events(scenarios: pl.DataFrame) -> None:
    files = {path.stem for path in FOLDER.glob("*.yaml")}
    assert {each.scenario for each in load_behaviours()} == files
    for each in load_behaviours():
        rows = scenarios.filter(pl.col("scenario_id") == each.scenario)
        options = rows.filter(pl.col("kind") == "question")["options"][0].to_list()
        assert each.option == options[0], "the first option has score +1, which valences push towards"
        assert (rows["kind"] == "event").any()


def test_scores_keep_the_contract_and_verdicts_follow_from_the_ranges(
    scenarios: pl.DataFrame, agents: pl.DataFrame, student: LSM
) -> None:
    table = score_behaviours({"lsm": student}, scenarios, agents, NO_TIES, NO_MEDIA, teacher="embedded", seed=0)

    CONTRACTS["behaviour_scores"].validate(table)
    assert table.height == 2 * len(load_behaviours())
    for row in table.iter_rows(named=True):
        is_within = row["target_low"] <= row["value"] <= row["target_high"]
        assert (row["verdict"] == "within") == is_within == (row["miss"] == 0)
    assert not table["is_leakage_risk"].any()
    naive = table.filter(pl.col("model") == "no_effect")
    assert naive["value"].unique().to_list() == [0.0]


def test_a_language_model_may_know_the_outcomes_and_is_marked(
    scenarios: pl.DataFrame, agents: pl.DataFrame, student: LSM
) -> None:
    table = score_behaviours({"lsm": student}, scenarios, agents, NO_TIES, NO_MEDIA, teacher="some-llm", seed=0)

    assert table.filter(pl.col("model") == "lsm")["is_leakage_risk"].all()


def test_without_events_a_change_is_exactly_none(scenarios: pl.DataFrame, agents: pl.DataFrame, student: LSM) -> None:
    society = Society(agents, NO_TIES, NO_MEDIA, ties_to_graph(NO_TIES, agents.height))
    question = scenarios.filter((pl.col("scenario_id") == "flu-text") & (pl.col("kind") == "question"))

    first, again = (final_answers(student, question, society, 3) for _ in range(2))

    assert (first == again).all()
    assert first.sum(axis=1) == pytest.approx(1.0)


def test_a_declared_scenario_that_is_missing_is_named(
    scenarios: pl.DataFrame, agents: pl.DataFrame, student: LSM
) -> None:
    without = scenarios.filter(pl.col("scenario_id") != "flu-text")

    with pytest.raises(BehaviourError, match="declares 'flu-text', which no scenario file describes"):
        score_behaviours({"lsm": student}, without, agents, NO_TIES, NO_MEDIA, teacher="embedded", seed=0)


def test_wrong_declarations_are_refused(tmp_path: Path) -> None:
    entry = (
        "benchmarks:\n  - {scenario: a, option: b, quantity: share, low: 0.5, high: 0.4, is_approximate: false,\n"
        "     published: 2000, source: 'a long enough source of it', mapping: 'a mapping of it'}\n"
    )
    path = tmp_path / "declared.yaml"
    path.write_text(entry, encoding="utf-8")

    with pytest.raises(BehaviourError, match="low must be below high"):
        load_behaviours(path)
