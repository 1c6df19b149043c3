"""Noise on wordings: how long it is, who shares it, and what a student makes of a wording that it never saw."""

from dataclasses import replace

import pytest
import torch

from assets.distillation.distil import student_config
from assets.distillation.held_out import predict_student
from assets.distillation.schedule import TrainingSettings
from assets.distillation.stacking import blur_panel, stack_panel
from assets.distillation.training import train_student
from assets.distillation.training_set import TrainingSet
from assets.distillation.wording_noise import blur


def test_noise_has_the_length_asked_for() -> None:
    generator = torch.Generator().manual_seed(1)
    drawn_XD = blur(torch.zeros(4_000, 64), 0.7, generator)
    assert float(drawn_XD.norm(dim=1).square().mean()) == pytest.approx(0.49, rel=0.02)


def test_no_noise_changes_nothing(training_set: TrainingSet) -> None:
    stack = stack_panel(training_set)
    same = blur_panel(stack, 0.0, torch.Generator().manual_seed(1))
    torch.testing.assert_close(same.timeline.embedding_VD, stack.timeline.embedding_VD, rtol=0, atol=0)
    for ours, theirs in zip(same.questions, stack.questions, strict=True):
        torch.testing.assert_close(ours.question.embedding_D, theirs.question.embedding_D, rtol=0, atol=0)


def test_a_question_is_blurred_alike_wherever_it_is_asked(training_set: TrainingSet) -> None:
    stack = stack_panel(training_set)
    blurred = blur_panel(stack, 1.0, torch.Generator().manual_seed(1))
    by_id = {item.question.question_id: item.question for item in blurred.questions}
    for number, questions in enumerate(blurred.asked):
        for question in questions:
            assert question is by_id[question.question_id]
            clean = next(item for item in stack.asked[number] if item.question_id == question.question_id)
            assert not torch.equal(question.embedding_D, clean.embedding_D)
            torch.testing.assert_close(question.option_scores_O, clean.option_scores_O, rtol=0, atol=0)


@pytest.mark.slow
def test_a_student_of_blurred_wordings_minds_a_strange_wording_less(training_set: TrainingSet) -> None:
    """The same people, events and scale under another wording: answers should hardly depend on it."""
    generator = torch.Generator().manual_seed(3)
    strange_D = torch.nn.functional.normalize(torch.randn(64, generator=generator), dim=0)

    def reworded(kept: TrainingSet) -> TrainingSet:
        return replace(
            kept,
            rollouts=tuple(
                replace(
                    rollout,
                    targets=tuple(
                        replace(item, question=replace(item.question, embedding_D=strange_D))
                        for item in rollout.targets
                    ),
                )
                for rollout in kept.rollouts
            ),
        )

    moved = {}
    for noise in (0.0, 1.0):
        settings = replace(TrainingSettings(), wording_noise=noise)
        model = train_student(
            training_set, epochs=24, seed=5, config=student_config(training_set), settings=settings
        ).model
        clean, strange = (predict_student(model, part) for part in (training_set, reworded(training_set)))
        moved[noise] = sum(float(abs(strange[key] - clean[key]).mean()) for key in clean)
    assert moved[1.0] < 0.7 * moved[0.0]
