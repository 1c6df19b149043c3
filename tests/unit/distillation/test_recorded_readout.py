"""The readout on recorded answers: a made-up teacher whose answers follow one sentence of the persona."""

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from assets.distillation.personas import frequent_sentences, persona_codes, sentences_of
from assets.distillation.readout_baselines import nearest_people, nearest_question, regressions, shares_of
from assets.distillation.readout_training import MISSING, StaticAnswers
from assets.distillation.recorded_readout import read_recorded, score_recorded_readout
from model.lsm.inputs import Question
from validation.contracts import CONTRACTS

NUM_PEOPLE, NUM_QUESTIONS, TEXT_DIM = 160, 12, 64


def _unit(rng: np.random.Generator) -> list[float]:
    vector = rng.normal(size=TEXT_DIM)
    return (vector / np.linalg.norm(vector)).tolist()


@pytest.fixture(scope="module")
def recorded() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Answers and questions: whoever likes tea says yes with 90 %, the others with 10 %."""
    rng = np.random.default_rng(4)
    likes_tea = rng.random(NUM_PEOPLE) < 0.5
    option_texts = [_unit(rng), _unit(rng)]
    questions = pl.DataFrame(
        [
            {
                **dict.fromkeys(CONTRACTS["recorded_questions"].columns),
                "scenario_id": "made-up",
                "question_id": f"q{number:02}",
                "variable": "v",
                "text": f"question {number}",
                "options": ["yes", "no"],
                "option_scores": [1.0, -1.0],
                "scale": "nominal",
                "note": "",
                "text_encoder": "random",
                "text_embedding": _unit(rng),
                "option_embeddings": option_texts,
            }
            for number in range(NUM_QUESTIONS)
        ],
        schema=CONTRACTS["recorded_questions"].polars_schema(),
    )
    rows = []
    for person in range(NUM_PEOPLE):
        persona = f"I am {20 + person % 50} years old. I like {'tea' if likes_tea[person] else 'coffee'}. I live here."
        for number in range(NUM_QUESTIONS):
            says_yes = rng.random() < (0.9 if likes_tea[person] else 0.1)
            rows.append(
                {
                    **dict.fromkeys(CONTRACTS["recorded_answers"].columns),
                    "custom_id": f"{person}/{number}",
                    "scenario_id": "made-up",
                    "question_id": f"q{number:02}",
                    "model": "some-llm",
                    "persona_id": person,
                    "respondent_id": str(person),
                    "persona": persona,
                    "draw": 0,
                    "option": None if (person, number) == (3, 4) else ("yes" if says_yes else "no"),
                    "is_refusal": False,
                    "validation_status": "valid",
                    "source_sha256": "none",
                    "codebook_sha256": "none",
                }
            )
    return pl.DataFrame(rows, schema=CONTRACTS["recorded_answers"].polars_schema()), questions


def test_sentences_count_ages_by_decade_and_leave_out_what_everybody_holds() -> None:
    assert sentences_of("I am 37 years old. I am male.") == {"I am 30s old.", "I am male."}
    personas = ["I am male. Hello."] * 12 + ["Hello. I am female."] * 3
    assert frequent_sentences(personas) == ["I am male."]
    assert persona_codes(personas, ["I am male."]).sum() == 12


def test_groups_and_splits_are_disjoint(recorded: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    found = read_recorded(*recorded, num_splits=3, seed=1)
    assert found is not None
    people = [set(group.tolist()) for group in (found.fitted_P, found.validation_P, found.unseen_P)]
    assert sum(map(len, people)) == NUM_PEOPLE == len(set.union(*people))
    questions = [set(split) for split in found.unseen_of]
    assert sum(map(len, questions)) == len(set.union(*questions))
    assert int((found.answers.chosen_PQ == MISSING).sum()) == 1


def test_the_student_reads_people_it_never_saw(recorded: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    table = score_recorded_readout(*recorded, epochs=36, num_splits=2, seed=1, progress=lambda _: None)
    loss = table.filter(group="unseen_personas", metric="log_loss").rows_by_key("model", named=True, unique=True)
    assert loss["uniform"]["value"] == pytest.approx(np.log(2))
    assert loss["lsm"]["value"] < loss["item_marginal"]["value"] - 0.15
    assert loss["lsm"]["student_minus_model"] is None
    assert loss["uniform"]["difference_upper"] < 0
    distance = table.filter(group="unseen_personas", metric="tvd").rows_by_key("model", named=True, unique=True)
    assert distance["lsm"]["noise_floor"] > 0
    assert set(table["group"]) == {"unseen_personas", "unseen_items", "both"}


def test_without_recorded_answers_there_are_no_rows(recorded: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    told: list[str] = []
    answers, questions = recorded
    table = score_recorded_readout(answers.clear(), questions, epochs=1, num_splits=1, seed=1, progress=told.append)
    assert table.is_empty()
    assert "not available" in told[0]
    CONTRACTS["recorded_readout"].validate(table)


def test_shares_and_neighbours_in_closed_form() -> None:
    assert shares_of(np.array([0, 0, 1, MISSING]), 2) == pytest.approx([2.5 / 4, 1.5 / 4])
    codes = np.repeat(np.eye(2, dtype=np.int64), 10, axis=0)
    chosen = np.repeat([0, 1], 10)[:, None]
    (predicted,) = nearest_people(codes, chosen, [np.array([0.5, 0.5])], np.arange(20))
    assert predicted[0] == pytest.approx([10.5 / 11, 0.5 / 11])
    assert predicted[19] == pytest.approx([0.5 / 11, 10.5 / 11])


def test_the_nearest_question_has_as_many_options() -> None:
    def ask(name: str, vector: list[float], num_options: int) -> Question:
        return Question(name, torch.tensor(vector), torch.zeros(num_options, 2), torch.zeros(num_options), False)

    questions = (ask("a", [1.0, 0.0], 2), ask("b", [1.0, 0.0], 3), ask("c", [0.0, 1.0], 2), ask("d", [0.9, 0.1], 2))
    answers = StaticAnswers(torch.zeros(4, 1, dtype=torch.int64), questions, torch.tensor([[0, 0, 1, 0]] * 4))
    people = np.arange(4)
    assert nearest_question(answers, 3, [0, 1, 2], people) == pytest.approx([4.5 / 5, 0.5 / 5])
    assert nearest_question(answers, 1, [0, 2], people) == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize(("pull", "wanted"), [(0.0, 0.1), (0.6, 0.3), (1.6, 3.0), (30.0, 10.0)])
def test_regressions_take_the_penalty_of_validation_people_and_fit_on_them_too(pull: float, wanted: float) -> None:
    """The less attributes explain, the stronger the penalty that tells validation people best."""
    rng = np.random.default_rng(7)
    codes, (fitted, validation) = rng.integers(0, 2, (300, 12)), np.split(np.arange(250), [100])
    chance = 1 / (1 + np.exp(-pull * (codes @ np.resize([1, -1], 12))))
    chosen = (rng.random((8, 300)) < chance).T.astype(np.int64)

    def fit(people: np.ndarray, question: int, penalty: float) -> LogisticRegression:
        return LogisticRegression(C=penalty, max_iter=200).fit(codes[people], chosen[people, question])

    def loss(penalty: float) -> float:
        told = [fit(fitted, number, penalty).predict_proba(codes[validation]) for number in range(8)]
        return sum(log_loss(chosen[validation, number], told[number]) for number in range(8))

    best = min((0.1, 0.3, 1.0, 3.0, 10.0), key=loss)
    predicted = regressions(codes, chosen, [2] * 8, fitted, validation)
    assert best == wanted
    for number in range(8):
        told = fit(np.arange(250), number, best).predict_proba(codes)
        assert predicted[number] == pytest.approx(told, abs=2e-3)
