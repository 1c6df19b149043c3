"""Shares of simulated people beside the teacher's: drawn people in the panel's place, through every scenario.

This is what simulations report, measured where the teacher's own answers are known. Every draw puts a person with the
same attributes, ties and exposures in the place of each agent of the panel. Levels at timestep 0 differ by chance,
since the panel is a sample of people too; changes since timestep 0 do not, and are what an event or its absence does.

Legend: D draws, T timesteps (0 … last), P panel agents, G agents of a group, S scenarios, O options.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch

from assets.distillation.baselines import each_question
from assets.distillation.free_running import draw_people, drawn_answers, drawn_run
from assets.distillation.stacking import stack_panel
from assets.distillation.training_set import TrainingSet
from model.lsm.lsm import LSM
from validation.contracts import CONTRACTS

NUM_DRAWS = 16

DrawnPanel = dict[tuple[str, str], np.ndarray]
"""Probabilities [D, T, P, O] of drawn people by scenario id and question id."""


@dataclass(frozen=True)
class ChangeError:
    """How far changes of shares since timestep 0 are from the teacher's, and from standing still, per agent resample.

    `student_B` and `persistence_B`: entry 0 is the estimate, the rest are bootstrap resamples of agents.
    """

    student_B: np.ndarray
    persistence_B: np.ndarray


def draw_panel(model: LSM, training_set: TrainingSet, num_draws: int = NUM_DRAWS) -> DrawnPanel:
    """Rolls drawn people out in the panel's place, in every scenario."""
    stack, panel = stack_panel(training_set), {}
    draws: list[list[np.ndarray]] = []
    with torch.no_grad():
        for draw in range(num_draws):
            people = draw_people(model, stack, draw)
            window = drawn_run(model, stack, people, stack.num_timesteps)
            draws.append([answers.double().numpy() for answers in drawn_answers(model, window, people, stack)])
    for number, asked in enumerate(stack.questions):
        answers_DTMO = np.stack([draw[number] for draw in draws])
        scenario_M = stack.scenario_of(asked.agents_M).numpy()
        for scenario in np.unique(scenario_M):
            rollout = training_set.rollouts[scenario]
            panel[rollout.scenario_id, asked.question.question_id] = answers_DTMO[
                :, : rollout.num_timesteps + 1, scenario_M == scenario
            ]
    return panel


def mean_predictions(panel: DrawnPanel) -> dict[tuple[str, str], np.ndarray]:
    """The mean over draws, [T, P, O]: the prediction for an agent of whom only attributes are known."""
    return {key: answers.mean(axis=0) for key, answers in panel.items()}


def tabulate_shares(
    panel: DrawnPanel, training_set: TrainingSet, others: Sequence[DrawnPanel] = (), model_version: int = 0
) -> pl.DataFrame:
    """The table `simulated_shares`.

    Args:
        panel: drawn people of the student.
        training_set: the teacher's answers.
        others: drawn people of further members of the ensemble; `student_lower` and `student_upper` span 95 % of the
            draws of all members, so that chance in training counts too.
        model_version: registered version of the student.
    """
    groups = {"held_out": training_set.is_held_out_P.numpy(), "fitted": (~training_set.is_held_out_P).numpy()}
    rows = []
    for key, _, target in each_question(training_set):
        teacher_TPO = target.probability_TPO.numpy().astype(np.float64)
        for group, is_in_P in groups.items():
            teacher_TGO, drawn_DTGO = teacher_TPO[:, is_in_P], panel[key][:, :, is_in_P]
            is_known_TG = np.isfinite(teacher_TGO).min(axis=2)
            for timestep in range(len(is_known_TG)):
                is_known_G = is_known_TG[timestep]
                if not is_known_G.any():
                    continue
                known_GO = teacher_TGO[timestep, is_known_G]
                shares_DO = drawn_DTGO[:, timestep, is_known_G].mean(axis=1)
                spread_DO = drawn_DTGO[:, timestep, is_known_G].std(axis=1)
                of_others = [member[key][:, timestep, is_in_P][:, is_known_G].mean(axis=1) for member in others]
                lower_O, upper_O = np.quantile(np.concatenate([shares_DO, *of_others]), (0.025, 0.975), axis=0)
                rows += [
                    {
                        "scenario_id": key[0],
                        "question_id": key[1],
                        "option": option,
                        "timestep": timestep,
                        "split": group,
                        "teacher_share": known_GO[:, number].mean(),
                        "student_share": shares_DO[:, number].mean(),
                        "student_lower": lower_O[number],
                        "student_upper": upper_O[number],
                        "teacher_spread": known_GO[:, number].std(),
                        "student_spread": spread_DO[:, number].mean(),
                        "num_agents": int(is_known_G.sum()),
                        "model_version": model_version,
                    }
                    for number, option in enumerate(target.options)
                ]
    return pl.DataFrame(rows, schema=CONTRACTS["simulated_shares"].polars_schema())


def held_out_resamples(training_set: TrainingSet, number: int, seed: int) -> np.ndarray:
    """How often each agent of the panel counts, [1 + number, P]: held-out agents once each, then resamples of them."""
    held_out_P = np.flatnonzero(training_set.is_held_out_P.numpy())
    weight_BP = np.zeros((number + 1, training_set.num_agents))
    weight_BP[0, held_out_P] = 1.0
    rng = np.random.default_rng(seed)
    for row_P in weight_BP[1:]:
        np.add.at(row_P, rng.choice(held_out_P, len(held_out_P)), 1.0)
    return weight_BP


def change_errors(panel: DrawnPanel, training_set: TrainingSet, weight_BP: np.ndarray) -> ChangeError:
    """Total variation distance between the student's and the teacher's change of shares since timestep 0.

    The mean over scenarios, questions and timesteps from 1 on. Standing still predicts no change.

    Args:
        panel: from `draw_panel`.
        training_set: the teacher's answers.
        weight_BP: how often each agent counts, per resample.
    """
    student, persistence = [], []
    for key, _, target in each_question(training_set):
        teacher_TPO = target.probability_TPO.numpy().astype(np.float64)
        is_known_TP = np.isfinite(teacher_TPO).min(axis=2)
        changes = []
        for answers_TPO in (panel[key].mean(axis=0), teacher_TPO):
            both_TP = (is_known_TP & is_known_TP[0])[:, :, None]
            change_TPO = np.where(both_TP, answers_TPO - answers_TPO[0], 0.0)
            num_TB1 = np.einsum("bp,tp->tb", weight_BP, both_TP[:, :, 0].astype(float))[:, :, None]
            changes.append(np.einsum("bp,tpo->tbo", weight_BP, change_TPO) / np.maximum(num_TB1, 1e-12))
        student.append((np.abs(changes[0] - changes[1]).sum(axis=2) / 2)[1:])
        persistence.append((np.abs(changes[1]).sum(axis=2) / 2)[1:])
    return ChangeError(np.concatenate(student).mean(axis=0), np.concatenate(persistence).mean(axis=0))
