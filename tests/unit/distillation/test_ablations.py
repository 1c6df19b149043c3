"""Ablations: students without parts beside the whole one, and gates of simulations in closed form."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from assets.distillation.ablations import (
    Ablated,
    addable_parts,
    compare_ablations,
    row_name,
    switchable_parts,
    training_name,
    trainings_without_parts,
)
from assets.distillation.baselines import each_question
from assets.distillation.distil import student_config
from assets.distillation.endurance import Endurance, measure_endurance
from assets.distillation.gates import NUM_RESAMPLES, simulation_gates
from assets.distillation.simulated_shares import (
    DrawnPanel,
    change_errors,
    draw_panel,
    held_out_resamples,
    tabulate_shares,
)
from assets.distillation.training_set import TrainingSet
from assets.distillation.trainings import train_students
from model.lsm.lsm import LSM
from validation.contracts import CONTRACTS

STEADY = Endurance(largest_change=0.01, smallest_spread_ratio=0.9)


@pytest.fixture(scope="module")
def untrained(training_set: TrainingSet) -> LSM:
    torch.manual_seed(0)
    return LSM(student_config(training_set)).eval()


def _as_the_teacher(training_set: TrainingSet) -> DrawnPanel:
    return {
        key: np.nan_to_num(target.probability_TPO.double().numpy(), nan=1 / 3)[None]
        for key, _, target in each_question(training_set)
    }


def test_parts_are_the_switches_that_are_on_and_begin_with_exposure(training_set: TrainingSet) -> None:
    config = student_config(training_set)
    parts = switchable_parts(config)
    assert parts[:4] == ("use_exposure", "use_memory", "use_episodes", "use_topic")
    assert "use_graph" not in parts
    assert "use_memory" not in switchable_parts(replace(config, use_memory=False))


def test_every_part_is_compared_on_the_same_agents(training_set: TrainingSet, untrained: LSM) -> None:
    students = train_students(trainings_without_parts(training_set, ("use_memory",), seed=2), epochs=1)
    ablated = [Ablated("use_memory", students["without memory"].model)]
    assert not ablated[0].model.config.use_memory
    table = compare_ablations(training_set, untrained, untrained, ablated, epochs=1, seed=2, model_version=3)
    assert set(table["part"]) == {"leaning", "graph", "memory"}
    same = table.filter(part="graph", metric="tvd").row(0, named=True)
    assert same["difference"] == same["lower"] == same["upper"] == 0.0
    assert set(table["num_agents"]) == {int(training_set.is_held_out_P.sum())}


def test_a_part_that_is_off_is_added_and_the_row_says_so(training_set: TrainingSet, untrained: LSM) -> None:
    assert addable_parts(untrained.config) == ("use_trust",)
    assert addable_parts(replace(untrained.config, use_trust=True, use_topic=False)) == ("use_topic",)
    config, told = untrained.config, list[str]()
    assert training_name(config, "use_trust") == row_name(config, "use_trust") == "trust_added"
    trainings = trainings_without_parts(training_set, ("use_trust",), seed=2)
    trusting = Ablated("trust_added", train_students(trainings, epochs=1, progress=told.append)["trust_added"].model)
    assert trusting.model.config.use_trust
    assert switchable_parts(replace(trusting.model.config, use_trust=False)) == switchable_parts(untrained.config)
    assert told[0].startswith("trust_added: ")
    table = compare_ablations(training_set, untrained, untrained, [trusting], epochs=1, seed=2, model_version=3)
    assert set(table.filter(part="trust_added")["metric"]) == {"tvd", "share_changes"}
    differences = table["without_value"] - table["whole_value"]
    assert table["difference"].to_numpy() == pytest.approx(differences.to_numpy())


def test_drawn_people_who_are_the_teachers_pass_every_gate(training_set: TrainingSet) -> None:
    gates = simulation_gates(_as_the_teacher(training_set), training_set, STEADY)
    assert [gate.has_passed for gate in gates] == [True] * 4
    change = next(gate for gate in gates if gate.baseline == "no_change")
    assert change.student_value == pytest.approx(0.0, abs=1e-9)


def test_people_who_are_all_alike_lose_their_tails(training_set: TrainingSet) -> None:
    alike = {
        key: np.broadcast_to(answers.mean(2, keepdims=True), answers.shape)
        for key, answers in _as_the_teacher(training_set).items()
    }
    tails = next(gate for gate in simulation_gates(alike, training_set, STEADY) if gate.baseline == "tails")
    assert not tails.has_passed
    assert tails.student_value == 0.0


def test_standing_still_is_no_better_than_standing_still(training_set: TrainingSet) -> None:
    still = {
        key: np.broadcast_to(answers[:, :1], answers.shape) for key, answers in _as_the_teacher(training_set).items()
    }
    errors = change_errors(still, training_set, np.ones((1, training_set.num_agents)))
    assert errors.student_B == pytest.approx(errors.persistence_B)
    assert not next(gate for gate in simulation_gates(still, training_set, STEADY)).has_passed


def test_intervals_of_share_changes_are_turned_around_the_estimate(training_set: TrainingSet) -> None:
    """Resamples of a mean of absolute values lie above it, so that their percentiles would too."""
    noise = np.random.default_rng(2)
    near = {
        key: answers + noise.normal(0, 0.05, answers.shape) for key, answers in _as_the_teacher(training_set).items()
    }
    gate = next(gate for gate in simulation_gates(near, training_set, STEADY, seed=4) if gate.baseline == "no_change")
    errors = change_errors(near, training_set, held_out_resamples(training_set, NUM_RESAMPLES, 4))
    difference_B = errors.student_B - errors.persistence_B
    low, high = np.quantile(difference_B[1:], (0.025, 0.975))
    assert gate.difference == pytest.approx(difference_B[0])
    assert (gate.lower, gate.upper) == pytest.approx((2 * difference_B[0] - high, 2 * difference_B[0] - low))


@pytest.mark.parametrize(
    ("endurance", "failing"),
    [(Endurance(0.2, 0.9), {"steady"}), (Endurance(float("nan"), float("nan")), {"steady", "spread"})],
)
def test_a_restless_or_broken_rollout_fails(training_set: TrainingSet, endurance: Endurance, failing: set) -> None:
    gates = simulation_gates(_as_the_teacher(training_set), training_set, endurance)
    assert {gate.baseline for gate in gates if not gate.has_passed} == failing


def test_an_untrained_student_endures_and_its_shares_keep_their_contract(
    training_set: TrainingSet, untrained: LSM
) -> None:
    endurance = measure_endurance(untrained, training_set, num_timesteps=20)
    assert np.isfinite(endurance.largest_change)
    shares = CONTRACTS["simulated_shares"].validate(
        tabulate_shares(draw_panel(untrained, training_set, 2), training_set)
    )
    sums = shares.group_by("scenario_id", "timestep", "split").agg(pl.col("student_share", "teacher_share").sum())
    assert sums["student_share"].to_numpy() == pytest.approx(1.0)
    assert sums["teacher_share"].to_numpy() == pytest.approx(1.0)
