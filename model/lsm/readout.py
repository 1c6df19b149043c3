"""Answers to any question, read from channels and latent alone.

Options are scored against the embedded wordings of question and option, as far as the question is familiar
(`known_texts.py`), so any question can be asked. With R features of agent (h), question (q) and option (k), and
position y of an option on the scale:

    fit_o     = (h ⊙ (1 + tanh q)) · k_o / √R + b_o
    ordinal:    logit_o = fit_o − exp(κ) (y_o − μ)²          nominal: logit_o = fit_o + exp(κ) y_o μ

μ is the agent's stance on the question and κ how sharply the question separates stances.

Legend: N agents, O options, D text dimensions, R readout features, C channels and latent.
"""

import torch
from torch import Tensor, nn

from model.lsm.config import LSMConfig
from model.lsm.dense import Dense, DenseBlock
from model.lsm.inputs import InputError, Question
from model.lsm.known_texts import KnownTexts

STANCE_LIMIT = 1.5
"""Stances may lie beyond the outermost options, so that an outermost option can be all but certain."""
SHARPNESS_LIMIT = 3.0


class Readout(nn.Module):
    """Channels and latent → probabilities of the options of a question."""

    def __init__(self, config: LSMConfig) -> None:
        super().__init__()
        size = config.readout_dim
        self.text_dim = config.text_dim
        self.mind = DenseBlock(config.num_channels + config.latent_dim, config.hidden_dim, 2 * size)
        self.question = DenseBlock(2 * config.text_dim, config.hidden_dim, 2 * size + 2)
        self.option = DenseBlock(2 * config.text_dim + 1, config.hidden_dim, size + 1)
        self.stance = Dense(size, 1)
        self.known = KnownTexts(config.num_known_questions, config.text_dim)

    def familiarity(self, question: Question) -> Tensor:
        """How far the question's texts are read, 0 … 1, by its wording."""
        return self.known.familiarity(question.embedding_D.to(self.stance.weight)[None])[0]

    def describe(self, question: Question) -> tuple[Tensor, Tensor]:
        """Features of the question [2R + 2] and of its options [O, R + 1].

        Raises:
            InputError: embeddings have another length than the student was built for.
        """
        if len(question.embedding_D) != self.text_dim:
            raise InputError(
                f"Question {question.question_id} has embeddings of length {len(question.embedding_D)}; "
                f"allowed: {self.text_dim}, as the student was trained. Embed it with the student's text encoder."
            )
        weight = self.stance.weight
        scale = self.text_dim**0.5 * self.familiarity(question)
        wording_D = question.embedding_D.to(weight) * scale
        option_OD = question.option_embeddings_OD.to(weight) * scale
        score_O1 = question.option_scores_O.to(weight)[:, None]
        direction_D = (score_O1 * option_OD).mean(0)
        question_R = self.question(torch.cat([wording_D, direction_D])[None])[0]
        wording_OD = wording_D.expand(len(option_OD), -1)
        return question_R, self.option(torch.cat([option_OD, wording_OD, score_O1], 1))

    def forward(self, channels_NK: Tensor, latent_NU: Tensor, question: Question) -> Tensor:
        """Logits [N, O]."""
        question_R, option_OR = self.describe(question)
        gate_R, sharpness, offset = question_R[:-2], question_R[-2], question_R[-1]
        mind_NR = self.mind(torch.cat([channels_NK, latent_NU], 1)) * (1 + torch.tanh(gate_R))
        fit_NR, stance_NR = mind_NR.chunk(2, 1)
        size = stance_NR.shape[1]
        stance_N = STANCE_LIMIT * torch.tanh(self.stance(stance_NR)[:, 0] + offset)
        precision = torch.exp(SHARPNESS_LIMIT * torch.tanh(sharpness / SHARPNESS_LIMIT))
        logits = []
        for key_R, score in zip(option_OR, question.option_scores_O.to(stance_N), strict=True):
            fit_N = (fit_NR * key_R[:-1]).sum(1) / size**0.5 + key_R[-1]
            pull_N = -((score - stance_N) ** 2) if question.is_ordinal else score * stance_N
            logits.append(fit_N + precision * pull_N)
        return torch.stack(logits, 1)
