"""Trains the readout on static answers: people described by attributes, questions described by their wording.

The parts of the student that answer before any event are fitted: identity, topic, initial state and readout. Nothing
moves, so a step costs little. Validation people choose the epoch whose weights are kept.

Legend: P people, F attributes, Q questions, O options.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model.lsm.config import LSMConfig
from model.lsm.inputs import Question
from model.lsm.lsm import LSM

QUESTIONS_PER_STEP = 7
PEOPLE_PER_STEP = 180
MISSING = -1


@dataclass(frozen=True)
class ReadoutSettings:
    """How the readout is trained.

    `wording_noise` is the length of the random vector that is added to every wording, itself of length one, so that
    questions are not recognised by a hair; `identity_dropout` as in `schedule.TrainingSettings`.
    """

    learning_rate: float = 2e-3
    weight_decay: float = 0.1
    identity_dropout: float = 0.2
    wording_noise: float = 0.2
    evaluate_every: int = 2


@dataclass(frozen=True, eq=False)
class StaticAnswers:
    """Answers of people to questions: codes [P, F], and the chosen option [P, Q], −1 where there is none."""

    codes_PF: Tensor
    questions: tuple[Question, ...]
    chosen_PQ: Tensor

    def of(self, people_P: Tensor, questions_Q: Sequence[int]) -> "StaticAnswers":
        """Some people and some questions."""
        chosen = self.chosen_PQ[people_P][:, list(questions_Q)]
        return StaticAnswers(self.codes_PF[people_P], tuple(self.questions[number] for number in questions_Q), chosen)


DEFAULT_SETTINGS = ReadoutSettings()


def readout_config(answers: StaticAnswers) -> LSMConfig:
    """The sizes of a student of people with yes-or-no attributes."""
    return LSMConfig(
        attribute_levels=(2,) * answers.codes_PF.shape[1],
        attribute_dim=2,
        hidden_dim=64,
        latent_dim=8,
        readout_dim=16,
        text_dim=len(answers.questions[0].embedding_D),
    )


def train_readout(
    fitted: StaticAnswers,
    validation: StaticAnswers,
    *,
    epochs: int,
    seed: int,
    settings: ReadoutSettings = DEFAULT_SETTINGS,
) -> LSM:
    """Fits a student to static answers; the same arguments give the same bits on the same machine.

    Args:
        fitted: people and questions to fit.
        validation: other people, the same questions.
        epochs: passes over all answers.
        seed: fixes initial weights, order and noise.
        settings: how to train.

    Raises:
        ValueError: epochs is not positive.
    """
    if epochs < 1:
        raise ValueError(f"epochs is {epochs}; training needs 1 or more.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LSM(readout_config(fitted))
    noise = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    best, best_loss = copy.deepcopy(model.state_dict()), math.inf
    for epoch in range(1, epochs + 1):
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * (0.02 + 0.49 * (1 + math.cos(math.pi * (epoch - 1) / epochs)))
        for part in _parts(fitted, noise):
            loss = step_loss(model.train(), part, noise, settings)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
        if epoch % settings.evaluate_every and epoch < epochs:
            continue
        loss = validation_loss(model, validation)
        if loss < best_loss:
            best, best_loss = copy.deepcopy(model.state_dict()), loss
    model.load_state_dict(best)
    return model.eval()


def predict_answers(model: LSM, codes_PF: Tensor, questions: Sequence[Question]) -> list[Tensor]:
    """Probabilities [P, O] of every question, each asked alone."""
    with torch.no_grad():
        identity_PZ = model.identity(codes_PF)
        return [_logits(model, identity_PZ, [question])[0].double().softmax(1) for question in questions]


def validation_loss(model: LSM, answers: StaticAnswers) -> float:
    """Mean over questions of the log loss of the chosen options."""
    predicted = predict_answers(model, answers.codes_PF, answers.questions)
    losses = []
    for probability_PO, chosen_P in zip(predicted, answers.chosen_PQ.unbind(1), strict=True):
        known = chosen_P != MISSING
        if bool(known.any()):
            losses.append(float(-probability_PO[known, chosen_P[known]].clamp(min=1e-6).log().mean()))
    return sum(losses) / len(losses)


def step_loss(model: LSM, part: StaticAnswers, noise: torch.Generator, settings: ReadoutSettings) -> Tensor:
    """Cross-entropy of the chosen options, mean over answers; entries of the identity are dropped, wordings blurred."""
    identity_PZ = model.identity(part.codes_PF)
    is_kept_PZ = torch.rand(identity_PZ.shape, generator=noise) >= settings.identity_dropout
    identity_PZ = identity_PZ * is_kept_PZ / (1 - settings.identity_dropout)
    questions = [_blurred(question, settings.wording_noise, noise) for question in part.questions]
    losses = [
        torch.nn.functional.cross_entropy(logits_PO, chosen_P, ignore_index=MISSING, reduction="sum")
        for logits_PO, chosen_P in zip(_logits(model, identity_PZ, questions), part.chosen_PQ.unbind(1), strict=True)
    ]
    return torch.stack(losses).sum() / (part.chosen_PQ != MISSING).sum().clamp(min=1)


def _parts(fitted: StaticAnswers, noise: torch.Generator) -> Iterator[StaticAnswers]:
    """All answers once: some people and some questions at a time, in a new order."""
    for people_P in torch.randperm(len(fitted.codes_PF), generator=noise).split(PEOPLE_PER_STEP):
        for questions_Q in torch.randperm(len(fitted.questions), generator=noise).split(QUESTIONS_PER_STEP):
            yield fitted.of(people_P, questions_Q.tolist())


def _logits(model: LSM, identity_PZ: Tensor, questions: Sequence[Question]) -> list[Tensor]:
    """Logits [P, O] of every question, each asked alone; rows of all questions are computed together."""
    num_people = len(identity_PZ)
    identity_NZ = identity_PZ.repeat(len(questions), 1)
    topic_NT = torch.cat([model.topic([question]).expand(num_people, -1) for question in questions])
    channels_NK = torch.tanh(model.initial.locate(identity_NZ, topic_NT))
    latent_NU = model.initial.complete(identity_NZ, topic_NT, channels_NK)
    minds = zip(channels_NK.split(num_people), latent_NU.split(num_people), questions, strict=True)
    return [model.readout_head(channels_PK, latent_PU, question) for channels_PK, latent_PU, question in minds]


def _blurred(question: Question, length: float, noise: torch.Generator) -> Question:
    def blur(vectors: Tensor) -> Tensor:
        return vectors + length * torch.randn(vectors.shape, generator=noise) / vectors.shape[-1] ** 0.5

    return replace(
        question, embedding_D=blur(question.embedding_D), option_embeddings_OD=blur(question.option_embeddings_OD)
    )
