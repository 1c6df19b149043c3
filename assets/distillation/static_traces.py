"""Static traces: recorded answers at timestep 0, mixed into the training of the student beside the teacher's rollouts.

People are described by the attributes of the survey respondents behind the personas, coded as agents are; an attribute
that the survey lacks is unknown. Nothing moves in a static trace: identity, topic, initial state and readout answer.

Legend: P people, A attributes, Q questions.
"""

from collections.abc import Collection
from dataclasses import dataclass

import polars as pl
import torch
from torch import Tensor

from assets.distillation.readout_training import DEFAULT_SETTINGS, StaticAnswers, step_loss
from assets.distillation.recorded_split import Recorded, read_recorded
from assets.tensors import MODEL_ATTRIBUTES
from model.lsm.identity import UNKNOWN
from model.lsm.lsm import LSM

PEOPLE_PER_STEP = 180


@dataclass(frozen=True, eq=False)
class StaticTraces:
    """Recorded answers that a student is fitted to, and those of other people on which they validate.

    `teacher_model` is the LLM that answered; it need not be the teacher of the rollouts.
    """

    fitted: StaticAnswers
    validation: StaticAnswers
    teacher_model: str

    @property
    def question_ids(self) -> tuple[str, ...]:
        """Questions that are asked."""
        return tuple(question.question_id for question in self.fitted.questions)

    def without(self, question_ids: Collection[str]) -> "StaticTraces | None":
        """The traces without some questions; None where none is left."""
        kept = [number for number, name in enumerate(self.question_ids) if name not in question_ids]
        if not kept:
            return None
        fitted, validation = (
            answers.of(torch.arange(len(answers.codes_PF)), kept) for answers in (self.fitted, self.validation)
        )
        return StaticTraces(fitted, validation, self.teacher_model)


def static_traces(
    recorded_answers: pl.DataFrame,
    recorded_questions: pl.DataFrame,
    survey_respondents: pl.DataFrame,
    *,
    text_encoder: str,
    seed: int,
) -> StaticTraces | None:
    """The recorded answers of one LLM as static traces; None where too few are at hand.

    A fifth of the personas stays unseen, the same as in `recorded_readout`.

    Args:
        recorded_answers: rows of that table.
        recorded_questions: rows of that table.
        survey_respondents: rows of that table; the people behind the personas are looked up there.
        text_encoder: what encoded the texts of scenarios.
        seed: fixes the split.

    Raises:
        ValueError: the texts of recorded questions were encoded otherwise than those of scenarios.
    """
    recorded = read_recorded(recorded_answers, recorded_questions, 1, seed)
    if recorded is None:
        return None
    if recorded.text_encoder != text_encoder:
        raise ValueError(
            f"The texts of recorded_questions were encoded by {recorded.text_encoder}, those of scenarios by "
            f"{text_encoder}; a student reads one encoding. Materialise recorded_questions and scenarios again."
        )
    codes_PA = attribute_codes(recorded, survey_respondents)
    answers = StaticAnswers(codes_PA, recorded.answers.questions, recorded.answers.chosen_PQ)
    everything = list(range(recorded.num_questions))
    fitted, validation = (
        answers.of(torch.from_numpy(people_P), everything) for people_P in (recorded.fitted_P, recorded.validation_P)
    )
    return StaticTraces(fitted, validation, recorded.teacher_model)


def attribute_codes(recorded: Recorded, survey_respondents: pl.DataFrame) -> Tensor:
    """Attribute codes of everybody who was recorded, int64 [P, A]; UNKNOWN where the survey does not say."""
    people = pl.DataFrame({"respondent_id": recorded.respondent_ids}, schema={"respondent_id": pl.String}).join(
        survey_respondents.unique("respondent_id"), on="respondent_id", how="left", maintain_order="left"
    )
    columns = []
    for attribute in MODEL_ATTRIBUTES:
        code_of = {level: code for code, level in enumerate(attribute.levels)}
        codes = people[attribute.name].replace_strict(code_of, default=UNKNOWN, return_dtype=pl.Int64)
        columns.append(torch.from_numpy(codes.to_numpy().copy()))
    return torch.stack(columns, dim=1)


def static_loss(model: LSM, traces: StaticTraces, noise: torch.Generator) -> Tensor:
    """Cross-entropy of the chosen options of some fitted people, every question asked alone; mean over answers."""
    answers = traces.fitted
    people_P = torch.randperm(len(answers.codes_PF), generator=noise)[:PEOPLE_PER_STEP]
    part = answers.of(people_P, range(len(answers.questions)))
    return step_loss(model, part, noise, DEFAULT_SETTINGS)
