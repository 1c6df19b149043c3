"""What the readout on recorded answers must beat: predictions from people's attributes or from other questions.

    regressions       multinomial regression per question on the persona's sentences
    nearest_people    shares among the ten known personas that share most sentences, with the item's share as one more
    nearest_question  shares of the seen question with as many options whose wording lies nearest
    shares_of         the question's shares among known people

The regressions' penalty is chosen on validation people, who are then fitted on as well. The student is not fitted on
them: they choose its epoch and no more, so these baselines have seen more answers than it has.

Legend: P people, F sentences, Q questions, O options.
"""

from collections.abc import Sequence

import numpy as np

from assets.distillation.readout_training import MISSING, StaticAnswers

PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Inverse strengths of the ridge penalty that are tried."""
NEIGHBOURS = 10
PRIOR = 0.5


def shares_of(chosen_P: np.ndarray, num_options: int) -> np.ndarray:
    """Shares of the options, with half an answer added to each, [O]."""
    counts_O = np.bincount(chosen_P[chosen_P != MISSING], minlength=num_options) + PRIOR
    return counts_O / counts_O.sum()


def regressions(
    codes_PF: np.ndarray,
    chosen_PQ: np.ndarray,
    num_options: Sequence[int],
    fitted_P: np.ndarray,
    validation_P: np.ndarray,
) -> list[np.ndarray]:
    """Probabilities [P, O] per question of multinomial regressions that share one penalty.

    Of all penalties the one with the lowest log loss of validation people is kept, mean over questions, with fits on
    the fitted people alone; the regressions are then fitted again on fitted and validation people together.

    Args:
        codes_PF: features of everybody.
        chosen_PQ: position of the chosen option, −1 where there is none.
        num_options: options of each question.
        fitted_P: people to fit on.
        validation_P: people who choose the penalty.
    """
    losses = []
    for penalty in PENALTIES:
        found = []
        for number, size in enumerate(num_options):
            predicted_PO = _regress(codes_PF, chosen_PQ[:, number], size, fitted_P, penalty)
            chosen_P = chosen_PQ[validation_P, number]
            is_known_P = chosen_P != MISSING
            picked_P = predicted_PO[validation_P[is_known_P], chosen_P[is_known_P]]
            found += [-np.log(np.maximum(picked_P, 1e-4)).mean()] if len(picked_P) else []
        losses.append(np.mean(found))
    best = PENALTIES[int(np.argmin(losses))]
    known_P = np.concatenate([fitted_P, validation_P])
    return [_regress(codes_PF, chosen_PQ[:, number], size, known_P, best) for number, size in enumerate(num_options)]


def nearest_people(
    codes_PF: np.ndarray, chosen_PQ: np.ndarray, shares: Sequence[np.ndarray], known_P: np.ndarray
) -> list[np.ndarray]:
    """Probabilities [P, O] per question from the ten nearest known personas."""
    common_PP = codes_PF.astype(np.float64) @ codes_PF[known_P].T
    nearest_PN = known_P[np.argsort(-common_PP, axis=1, kind="stable")[:, :NEIGHBOURS]]
    found = []
    for number, share_O in enumerate(shares):
        chosen_PN = chosen_PQ[nearest_PN, number]
        counts_PO = np.stack([(chosen_PN == option).sum(axis=1) for option in range(len(share_O))], axis=1)
        found.append((counts_PO + share_O) / (counts_PO.sum(axis=1, keepdims=True) + 1.0))
    return found


def nearest_question(answers: StaticAnswers, question: int, seen: Sequence[int], fitted_P: np.ndarray) -> np.ndarray:
    """Shares [O] of the nearest seen question with as many options; equal chances where there is none."""
    asked = answers.questions[question]
    alike = [number for number in seen if answers.questions[number].num_options == asked.num_options]
    if not alike:
        return np.full(asked.num_options, 1.0 / asked.num_options)
    nearness = [float(answers.questions[number].embedding_D @ asked.embedding_D) for number in alike]
    nearest = alike[int(np.argmax(nearness))]
    return shares_of(answers.chosen_PQ.numpy()[fitted_P, nearest], asked.num_options)


def _regress(
    codes_PF: np.ndarray, chosen_P: np.ndarray, num_options: int, fitted_P: np.ndarray, penalty: float
) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    known_P = fitted_P[chosen_P[fitted_P] != MISSING]
    predicted_PO = np.full((len(codes_PF), num_options), 1e-6)
    levels = np.unique(chosen_P[known_P])
    if len(levels) < 2:
        predicted_PO[:, levels] = 1.0
    else:
        model = LogisticRegression(C=penalty, max_iter=200, solver="newton-cholesky")
        model.fit(codes_PF[known_P], chosen_P[known_P])
        predicted_PO[:, model.classes_] = model.predict_proba(codes_PF)
    return predicted_PO / predicted_PO.sum(axis=1, keepdims=True)
