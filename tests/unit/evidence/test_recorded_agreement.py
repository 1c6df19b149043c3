"""Recorded models against people: closed forms, baselines that know more, and the section of the report."""

from collections.abc import Callable

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.evidence.recorded_agreement import recorded_agreement
from assets.evidence.report_recorded import recorded_section
from validation.contracts import CONTRACTS
from validation.report import TableBlock, TextBlock

OPTIONS = ["agree", "neither", "disagree"]
NUM_PEOPLE, NUM_OTHERS = 400, 600


def questions(note: str = "", scale: str = "ordinal") -> pl.DataFrame:
    rows = [
        {
            "scenario_id": "town-items",
            "question_id": name,
            "variable": name,
            "text": f"What about {name}?",
            "options": OPTIONS,
            "option_scores": [1.0, 0.0, -1.0],
            "scale": scale,
            "item": name,
            "note": note if name == "reworded" else "",
            "text_encoder": "none",
            "text_embedding": [1.0],
            "option_embeddings": [[1.0]] * 3,
        }
        for name in ("charge", "reworded")
    ]
    return pl.DataFrame(rows, schema=CONTRACTS["recorded_questions"].polars_schema())


def human_answers(seed: int = 3) -> np.ndarray:
    """Answers of people (first) and others; party decides most of them."""
    generator = np.random.default_rng(seed)
    is_left = np.arange(NUM_PEOPLE + NUM_OTHERS) % 2 == 0
    draws = np.where(
        is_left,
        generator.choice(3, len(is_left), p=[0.7, 0.2, 0.1]),
        generator.choice(3, len(is_left), p=[0.1, 0.2, 0.7]),
    )
    return np.array(OPTIONS)[draws]


def respondents(human: np.ndarray) -> pl.DataFrame:
    ids = [f"town-2024-{row}" for row in range(len(human))]
    absent = ("sex", "age_group", "race_ethnicity", "education", "region", "ideology")
    return pl.DataFrame(
        {
            "respondent_id": ids,
            "survey": "town",
            "design_weight": 1.0,
            "party": ["democrat" if row % 2 == 0 else "republican" for row in range(len(human))],
            "item_charge": human,
            "item_reworded": human,
        }
    ).with_columns(pl.lit(None, pl.String).alias(name) for name in absent)


def recorded(human: np.ndarray, answers_by_model: dict[str, np.ndarray]) -> pl.DataFrame:
    frames = [
        pl.DataFrame(
            {
                "scenario_id": "town-items",
                "question_id": question,
                "model": model,
                "persona_id": np.arange(NUM_PEOPLE),
                "respondent_id": [f"town-2024-{row}" for row in range(NUM_PEOPLE)],
                "draw": 0,
                "option": answers,
                "human_option": human[:NUM_PEOPLE],
            }
        )
        for model, answers in answers_by_model.items()
        for question in ("charge", "reworded")
    ]
    return pl.concat(frames)


def scores_of(answers_by_model: dict[str, np.ndarray], note: str = "", scale: str = "ordinal") -> pl.DataFrame:
    human = human_answers()
    table = recorded_agreement(recorded(human, answers_by_model), questions(note, scale), respondents(human), seed=1)
    return CONTRACTS["recorded_agreement"].validate(table)


def value(scores: pl.DataFrame, metric: str, model: str, question: str = "charge", column: str = "value") -> float:
    key = (pl.col("metric") == metric) & (pl.col("model") == model) & (pl.col("question_id") == question)
    return scores.filter(key).row(0, named=True)[column]


@pytest.mark.parametrize("scale", ["ordinal", "nominal"])
def test_a_model_that_answers_as_the_people_is_at_no_distance(scale: str) -> None:
    scores = scores_of({"twin": human_answers()[:NUM_PEOPLE]}, scale=scale)

    assert value(scores, "tvd", "twin") == 0.0
    assert value(scores, "tvd", "twin", column="upper") == 0.0
    assert value(scores, "dispersion_ratio", "twin") == pytest.approx(1.0)
    assert value(scores, "same_answer", "twin") == 1.0
    assert value(scores, "tvd", "twin", column="noise_floor") > 0.0


@pytest.mark.parametrize("scale", ["ordinal", "nominal"])
def test_a_collapsed_model_has_no_dispersion_and_the_closed_form_distance(scale: str) -> None:
    human = human_answers()[:NUM_PEOPLE]
    scores = scores_of({"one note": np.full(NUM_PEOPLE, "agree")}, scale=scale)

    share = float((human == "agree").mean())
    assert value(scores, "tvd", "one note") == pytest.approx(1.0 - share)
    assert value(scores, "same_answer", "one note") == pytest.approx(share)
    assert value(scores, "dispersion_ratio", "one note") == pytest.approx(0.0, abs=1e-12)
    assert (
        value(scores, "tvd", "one note", column="lower")
        < 1.0 - share
        < value(scores, "tvd", "one note", column="upper")
    )


def test_shuffled_answers_keep_the_distance_and_lose_the_persons() -> None:
    human = human_answers()[:NUM_PEOPLE]
    shuffled = np.random.default_rng(5).permutation(human)
    scores = scores_of({"shuffled": shuffled})

    assert value(scores, "tvd", "shuffled") == pytest.approx(0.0, abs=1e-12)
    chance = float(sum((human == option).mean() ** 2 for option in OPTIONS))
    assert value(scores, "same_answer", "shuffled") == pytest.approx(chance, abs=0.08)


def test_baselines_were_fitted_on_others_and_know_the_party() -> None:
    scores = scores_of({"one note": np.full(NUM_PEOPLE, "agree")})

    baselines = scores.filter(pl.col("role") == "baseline")["model"].unique().sort().to_list()
    assert baselines == ["demographic_regression", "other_respondents", "uniform"]
    assert value(scores, "same_answer", "demographic_regression") > value(scores, "same_answer", "other_respondents")
    assert value(scores, "same_answer", "demographic_regression") == pytest.approx(0.7, abs=0.06)
    assert value(scores, "tvd", "other_respondents") < 0.08
    human = human_answers()[:NUM_PEOPLE]
    shares = np.array([(human == option).mean() for option in OPTIONS])
    assert value(scores, "tvd", "uniform") == pytest.approx(np.abs(shares - 1 / 3).sum() / 2)


def test_reworded_questions_are_scored_but_not_averaged() -> None:
    model = {"one note": np.full(NUM_PEOPLE, "agree")}
    alike, reworded = scores_of(model), scores_of(model, note="Asked in other words.")

    assert value(alike, "tvd", "one note", "all", "num_observations") == 2
    assert value(reworded, "tvd", "one note", "all", "num_observations") == 1
    assert value(reworded, "tvd", "one note", "reworded", "note") == "Asked in other words."


def test_too_few_people_and_no_recording_give_no_figure() -> None:
    human = human_answers()
    few = recorded(human, {"twin": human[:NUM_PEOPLE]}).filter(pl.col("persona_id") < 99)

    assert recorded_agreement(few, questions(), respondents(human), seed=1).is_empty()
    assert recorded_agreement(few.clear(), questions(), respondents(human), seed=1).is_empty()


@settings(max_examples=15, deadline=None)
@given(wrong=st.integers(0, NUM_PEOPLE))
def test_wrong_answers_bound_the_distance(wrong: int) -> None:
    human = human_answers()[:NUM_PEOPLE]
    answers = human.copy()
    answers[:wrong] = "neither"
    scores = scores_of({"model": answers})
    same = value(scores, "same_answer", "model")

    assert same == pytest.approx(float((answers == human).mean()))
    assert value(scores, "tvd", "model") <= 1.0 - same + 1e-12


def asking(scores: pl.DataFrame) -> Callable[[str], pl.DataFrame]:
    connection = duckdb.connect(":memory:")
    connection.register("recorded_agreement", scores.to_arrow())

    def query(sql: str) -> pl.DataFrame:
        answer = pl.from_arrow(connection.sql(sql).to_arrow_table())
        assert isinstance(answer, pl.DataFrame)
        return answer

    return query


class Tables:
    def __init__(self, *names: str) -> None:
        self.names = names

    def has(self, *names: str) -> bool:
        return set(names) <= set(self.names)


def test_the_section_lists_every_distance_and_calls_a_loser_a_loser() -> None:
    scores = scores_of({"one note": np.full(NUM_PEOPLE, "agree"), "twin": human_answers()[:NUM_PEOPLE]})
    section = recorded_section(asking(scores), Tables("recorded_agreement"))  # pyright: ignore[reportArgumentType]

    means, items = (block.frame for block in section.blocks if isinstance(block, TableBlock))
    verdicts = dict(means.filter(pl.col("metric") == "tvd").select("model", "verdict").rows())
    assert verdicts["one note"] == "loses to the best baseline"
    assert verdicts["twin"] == "beats the best baseline"
    assert items.height == 4
    assert {"tvd", "dispersion", "tail_survival", "same_answer"} <= set(items.columns)


@pytest.mark.parametrize("names", [(), ("recorded_agreement",)])
def test_without_recordings_the_section_says_so(names: tuple[str, ...]) -> None:
    empty = pl.DataFrame(schema=CONTRACTS["recorded_agreement"].polars_schema())
    section = recorded_section(asking(empty), Tables(*names))  # pyright: ignore[reportArgumentType]

    assert [type(block) for block in section.blocks] == [TextBlock]
    assert "no recorded answers are at hand" in section.blocks[0].text  # pyright: ignore[reportAttributeAccessIssue]
