"""Training of students, and what they learn of a known law."""

from dataclasses import replace

import polars as pl
import pytest
import torch

from assets.distillation.distil import Distilled, student_config
from assets.distillation.held_out import predict_student
from assets.distillation.stacking import stack_panel, start_stack
from assets.distillation.training import TrainedStudent, force_channels, free_run, train_student
from assets.distillation.training_set import TrainingSet
from model.lsm.lsm import LSM
from model.lsm.rollout import rollout


def _small(training_set: TrainingSet):
    return replace(student_config(training_set), hidden_dim=32, identity_dim=8, latent_dim=8, readout_dim=8)


def test_the_student_of_a_law_that_needs_ties_passes_its_gates(distilled: Distilled) -> None:
    by_baseline = {gate.baseline: gate for gate in distilled.gates}
    assert distilled.has_passed_gates
    assert by_baseline["persistence"].excludes_zero
    assert by_baseline["lsm_no_graph"].excludes_zero


def test_the_same_seed_gives_the_same_bits(training_set: TrainingSet) -> None:
    config = _small(training_set)
    first, second = (train_student(training_set, epochs=3, seed=8, config=config) for _ in range(2))
    other = train_student(training_set, epochs=3, seed=9, config=config)
    pairs = list(zip(first.model.state_dict().values(), second.model.state_dict().values(), strict=True))
    assert all(torch.equal(one, two) for one, two in pairs)
    assert not torch.equal(first.model.readout_head.stance.weight, other.model.readout_head.stance.weight)


def test_answers_of_held_out_agents_change_no_weight(training_set: TrainingSet) -> None:
    """The teacher's answers, convictions and salience of held-out agents may be anything."""
    config = _small(training_set)
    is_held_out = training_set.is_held_out_P
    changed = tuple(
        replace(
            item,
            conviction_TP=item.conviction_TP.masked_fill(is_held_out, 0.99),
            targets=tuple(
                replace(target, probability_TPO=target.probability_TPO.masked_fill(is_held_out[:, None], 1 / 3))
                for target in item.targets
            ),
        )
        for item in training_set.rollouts
    )
    one = train_student(training_set, epochs=2, seed=8, config=config)
    two = train_student(replace(training_set, rollouts=changed), epochs=2, seed=8, config=config)
    for name, weight in one.model.state_dict().items():
        assert torch.equal(weight, two.model.state_dict()[name]), name


def test_stacked_scenarios_roll_out_as_each_alone(training_set: TrainingSet) -> None:
    torch.manual_seed(0)
    model = LSM(_small(training_set)).eval()
    untrained = TrainedStudent(model, pl.DataFrame(), best_epoch=0, num_epochs=0, anchor_weight=0.0)
    predicted = predict_student(untrained, training_set)
    for teacher in training_set.rollouts:
        records = []
        question = teacher.targets[0].question
        with torch.no_grad():
            rollout(
                model,
                training_set.attributes_PA,
                training_set.graph,
                teacher.timeline,
                [question],
                [],
                teacher.num_timesteps,
                seed=0,
                record=records.append,
                observed_channels_NK=teacher.channels_TPK[0],
            )
        alone = torch.stack([record.option_probabilities[0] for record in records]).double()
        assert torch.allclose(alone, torch.from_numpy(predicted[teacher.scenario_id, question.question_id]), atol=1e-5)


def test_a_full_anchor_starts_from_the_observed_answer(training_set: TrainingSet) -> None:
    torch.manual_seed(0)
    model = LSM(_small(training_set)).eval()
    anchored = TrainedStudent(model, pl.DataFrame(), best_epoch=0, num_epochs=0, anchor_weight=1.0)
    for teacher in training_set.rollouts:
        target = teacher.targets[0]
        predicted = predict_student(anchored, training_set)[teacher.scenario_id, target.question.question_id]
        observed = target.probability_TPO[0].clamp(min=0.01)
        observed = (observed / observed.sum(1, keepdim=True)).double()
        assert torch.allclose(torch.from_numpy(predicted[0]), observed, atol=1e-5)


def test_forcing_replaces_known_channels_only(training_set: TrainingSet) -> None:
    stack = stack_panel(training_set)
    with torch.no_grad():
        state = start_stack(LSM(_small(training_set)), stack, None)
    forced = force_channels(state, stack.channels_TNK[3])
    is_missing = stack.channels_TNK[3].isnan()
    assert is_missing.any()
    assert torch.equal(forced.channels_NK[~is_missing], stack.channels_TNK[3][~is_missing])
    assert torch.equal(forced.channels_NK[is_missing], state.channels_NK[is_missing])


def test_a_free_run_starts_from_the_observed_channels(training_set: TrainingSet) -> None:
    stack = stack_panel(training_set)
    window = free_run(LSM(_small(training_set)), stack)
    assert torch.equal(window.channels_TNK[0], stack.channels_TNK[0])
    assert len(window.channels_TNK) == stack.num_timesteps + 1


def test_the_curve_falls(distilled: Distilled) -> None:
    curve = distilled.student.curves.filter(metric="validation_tvd")["value"]
    assert curve.min() < 0.6 * curve[0]


def test_no_epochs_are_refused(training_set: TrainingSet) -> None:
    with pytest.raises(ValueError, match="epochs is 0"):
        train_student(training_set, epochs=0, seed=1, config=_small(training_set))
