"""The scenarios table of the shipped files and of small cases."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from assets.traces.scenario_files import read_scenarios
from assets.traces.scenario_schema import Scenario
from assets.traces.scenario_table import scenarios_table
from assets.traces.text_encoder import TEXT_ENCODER, encode_texts
from validation.contracts import CONTRACTS

SHIPPED = Path(__file__).parents[3] / "scenarios"


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    return scenarios_table(read_scenarios(SHIPPED))


def test_shipped_scenarios_keep_the_contract(table: pl.DataFrame) -> None:
    CONTRACTS["scenarios"].validate(table)
    assert table["text_encoder"].unique().to_list() == [TEXT_ENCODER]


def test_trigger_row_carries_the_condition_and_the_event(table: pl.DataFrame) -> None:
    row = table.row(by_predicate=pl.col("kind") == "trigger", named=True)
    assert (row["trigger_question"], row["trigger_option"]) == ("racial_problems_rare", "strongly_disagree")
    assert (row["share_above"], row["hold_for"], row["duration"]) == (0.35, 2, 4)
    assert (row["timestep"], row["valence"], row["reach"]) == (None, 0.6, 0.8)
    assert row["source_type"] == "company"


def test_interventions_stand_on_the_row_of_their_event(table: pl.DataFrame) -> None:
    row = table.row(by_predicate=pl.col("name") == "ruling", named=True)
    assert row["intervention_fields"] == ["valence", "credibility"]
    assert row["intervention_values"] == [[-0.6, 0.0, 0.6], [0.3, 0.5, 0.7, 0.9]]
    without = table.filter((pl.col("kind") != "event") | (pl.col("name") == "shared-videos"))
    assert without["intervention_fields"].null_count() == len(without)


def test_embeddings_belong_to_their_wordings(table: pl.DataFrame) -> None:
    question = table.row(
        by_predicate=(pl.col("scenario_id") == "hiring-audit") & (pl.col("kind") == "question"), named=True
    )
    np.testing.assert_array_equal(np.float32(question["text_embedding"]), encode_texts([question["text"]])[0])
    np.testing.assert_array_equal(np.float32(question["option_embeddings"]), encode_texts(question["options"]))
    event = table.row(by_predicate=pl.col("name") == "audit", named=True)
    expected_D = encode_texts([f"{event['framing']}. {event['text']}"])[0]
    np.testing.assert_array_equal(np.float32(event["text_embedding"]), expected_D)
    np.testing.assert_array_equal(np.float32(event["unframed_embedding"]), encode_texts([event["text"]])[0])
    assert event["option_embeddings"] is None
    assert question["unframed_embedding"] is None


def test_a_question_has_the_same_vector_in_a_scenario_and_in_its_baseline(table: pl.DataFrame) -> None:
    questions = table.filter(pl.col("kind") == "question")
    assert questions.select("name", "text_embedding").unique().height == questions["name"].n_unique()


def test_scores_are_evenly_spaced_unless_given(table: pl.DataFrame) -> None:
    scores = dict(table.filter(pl.col("kind") == "question").select("name", "option_scores").iter_rows())
    assert scores["abortion_any_reason"] == [1.0, -1.0]
    assert scores["white_advantage"] == [1.0, 0.5, 0.0, -0.5, -1.0]


def test_several_questions_keep_their_order() -> None:
    question = {"text": "Really?", "options": ["yes", "no"]}
    scenario = Scenario.model_validate(
        {
            "id": "two",
            "question": [{"id": "second", **question}, {"id": "first", **question}],
            "timesteps": {"count": 1, "unit": "day"},
        }
    )
    table = scenarios_table([scenario])
    assert table.select("name", "position").rows() == [("second", 0), ("first", 1)]


def test_no_scenarios_give_an_empty_table_of_the_same_schema(table: pl.DataFrame) -> None:
    empty = scenarios_table([])
    assert empty.is_empty()
    assert empty.schema == table.schema
