"""What drawn people are held to: positions in log-odds, shares that settle, leanings as wide as gaps are."""

from dataclasses import replace

import pytest
import torch

from assets.distillation.distil import student_config
from assets.distillation.free_running import draw_people, drawn_leanings
from assets.distillation.losses import SETTLING_TIMESTEPS, Window, read_logits, settling_loss
from assets.distillation.share_paths import position_path, share_path, teacher_positions
from assets.distillation.stacking import StackedPanel, stack_panel
from assets.distillation.training_set import TrainingSet
from model.lsm.lsm import LSM


@pytest.fixture(scope="module")
def stack(training_set: TrainingSet) -> StackedPanel:
    return stack_panel(training_set)


@pytest.fixture(scope="module")
def model(training_set: TrainingSet) -> LSM:
    torch.manual_seed(1)
    return LSM(student_config(training_set)).eval()


def window_of_channels(model: LSM, channels_TNK: torch.Tensor) -> Window:
    num_steps, num_agents, _ = channels_TNK.shape
    zeros_TN = torch.zeros(num_steps, num_agents)
    latent_TNU = torch.zeros(num_steps, num_agents, model.config.latent_dim)
    return Window(0, channels_TNK, latent_TNU, latent_TNU, zeros_TN, latent_TNU, zeros_TN)


def test_positions_tell_apart_what_shares_do_not(stack: StackedPanel) -> None:
    asked = stack.questions[0]
    centred_O = asked.question.option_scores_O - asked.question.option_scores_O.mean()
    position_M = torch.linspace(-6, 6, len(asked.agents_M))
    logits_TMO = (position_M[:, None] * centred_O)[None] + 3.0
    everybody_TM = torch.ones(1, len(asked.agents_M), dtype=torch.bool)
    found = position_path(logits_TMO, asked, everybody_TM, stack)
    doubled = position_path(2 * logits_TMO, asked, everybody_TM, stack)
    scenario_M = stack.scenario_of(asked.agents_M)
    for number in scenario_M.unique().tolist():
        own_M = position_M[scenario_M == number]
        assert found.mean_TSO[0, number, 0] == pytest.approx(float(own_M.mean()), abs=1e-4)
        assert found.spread_TSO[0, number, 0] == pytest.approx(float(own_M.std(unbiased=False)), rel=1e-3)
    assert torch.allclose(doubled.spread_TSO, 2 * found.spread_TSO, rtol=1e-3)


def test_positions_of_the_teacher_end_at_the_smallest_share(stack: StackedPanel) -> None:
    everybody_N = torch.ones(stack.channels_TNK.shape[1], dtype=torch.bool)
    (rough, *_), (fine, *_) = (teacher_positions(stack, everybody_N, smallest) for smallest in (0.2, 0.001))
    assert float(rough.spread_TSO.nan_to_num().sum()) < float(fine.spread_TSO.nan_to_num().sum())


def test_shares_that_stand_still_cost_nothing_and_moving_ones_by_their_pace(stack: StackedPanel, model: LSM) -> None:
    still = window_of_channels(model, stack.channels_TNK[:1].nan_to_num().expand(5, -1, -1))
    leanings = [torch.zeros_like(asked.probability_TMO[0]) for asked in stack.questions]
    everybody_N = torch.ones(stack.channels_TNK.shape[1], dtype=torch.bool)
    assert float(settling_loss(model, stack, still, leanings, everybody_N)) == pytest.approx(0.0, abs=1e-9)

    end_NK = -still.channels_TNK[0]
    moving = replace(still, channels_TNK=torch.cat([still.channels_TNK[:-1], end_NK[None]]))
    expected = []
    for asked in stack.questions:
        answers_TMO = read_logits(model, moving, asked).softmax(2)[[0, -1]]
        everybody_TM = torch.ones(answers_TMO.shape[:2], dtype=torch.bool)
        path = share_path(answers_TMO, everybody_TM, stack.scenario_of(asked.agents_M), stack.num_copies)
        carried_SO = SETTLING_TIMESTEPS * (path.mean_TSO[1] - path.mean_TSO[0]) / 4
        expected.append(float((carried_SO**2).sum(1).nanmean()))
    found = float(settling_loss(model, stack, moving, leanings, everybody_N))
    assert found > 0
    assert found == pytest.approx(sum(expected) / len(expected), rel=1e-5)


def test_drawn_leanings_are_whole_gaps_whatever_part_of_an_answer_stays(stack: StackedPanel, model: LSM) -> None:
    people = draw_people(model, stack, 4)
    model.leaning.spread_2.copy_(torch.tensor([0.7, 0.3]))
    model.leaning.weight.fill_(1.0)
    (whole, *_) = drawn_leanings(model, people, stack)
    model.leaning.weight.fill_(0.4)
    (same, *_) = drawn_leanings(model, people, stack)
    assert torch.equal(whole, same)
    assert float(whole.std()) > 0.2
