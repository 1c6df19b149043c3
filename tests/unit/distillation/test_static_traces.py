"""Recorded answers mixed into training: who is asked, what is learned, what stays out.

A made-up LLM answers twelve questions by the party of the respondent behind the persona.
"""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from assets.distillation.ablations import RECORDED, trainings_without_parts
from assets.distillation.distil import student_config
from assets.distillation.readout_training import predict_answers, validation_loss
from assets.distillation.recorded_readout import Registered, score_recorded_readout
from assets.distillation.recorded_split import read_recorded
from assets.distillation.schedule import TrainingSettings
from assets.distillation.static_traces import StaticTraces, attribute_codes, static_loss, static_traces
from assets.distillation.training import train_student
from assets.distillation.training_set import TrainingSet
from assets.distillation.trainings import train_students
from assets.tensors import MODEL_ATTRIBUTES
from model.lsm.identity import UNKNOWN
from model.lsm.lsm import LSM
from validation.contracts import CONTRACTS

NUM_PEOPLE, NUM_QUESTIONS, TEXT_DIM = 200, 12, 64
PARTY = [attribute.name for attribute in MODEL_ATTRIBUTES].index("party")
PARTIES = MODEL_ATTRIBUTES[PARTY].levels
ENCODER = "random"


def _unit(rng: np.random.Generator) -> list[float]:
    vector = rng.normal(size=TEXT_DIM)
    return (vector / np.linalg.norm(vector)).tolist()


@pytest.fixture(scope="module")
def recorded() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Answers, questions and respondents: the first party says yes with 90 %, everybody else with 10 %."""
    rng = np.random.default_rng(8)
    parties = rng.choice(np.array(PARTIES), NUM_PEOPLE)
    options = [_unit(rng), _unit(rng)]
    questions = [
        {
            **dict.fromkeys(CONTRACTS["recorded_questions"].columns),
            "scenario_id": "made-up",
            "question_id": f"q{number:02}",
            "options": ["yes", "no"],
            "option_scores": [1.0, -1.0],
            "scale": "nominal",
            "text_encoder": ENCODER,
            "text_embedding": _unit(rng),
            "option_embeddings": options,
        }
        for number in range(NUM_QUESTIONS)
    ]
    answers = [
        {
            **dict.fromkeys(CONTRACTS["recorded_answers"].columns),
            "custom_id": f"{person}/{number}",
            "scenario_id": "made-up",
            "question_id": f"q{number:02}",
            "model": "some-llm",
            "persona_id": person,
            "respondent_id": None if person == 0 else f"r{person}",
            "persona": f"I am person number {person % 7}. I live here.",
            "draw": 0,
            "option": "yes" if rng.random() < (0.9 if parties[person] == PARTIES[0] else 0.1) else "no",
        }
        for person in range(NUM_PEOPLE)
        for number in range(NUM_QUESTIONS)
    ]
    respondents = [
        {
            **dict.fromkeys(CONTRACTS["survey_respondents"].columns),
            "respondent_id": f"r{person}",
            "party": str(parties[person]),
        }
        for person in range(NUM_PEOPLE)
    ]
    frames = (("recorded_answers", answers), ("recorded_questions", questions), ("survey_respondents", respondents))
    made = [pl.DataFrame(rows, schema=CONTRACTS[name].polars_schema()) for name, rows in frames]
    return made[0], made[1], made[2]


@pytest.fixture(scope="module")
def traces(recorded: tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]) -> StaticTraces:
    found = static_traces(*recorded, text_encoder=ENCODER, seed=3)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def mixed(training_set: TrainingSet, traces: StaticTraces) -> TrainingSet:
    """The small society of the room, with recorded answers beside it."""
    return replace(training_set, static=traces)


def test_people_are_coded_as_agents_are_and_what_the_survey_lacks_is_unknown(
    recorded: tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame],
) -> None:
    answers, questions, respondents = recorded
    split = read_recorded(answers, questions, 1, 3)
    assert split is not None
    codes_PA = attribute_codes(split, respondents)
    assert codes_PA.shape == (NUM_PEOPLE, len(MODEL_ATTRIBUTES))
    assert bool((codes_PA[0] == UNKNOWN).all())
    of_party = dict(zip(respondents["respondent_id"], respondents["party"], strict=True))
    found = [PARTIES[code] for code in codes_PA[1:, PARTY].tolist()]
    assert found == [of_party[name] for name in split.respondent_ids[1:]]
    others = [number for number in range(len(MODEL_ATTRIBUTES)) if number != PARTY]
    assert bool((codes_PA[:, others] == UNKNOWN).all())


def test_unseen_people_of_the_readout_are_in_no_part_of_the_mixture(
    recorded: tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame], traces: StaticTraces
) -> None:
    split = read_recorded(recorded[0], recorded[1], 2, 3)
    assert split is not None
    assert len(traces.fitted.codes_PF) == len(split.fitted_P)
    torch.testing.assert_close(traces.fitted.chosen_PQ, split.answers.chosen_PQ[split.fitted_P])
    torch.testing.assert_close(traces.validation.chosen_PQ, split.answers.chosen_PQ[split.validation_P])


def test_questions_can_be_left_out(traces: StaticTraces) -> None:
    fewer = traces.without({"q03", "unknown"})
    assert fewer is not None
    assert fewer.question_ids == tuple(name for name in traces.question_ids if name != "q03")
    kept = [number for number, name in enumerate(traces.question_ids) if name != "q03"]
    torch.testing.assert_close(fewer.fitted.chosen_PQ, traces.fitted.chosen_PQ[:, kept])
    assert traces.without(traces.question_ids) is None


def test_another_encoding_of_texts_is_refused(recorded: tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]) -> None:
    with pytest.raises(ValueError, match="encoded by random, those of scenarios by other"):
        static_traces(*recorded, text_encoder="other", seed=3)


def test_without_recorded_answers_nothing_is_mixed_in(
    recorded: tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame],
) -> None:
    answers, questions, respondents = recorded
    assert static_traces(answers.clear(), questions, respondents, text_encoder=ENCODER, seed=3) is None


def test_a_loss_on_certain_answers_is_their_log_loss(traces: StaticTraces, mixed: TrainingSet) -> None:
    torch.manual_seed(1)
    model = LSM(student_config(mixed))
    loss = static_loss(model, traces, torch.Generator().manual_seed(2))
    assert float(loss.detach()) == pytest.approx(validation_loss(model, traces.fitted), rel=0.15)
    loss.backward()
    assert float(model.identity.embedding.weight.grad.abs().sum()) > 0  # pyright: ignore[reportOptionalMemberAccess]


@pytest.mark.slow
def test_one_training_learns_rollouts_and_recorded_answers(
    recorded: tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame], mixed: TrainingSet, traces: StaticTraces
) -> None:
    config = student_config(mixed)
    settings = TrainingSettings(travel=0.2)
    both, alone = (
        train_student(data, epochs=30, seed=1, config=config, settings=settings)
        for data in (mixed, replace(mixed, static=None))
    )
    uniform = float(np.log(2))
    assert validation_loss(both.model, traces.validation) < uniform - 0.2
    assert validation_loss(alone.model, traces.validation) > uniform - 0.1
    best = [trained.curves.filter(metric="validation_tvd")["value"].to_numpy().min() for trained in (both, alone)]
    assert best[0] < best[1] + 0.03
    curve = both.curves.filter(metric="validation_static")["value"]
    assert curve[-1] < curve[0]
    assert alone.curves.filter(metric="validation_static").is_empty()

    registered = Registered(both.model, traces.teacher_model, recorded[2])
    table = score_recorded_readout(
        recorded[0], recorded[1], epochs=2, num_splits=1, seed=3, progress=lambda _: None, registered=registered
    )
    loss = table.filter(group="unseen_personas", metric="log_loss").rows_by_key("model", named=True, unique=True)
    assert loss["lsm_registered"]["value"] < loss["item_marginal"]["value"] - 0.1
    assert loss["regression_attributes"]["value"] < loss["item_marginal"]["value"] - 0.1
    assert "lsm_registered" not in table.filter(pl.col("group") != "unseen_personas")["model"].to_list()


def test_the_mixture_can_be_ablated(mixed: TrainingSet) -> None:
    ablated, whole = (
        train_students(trainings_without_parts(training_set, (RECORDED,), seed=2), epochs=1)["without recorded_answers"]
        for training_set in (mixed, replace(mixed, static=None))
    )
    for name, value in ablated.model.state_dict().items():
        torch.testing.assert_close(value, whole.model.state_dict()[name], rtol=0, atol=0)


def test_an_unknown_attribute_stands_at_the_mean_of_its_levels(mixed: TrainingSet) -> None:
    torch.manual_seed(1)
    model = LSM(student_config(mixed))
    codes_PA = mixed.static.fitted.codes_PF[:4] if mixed.static else torch.zeros(0)
    predicted = predict_answers(model, codes_PA, mixed.static.fitted.questions[:1] if mixed.static else ())
    assert bool(predicted[0].isfinite().all())
    with torch.no_grad():
        level = model.identity.embedding.weight[: model.identity.levels[0]]
        level.copy_(level.mean(0).expand_as(level))
        known_NA = torch.zeros(1, len(MODEL_ATTRIBUTES), dtype=torch.int64)
        unknown_NA = known_NA.clone()
        unknown_NA[0, 0] = UNKNOWN
        torch.testing.assert_close(model.identity(known_NA), model.identity(unknown_NA))
