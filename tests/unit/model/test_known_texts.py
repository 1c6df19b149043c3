"""Texts unlike those of the training are not read: what remains is what is understood without them."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.lsm.config import LSMConfig
from model.lsm.inputs import Question, Timeline, empty_graph
from model.lsm.known_texts import REACH, KnownTexts
from model.lsm.lsm import LSM

TEXT_DIM = 8
AXES = torch.eye(TEXT_DIM)


def question(wording_D, options_OD=AXES[4:7]):
    return Question("asked", wording_D, options_OD, torch.tensor([1.0, 0.0, -1.0]), True)


def timeline(text_D, num_agents=5):
    return Timeline(
        embedding_VD=text_D[None],
        valence_V=torch.tensor([0.8]),
        credibility_V=torch.tensor([0.9]),
        source_type_V=torch.tensor([1]),
        start_V=torch.tensor([1]),
        duration_V=torch.tensor([2]),
        exposure_VN=torch.ones(1, num_agents, dtype=torch.bool),
    )


def student():
    torch.manual_seed(3)
    model = LSM(LSMConfig((2, 3), text_dim=TEXT_DIM, num_known_questions=1, num_known_events=1)).eval()
    model.know_texts([question(AXES[0])], AXES[1][None])
    model.leaning.weight.fill_(0.6)
    return model


def answers(model, asked, text_D, observed=None):
    attributes_NA = torch.tensor([[0, 0], [1, 2], [0, 1], [1, 0], [0, 2]])
    with torch.no_grad():
        state = model.initial_state(attributes_NA, questions=[asked], observed_answers=observed)
        for timestep in (1, 2):
            state, _ = model.advance(state, empty_graph(5), timeline(text_D), timestep)
        return model.answers(state, [asked])[0]


@settings(deadline=None, max_examples=50)
@given(st.floats(0, 3.1), st.floats(0.2, 5))
def test_familiarity_falls_with_the_angle_to_the_nearest_known_text_and_ignores_length(angle, length):
    known = KnownTexts(2, TEXT_DIM).eval()
    known.know(torch.stack([AXES[0], -AXES[0]]))
    turned_D = length * (torch.cos(torch.tensor(angle)) * AXES[0] + torch.sin(torch.tensor(angle)) * AXES[1])
    expected = torch.exp((torch.cos(torch.tensor(angle)).abs() - 1) / REACH)
    torch.testing.assert_close(known.familiarity(turned_D[None])[0], expected, rtol=1e-4, atol=1e-6)


def test_a_known_text_is_read_as_it_is_and_an_empty_one_stays_empty():
    known = KnownTexts(1, TEXT_DIM).eval()
    known.know(AXES[:1])
    torch.testing.assert_close(known.read(AXES[:1]), AXES[:1])
    assert torch.equal(known.read(torch.zeros(2, TEXT_DIM)), torch.zeros(2, TEXT_DIM))
    assert float(known.familiarity(AXES[1:2])) < 1e-4


@pytest.mark.parametrize("known", [KnownTexts(0, TEXT_DIM).eval(), KnownTexts(1, TEXT_DIM).train()])
def test_without_known_texts_and_in_training_everything_is_read(known):
    assert torch.equal(known.read(AXES), AXES)


def test_another_number_of_texts_than_the_config_says_is_refused():
    with pytest.raises(ValueError, match=r"shape \[2, 8\]; allowed: \[1, 8\]"):
        KnownTexts(1, TEXT_DIM).know(AXES[:2])


def test_unknown_wordings_make_no_difference_and_the_known_one_does():
    model = student()
    one, other, known = (answers(model, question(AXES[axis]), AXES[1]) for axis in (2, 3, 0))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-3)
    assert float((one - known).abs().max()) > 1e-2


def test_unknown_texts_of_events_make_no_difference_and_their_valence_does():
    model = student()

    def values(text_D, valence=0.8):
        with torch.no_grad():
            return model.exposure.describe_events(replace(timeline(text_D), valence_V=torch.tensor([valence])))[1]

    torch.testing.assert_close(values(AXES[2]), values(AXES[3]), rtol=0, atol=1e-3)
    assert float((values(AXES[2]) - values(AXES[1])).abs().max()) > 1e-2
    assert float((values(AXES[2]) - values(AXES[2], -0.8)).abs().max()) > 1e-2


def test_of_a_first_answer_to_an_unknown_question_everything_stays_that_was_not_read():
    model = student()
    known, unknown = question(AXES[0]), question(AXES[2])
    assert float(model.leaning_weight(known)) == pytest.approx(0.6)
    assert float(model.leaning_weight(unknown)) == pytest.approx(1.0, abs=1e-4)
    said = torch.tensor([0.7, 0.2, 0.1]).expand(5, 3)
    attributes_NA = torch.zeros(5, 2, dtype=torch.int64)
    with torch.no_grad():
        found = [
            model.answers(model.initial_state(attributes_NA, questions=[asked], observed_answers=[said]), [asked])[0]
            for asked in (known, unknown)
        ]
    assert float((found[0] - said).abs().max()) > 0.01
    torch.testing.assert_close(found[1], said, rtol=0, atol=1e-3)


def test_known_texts_are_kept_with_the_weights():
    model = student()
    names = {name for name in model.state_dict() if "known_QD" in name}
    assert names == {"topic.known.known_QD", "readout_head.known.known_QD", "exposure.known.known_QD"}
    other = LSM(LSMConfig.from_dict(model.config.to_dict())).eval()
    other.load_state_dict(model.state_dict())
    assert torch.equal(answers(model, question(AXES[0]), AXES[1]), answers(other, question(AXES[0]), AXES[1]))
