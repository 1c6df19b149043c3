"""Recorded answers of one real LLM as tensors, people and questions split: what is fitted and what stays unseen.

The same seed gives the same split wherever recorded answers are read, so that nobody is fitted by one student and
called unseen by another.

Legend: P people, F sentences, Q questions.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch

from assets.distillation.personas import frequent_sentences, persona_codes
from assets.distillation.readout_training import MISSING, StaticAnswers
from assets.tensors import row_to_question

PREFERRED_TEACHER = "openai/gpt-4o-mini"
UNSEEN_PEOPLE, VALIDATION_PEOPLE = 0.2, 0.08
UNSEEN_QUESTIONS = 0.19
FEWEST_PEOPLE, FEWEST_QUESTIONS = 100, 10


@dataclass(frozen=True, eq=False)
class Recorded:
    """The answers of one teacher: people split into fitted, validation and unseen, questions split by `unseen_of`.

    `answers` describes people by the sentences of their personas; `respondent_ids` names the survey respondent behind
    each, None where there is none.
    """

    answers: StaticAnswers
    respondent_ids: tuple[str | None, ...]
    teacher_model: str
    text_encoder: str
    fitted_P: np.ndarray
    validation_P: np.ndarray
    unseen_P: np.ndarray
    unseen_of: tuple[tuple[int, ...], ...]

    @property
    def num_questions(self) -> int:
        """Questions, seen or not."""
        return len(self.answers.questions)


def read_recorded(
    recorded_answers: pl.DataFrame, recorded_questions: pl.DataFrame, num_splits: int, seed: int
) -> Recorded | None:
    """The first draws of one teacher with persona texts, split; None where there are too few."""
    valid = recorded_answers.filter(
        (pl.col("draw") == 0) & pl.col("option").is_not_null() & pl.col("persona").is_not_null()
    )
    if valid.is_empty():
        return None
    names = valid["model"].unique().sort().to_list()
    teacher = PREFERRED_TEACHER if PREFERRED_TEACHER in names else names[0]
    valid = valid.filter(pl.col("model") == teacher)
    valid = valid.filter(pl.col("scenario_id") == valid["scenario_id"].sort()[0])
    people = valid.select("persona_id", "persona", "respondent_id").unique(
        "persona_id", keep="first", maintain_order=True
    )
    people = people.sort("persona_id")
    asked = recorded_questions.join(valid, on=["scenario_id", "question_id"], how="semi").sort("question_id")
    if people.height < FEWEST_PEOPLE or asked.height < FEWEST_QUESTIONS:
        return None
    rng = np.random.default_rng(seed)
    order_P = rng.permutation(people.height)
    num_unseen, num_validation = (round(share * people.height) for share in (UNSEEN_PEOPLE, VALIDATION_PEOPLE))
    unseen_P, validation_P, fitted_P = np.split(order_P, [num_unseen, num_unseen + num_validation])
    order_Q = rng.permutation(asked.height)
    size = round(UNSEEN_QUESTIONS * asked.height)
    splits = [order_Q[size * number : size * (number + 1)] for number in range(num_splits)]
    texts = people["persona"].to_list()
    sentences = frequent_sentences([texts[person] for person in fitted_P])
    answers = StaticAnswers(
        codes_PF=torch.from_numpy(persona_codes(texts, sentences)),
        questions=tuple(row_to_question(row | {"name": row["question_id"]}) for row in asked.iter_rows(named=True)),
        chosen_PQ=torch.from_numpy(_chosen(valid, people, asked)),
    )
    return Recorded(
        answers=answers,
        respondent_ids=tuple(people["respondent_id"].to_list()),
        teacher_model=teacher,
        text_encoder=", ".join(asked["text_encoder"].unique().sort()),
        fitted_P=np.sort(fitted_P),
        validation_P=np.sort(validation_P),
        unseen_P=np.sort(unseen_P),
        unseen_of=tuple(tuple(sorted(split.tolist())) for split in splits if len(split) == size),
    )


def _chosen(valid: pl.DataFrame, people: pl.DataFrame, asked: pl.DataFrame) -> np.ndarray:
    """Position of the chosen option, int64 [P, Q]; −1 where there is none."""
    options = (
        asked.select("question_id", pl.col("options").alias("option"))
        .with_row_index("question")
        .explode("option")
        .with_columns(pl.int_range(pl.len()).over("question").alias("chosen"))
    )
    placed = valid.join(options, on=["question_id", "option"]).join(
        people.select("persona_id").with_row_index("person"), on="persona_id"
    )
    chosen_PQ = np.full((people.height, asked.height), MISSING, dtype=np.int64)
    chosen_PQ[placed["person"].to_numpy(), placed["question"].to_numpy()] = placed["chosen"].to_numpy()
    return chosen_PQ
