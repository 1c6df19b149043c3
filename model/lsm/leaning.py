"""A person's own leaning: what channels and latent do not tell about an answer, known from a first answer or drawn.

With ℓ₀ the log-odds that are read from the initial state, a known first answer p leaves the gap log p − ℓ₀; the leaning
is w times that gap, since some of a single answer is the chance of its moment. Where no answer is known, a whole gap is
drawn: f · (σ₁ y_o z + σ₂ z_o) with standard normal z and the position y_o of an option on the scale, so that people
differ along the scale and beyond it as widely as they do at any moment. They differ more widely on some questions than
on others: f is the question's width, which a question shares with others as far as its wording is theirs. A leaning
stays for the whole rollout.

Legend: N agents, O options, A options of all questions, R noise numbers, D text dimensions, Q questions.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model.lsm.inputs import Question

SMALLEST_SHARE = 0.001
"""Observed shares below this count as this much where logarithms are taken of them."""
WIDTH_VARIANCE = 0.25
"""Variance, over questions, of the logarithm of f that is expected before any is measured: most within e^±1."""


def noise_size(questions: Sequence[Question]) -> int:
    """Standard normal numbers that the leanings of an agent take: one per question and one per option."""
    return sum(1 + question.num_options for question in questions)


def answer_gap(probability_NO: Tensor, logits_NO: Tensor) -> Tensor:
    """What an observed answer adds to the log-odds, [N, O]; zero where the answer is not known (NaN)."""
    observed_NO = probability_NO.clamp(min=SMALLEST_SHARE).log().log_softmax(1)
    return (observed_NO - logits_NO.log_softmax(1)).nan_to_num()


class Leaning(nn.Module):
    """How much of an observed gap stays, and how widely gaps spread where none was observed.

    All are measured on people whose answers are known, not learned by gradient: `weight` is w, 0 … 1; `spread_2` holds
    σ₁, along the scale, and σ₂, of single options, in log-odds; `wording_D` gives log f as a product with a wording.
    """

    weight: Tensor
    spread_2: Tensor
    wording_D: Tensor

    def __init__(self, text_dim: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(()))
        self.register_buffer("spread_2", torch.zeros(2))
        self.register_buffer("wording_D", torch.zeros(text_dim))

    def width(self, question: Question) -> Tensor:
        """The factor f of a question, above 0; 1 where its wording is like none that was measured."""
        return (question.embedding_D.to(self.wording_D) @ self.wording_D).exp()

    def measure(self, gaps: Sequence[tuple[Question, Tensor]]) -> None:
        """Sets spreads and widths from observed gaps [N, O] per question, by moments, every gap alike.

        Log-odds have no level, so gaps and positions y are centred over options: the mean square is σ₂² across y and
        σ₁²‖y‖² + σ₂² along it. With two options the two cannot be told apart, and all counts as along the scale. What
        is left of a question's mean square is its width.
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
        self._measure_widths(gaps)

    def _measure_widths(self, gaps: Sequence[tuple[Question, Tensor]]) -> None:
        """Gaussian process regression of log f on the wording, with a linear kernel.

        The noise is the sampling variance of half the logarithm of a mean square of N (O − 1) normal numbers,
        1 ÷ 2 N (O − 1).

        Source: Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, equation 2.25.
        """
        along, single = self.spread_2
        wordings, log_widths, noises = [], [], []
        for question, gap_NO in gaps:
            scores_O = question.option_scores_O.to(gap_NO) - question.option_scores_O.to(gap_NO).mean()
            size = question.num_options - 1
            expected = along**2 * scores_O.square().sum() + size * single**2
            found = (gap_NO - gap_NO.mean(1, keepdim=True)).square().sum(1).mean()
            wordings.append(question.embedding_D.to(gap_NO))
            log_widths.append(0.5 * (found.clamp(min=1e-12) / expected.clamp(min=1e-12)).log())
            noises.append(1 / (2 * max(1, len(gap_NO)) * size))
        wording_QD = torch.stack(wordings)
        covariance_QQ = WIDTH_VARIANCE * wording_QD @ wording_QD.T + torch.diag(wording_QD.new_tensor(noises))
        weight_Q = torch.linalg.solve(covariance_QQ, torch.stack(log_widths))
        self.wording_D.copy_(WIDTH_VARIANCE * wording_QD.T @ weight_Q)

    def draw(self, question: Question, noise_NR: Tensor) -> Tensor:
        """Gaps [N, O] of one question from its 1 + O standard normal numbers per agent."""
        along, single = self.spread_2
        scores_O = question.option_scores_O.to(noise_NR)
        return self.width(question) * (along * noise_NR[:, :1] * scores_O + single * noise_NR[:, 1:])

    def draw_all(self, questions: Sequence[Question], noise_NR: Tensor) -> Tensor:
        """Leanings [N, A] of all questions, one after the other."""
        parts = noise_NR.split([1 + question.num_options for question in questions], dim=1)
        gaps = [self.draw(question, part_NR) for question, part_NR in zip(questions, parts, strict=True)]
        return torch.cat(gaps, 1)
