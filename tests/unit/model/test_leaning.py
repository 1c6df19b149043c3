"""Leanings spread as gaps were measured to: along the scale, beyond it, and question by question.

Legend: N agents, O options, D text dimensions.
"""

import pytest
import torch
from torch import Tensor

from model.lsm.inputs import Question
from model.lsm.leaning import Leaning

TEXT_DIM, NUM_AGENTS = 8, 40_000


def question(name: str, wording_D: Tensor, num_options: int) -> Question:
    """A question with positions from −1 to 1."""
    return Question(
        question_id=name,
        embedding_D=wording_D,
        option_embeddings_OD=torch.eye(TEXT_DIM)[:num_options],
        option_scores_O=torch.linspace(-1, 1, num_options),
        is_ordinal=num_options > 2,
    )


def gaps(asked: Question, along: float, single: float, width: float, seed: int) -> Tensor:
    """Gaps [N, O] of people who differ that widely."""
    generator = torch.Generator().manual_seed(seed)
    noise_NR = torch.randn((NUM_AGENTS, 1 + asked.num_options), generator=generator)
    return width * (along * noise_NR[:, :1] * asked.option_scores_O + single * noise_NR[:, 1:])


@pytest.fixture
def wordings() -> Tensor:
    """Orthogonal wordings of length one, [D, D]."""
    return torch.eye(TEXT_DIM)


def test_gaps_are_drawn_as_widely_as_they_were_found_on_every_question(wordings: Tensor) -> None:
    asked = [question("calm", wordings[0], 5), question("torn", wordings[1], 5)]
    found = [gaps(asked[0], 0.6, 0.3, 0.7, seed=1), gaps(asked[1], 0.6, 0.3, 1.4, seed=2)]
    leaning = Leaning(TEXT_DIM)
    leaning.measure(list(zip(asked, found, strict=True)))
    for number, (one, gap_NO) in enumerate(zip(asked, found, strict=True)):
        noise_NR = torch.randn((NUM_AGENTS, 6), generator=torch.Generator().manual_seed(number))
        drawn_NO = leaning.draw(one, noise_NR)
        assert float(drawn_NO.square().mean() / gap_NO.square().mean()) == pytest.approx(1.0, abs=0.05)


def test_two_options_may_be_wider_than_five(wordings: Tensor) -> None:
    five, two = question("five", wordings[0], 5), question("two", wordings[1], 2)
    found = [gaps(five, 0.5, 0.3, 1.0, seed=1), gaps(two, 0.9, 0.0, 1.0, seed=2)]
    leaning = Leaning(TEXT_DIM)
    leaning.measure(list(zip([five, two], found, strict=True)))
    noise_NR = torch.randn((NUM_AGENTS, 3), generator=torch.Generator().manual_seed(3))
    drawn_NO = leaning.draw(two, noise_NR)
    log_odds_N, found_N = drawn_NO[:, 1] - drawn_NO[:, 0], found[1][:, 1] - found[1][:, 0]
    assert float(log_odds_N.std() / found_N.std()) == pytest.approx(1.0, abs=0.03)


def test_a_wording_like_none_that_was_measured_has_the_pooled_width(wordings: Tensor) -> None:
    asked = [question("calm", wordings[0], 4), question("torn", wordings[1], 4)]
    leaning = Leaning(TEXT_DIM)
    leaning.measure([(one, gaps(one, 0.6, 0.3, 0.6 + number, seed=number)) for number, one in enumerate(asked)])
    between = question("between", (wordings[1] + wordings[5]) / 2**0.5, 4)
    assert float(leaning.width(question("other", wordings[5], 4))) == pytest.approx(1.0)
    assert 1.0 < float(leaning.width(between)) < float(leaning.width(asked[1]))


def test_the_order_of_questions_does_not_matter(wordings: Tensor) -> None:
    asked = [question(str(number), wordings[number], 2 + number) for number in range(3)]
    found = [(one, gaps(one, 0.5, 0.2, 1.0 + number, seed=number)) for number, one in enumerate(asked)]
    first, second = Leaning(TEXT_DIM), Leaning(TEXT_DIM)
    first.measure(found)
    second.measure(found[::-1])
    torch.testing.assert_close(first.wording_D, second.wording_D)
    torch.testing.assert_close(first.spread_2, second.spread_2)


def test_few_people_move_a_width_little(wordings: Tensor) -> None:
    asked = [question("many", wordings[0], 4), question("few", wordings[1], 4)]
    leaning = Leaning(TEXT_DIM)
    leaning.measure([(asked[0], gaps(asked[0], 0.6, 0.3, 1.0, 1)), (asked[1], gaps(asked[1], 0.6, 0.3, 3.0, 2)[:1])])
    many = Leaning(TEXT_DIM)
    many.measure([(asked[0], gaps(asked[0], 0.6, 0.3, 1.0, 1)), (asked[1], gaps(asked[1], 0.6, 0.3, 3.0, 2)[:200])])
    assert float(leaning.width(asked[1])) < 0.8 * float(many.width(asked[1]))
