"""Training of students, and what they learn of a known law."""

import math
import pickle
import signal
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
import torch

from assets.distillation import training
from assets.distillation.checkpoints import CheckpointError, read_progress
from assets.distillation.distil import Distilled, distil, student_config
from assets.distillation.free_running import free_run
from assets.distillation.held_out import predict_student
from assets.distillation.observed_pass import force_channels
from assets.distillation.schedule import TrainingSettings
from assets.distillation.stacking import stack_panel, start_stack
from assets.distillation.teacher_rollouts import TeacherRollout
from assets.distillation.training import train_student
from assets.distillation.training_set import TrainingSet
from model.lsm.leaning import SMALLEST_SHARE
from model.lsm.lsm import LSM
from model.lsm.rollout import rollout

if TYPE_CHECKING:
    from .conftest import Panel

PROJECT_ROOT = Path(__file__).parents[3]
TRAIN_AND_DIE = """
import os, pickle, signal, sys
from assets.distillation.teacher_rollouts import TeacherRollout
from assets.distillation.training import train_student

def die_in_epoch_4(message):
    if message.startswith("epoch 4/"):
        os.kill(os.getpid(), signal.SIGKILL)

training_set, config, folder = pickle.load(sys.stdin.buffer)
train_student(training_set, epochs=6, seed=8, config=config, checkpoints=folder, progress=die_in_epoch_4)
"""


def _small(training_set: TrainingSet):
    return replace(student_config(training_set), hidden_dim=32, identity_dim=8, latent_dim=8, readout_dim=8)


def test_the_student_of_a_law_that_needs_ties_beats_what_knows_no_ties(distilled: Distilled) -> None:
    by_baseline = {gate.baseline: gate for gate in distilled.gates}
    assert by_baseline["demographic_regression"].has_passed
    for baseline in ("persistence", "lsm_no_graph"):
        assert by_baseline[baseline].verdict == "better", baseline


def test_drawn_people_change_as_the_teacher_does(distilled: Distilled) -> None:
    """The law lets stances move up in the campaign and together in quiet; standing still misses both."""
    gate = next(gate for gate in distilled.gates if gate.baseline == "no_change")
    assert gate.has_passed
    shares = distilled.simulated_shares.filter(split="fitted", option="for", scenario_id="campaign")
    change = shares.filter(timestep=5)["student_share"].item() - shares.filter(timestep=0)["student_share"].item()
    assert change > 0.03


def test_the_same_seed_gives_the_same_bits(training_set: TrainingSet) -> None:
    config = _small(training_set)
    first, second = (train_student(training_set, epochs=3, seed=8, config=config) for _ in range(2))
    other = train_student(training_set, epochs=3, seed=9, config=config)
    pairs = list(zip(first.model.state_dict().values(), second.model.state_dict().values(), strict=True))
    assert all(torch.equal(one, two) for one, two in pairs)
    assert not torch.equal(first.model.readout_head.stance.weight, other.model.readout_head.stance.weight)


def test_answers_of_held_out_agents_change_no_weight(training_set: TrainingSet) -> None:
    """Whatever the teacher answers as held-out agents may be anything; they are heard by their channels alone."""
    config = _small(training_set)
    is_held_out = training_set.is_held_out_P
    targets = {"conviction_TP": 0.99, "public_stance_TP": -0.9, "salience_TP": 0.97, "will_share_TP": 1.0}
    vectors = {"attention_TP3": 1 / 3, "rationale_TPR": 0.5}
    heard = {"scenario_id", "timeline", "targets", "channels_TPK"}
    assert heard | set(targets) | set(vectors) == {field.name for field in fields(TeacherRollout)}
    changed = tuple(
        replace(
            item,
            **{name: getattr(item, name).masked_fill(is_held_out, value) for name, value in targets.items()},
            **{name: getattr(item, name).masked_fill(is_held_out[:, None], value) for name, value in vectors.items()},
            targets=tuple(
                replace(
                    target,
                    probability_TPO=target.probability_TPO.masked_fill(is_held_out[:, None], 1 / 3),
                    first_draw_TPO=target.first_draw_TPO.masked_fill(is_held_out[:, None], 1 / 3),
                )
                for target in item.targets
            ),
        )
        for item in training_set.rollouts
    )
    for name in (*targets, *vectors):
        before, after = (getattr(rollouts[0], name) for rollouts in (training_set.rollouts, changed))
        assert not torch.equal(before, after), name
    one = train_student(training_set, epochs=2, seed=8, config=config)
    two = train_student(replace(training_set, rollouts=changed), epochs=2, seed=8, config=config)
    for name, weight in one.model.state_dict().items():
        assert torch.equal(weight, two.model.state_dict()[name]), name


def test_stacked_scenarios_roll_out_as_each_alone(training_set: TrainingSet) -> None:
    torch.manual_seed(0)
    model = LSM(_small(training_set)).eval()
    predicted = predict_student(model, training_set)
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
                observed_answers=[teacher.targets[0].probability_TPO[0]],
            )
        alone = torch.stack([record.option_probabilities[0] for record in records]).double()
        assert torch.allclose(alone, torch.from_numpy(predicted[teacher.scenario_id, question.question_id]), atol=1e-5)


def test_a_full_anchor_starts_from_the_observed_answer(training_set: TrainingSet) -> None:
    torch.manual_seed(0)
    model = LSM(_small(training_set)).eval()
    for teacher in training_set.rollouts:
        target = teacher.targets[0]
        predicted = predict_student(model, training_set, anchor_weight=1.0)[
            teacher.scenario_id, target.question.question_id
        ]
        observed = target.probability_TPO[0].clamp(min=SMALLEST_SHARE)
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


@pytest.mark.parametrize("measured", ["free_running_error", "drawn_shares_error"])
def test_a_validation_error_that_is_no_number_stops_the_training(
    training_set: TrainingSet, monkeypatch: pytest.MonkeyPatch, measured: str
) -> None:
    nothing = (math.nan, 0.5) if measured == "free_running_error" else math.nan
    monkeypatch.setattr(training, measured, lambda *_: nothing)
    with pytest.raises(FloatingPointError, match=r"after epoch 2 of 2 is not finite \(.*nan"):
        train_student(training_set, epochs=2, seed=8, config=_small(training_set))


def test_no_epochs_are_refused(training_set: TrainingSet) -> None:
    with pytest.raises(ValueError, match="epochs is 0"):
        train_student(training_set, epochs=0, seed=1, config=_small(training_set))


def test_a_training_that_was_killed_goes_on_with_the_same_bits(training_set: TrainingSet, tmp_path: Path) -> None:
    """The process is killed by the system in the middle of an epoch; a second one takes up its checkpoint."""
    config, folder = _small(training_set), tmp_path / "checkpoints"
    whole = train_student(training_set, epochs=6, seed=8, config=config)
    task = pickle.dumps((training_set, config, folder))
    child = subprocess.run([sys.executable, "-c", TRAIN_AND_DIE], input=task, cwd=PROJECT_ROOT, check=False)
    assert child.returncode == -signal.SIGKILL
    (file,) = folder.glob("*.safetensors")
    kept = read_progress(file)
    assert kept is not None
    assert 0 < kept.epoch < 4
    told: list[str] = []
    resumed = train_student(training_set, epochs=6, seed=8, config=config, checkpoints=folder, progress=told.append)
    assert told[0] == f"going on after epoch {kept.epoch}/6"
    assert resumed.curves.equals(whole.curves)
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name


def test_another_seed_does_not_take_up_the_checkpoint(training_set: TrainingSet, tmp_path: Path) -> None:
    config = _small(training_set)
    for seed in (8, 9):
        told: list[str] = []
        train_student(training_set, epochs=1, seed=seed, config=config, checkpoints=tmp_path, progress=told.append)
        assert not any("going on" in message for message in told)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


def test_a_damaged_checkpoint_is_named(training_set: TrainingSet, tmp_path: Path) -> None:
    config = _small(training_set)
    train_student(training_set, epochs=1, seed=8, config=config, checkpoints=tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=f"{file.name} cannot be read .* Delete it"):
        train_student(training_set, epochs=1, seed=8, config=config, checkpoints=tmp_path)


def test_members_differ_in_their_seed_alone_and_the_first_is_the_student(panel: "Panel") -> None:
    tables = (panel.agents, panel.ties, panel.media_sources, panel.scenarios, panel.traces)
    one, two = (distil(*tables, epochs=2, seed=3, num_members=number) for number in (1, 2))
    for name, weight in one.student.model.state_dict().items():
        assert torch.equal(weight, two.student.model.state_dict()[name]), name
    assert one.gates == two.gates
    assert len(two.others) == 1
    assert two.member_tvds[0] == one.member_tvds[0] != two.member_tvds[1]
    tables_of = (one.simulated_shares, two.simulated_shares)
    width = [(table["student_upper"] - table["student_lower"]).to_numpy().mean() for table in tables_of]
    assert width[1] > width[0]


def test_gradients_are_cut_within_long_scenarios(training_set: TrainingSet) -> None:
    """Scenarios longer than the longest gradient, of observed and of drawn people, are trained stretch by stretch."""
    settings = TrainingSettings(longest_gradient=2, first_drawn_stage=0)
    student = train_student(training_set, epochs=2, seed=8, config=_small(training_set), settings=settings)
    losses = student.curves.filter(metric="loss_drawn_shares")["value"]
    assert len(losses) == 2
    assert losses.is_finite().all()


@pytest.mark.parametrize("is_validation", [False, True])
def test_a_question_without_counted_answers_in_a_window_stops_no_training(panel: "Panel", is_validation: bool) -> None:
    training_set = panel.of_its_own_question(num_timesteps=2)
    flags = [is_validation and rollout.scenario_id == "quiet" for rollout in training_set.rollouts]
    training_set = replace(training_set, is_validation_S=torch.tensor(flags))

    trained = train_student(training_set, epochs=3, seed=8, config=student_config(training_set))

    losses = trained.curves.filter(pl.col("metric").str.starts_with("loss_"))
    assert losses.height > 10
    assert losses["value"].is_finite().all()
