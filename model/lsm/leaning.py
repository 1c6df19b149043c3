"""A person's own leaning: what channels and latent do not tell about an answer, known from a first answer or drawn.

With ℓ₀ the log-odds that are read from the initial state, a known first answer p leaves the gap log p − ℓ₀; the leaning
is w times that gap, since some of a single answer is the chance of its moment. Where no answer is known, a whole gap is
drawn: σ₁ y_o z + σ₂ z_o with standard normal z and the position y_o of an option on the scale, so that people differ
along the scale and beyond it as widely as they do at any moment. A leaning stays for the whole rollout.

Legend: N agents, O options, A options of all questions, R noise numbers.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model.lsm.inputs import Question

SMALLEST_SHARE = 0.001
"""Observed shares below this count as this much where logarithms are taken of them."""


def noise_size(questions: Sequence[Question]) -> int:
    """Standard normal numbers that the leanings of an agent take: one per question and one per option."""
    return sum(1 + question.num_options for question in questions)


def answer_gap(probability_NO: Tensor, logits_NO: Tensor) -> Tensor:
    """What an observed answer adds to the log-odds, [N, O]; zero where the answer is not known (NaN)."""
    observed_NO = probability_NO.clamp(min=SMALLEST_SHARE).log().log_softmax(1)
    return (observed_NO - logits_NO.log_softmax(1)).nan_to_num()


class Leaning(nn.Module):
    """How much of an observed gap stays, and how widely gaps spread where none was observed.

    Both are measured on people whose answers are known, not learned by gradient: `weight` is w, 0 … 1; `spread_2` holds
    σ₁, along the scale, and σ₂, of single options, in log-odds.
    """

    weight: Tensor
    spread_2: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(()))
        self.register_buffer("spread_2", torch.zeros(2))

    def measure(self, gaps: Sequence[tuple[Question, Tensor]]) -> None:
        """Sets the spreads from observed gaps [N, O] per question, by moments, every gap alike.

        Log-odds have no level, so gaps and positions y are centred over options: the mean square is σ₂² across y and
        σ₁²‖y‖² + σ₂² along it. With two options the two cannot be told apart, and all counts as along the scale.
        """
        across, num_across = torch.zeros(()), 0
        along: list[tuple[Tensor, Tensor]] = []
        for question, gap_NO in gaps:
            scores_O = question.option_scores_O.to(gap_NO) - question.option_scores_O.to(gap_NO).mean()
            centred_NO = gap_NO - gap_NO.mean(1, keepdim=True)
            length = scores_O.norm().clamp(min=1e-6)
            along_N = centred_NO @ scores_O / length
            across = across + ((centred_NO**2).sum(1) - along_N**2).sum()
            num_across += len(gap_NO) * (question.num_options - 2)
            along.append((along_N, length))
        single = (across / max(1, num_across)).clamp(min=0)
        excess = torch.cat([(along_N**2 - single) / length**2 for along_N, length in along])
        self.spread_2.copy_(torch.stack([excess.mean().clamp(min=0), single]).sqrt())

    def draw(self, question: Question, noise_NR: Tensor) -> Tensor:
        """Gaps [N, O] of one question from its 1 + O standard normal numbers per agent."""
        along, single = self.spread_2
        scores_O = question.option_scores_O.to(noise_NR)
        return along * noise_NR[:, :1] * scores_O + single * noise_NR[:, 1:]

    def draw_all(self, questions: Sequence[Question], noise_NR: Tensor) -> Tensor:
        """Leanings [N, A] of all questions, one after the other."""
        parts = noise_NR.split([1 + question.num_options for question in questions], dim=1)
        gaps = [self.draw(question, part_NR) for question, part_NR in zip(questions, parts, strict=True)]
        return torch.cat(gaps, 1)
