"""The panel's rollouts with texts left unread: how a student learns to do without them.

A student that always reads the few wordings it is trained on recognises questions by them, and knows nothing of another
question. So every rollout is also learned without the wordings of questions, options and events: what remains are the
positions of options, and the valence, credibility and speaker of events. In half of the epochs the scale is then turned
round, since which end of a scale is called +1 is its author's choice: positions, valences, public stances and the
channels that follow the scale (`channels.yaml`) change sign, and every option keeps its share.
"""

from collections.abc import Callable
from dataclasses import replace

import torch

from assets.distillation.stacking import StackedPanel
from model.lsm.inputs import Question
from validation.channels import load_channels


def without_texts(stack: StackedPanel) -> StackedPanel:
    """The same rollouts with the embeddings of all texts at zero, where they are not read."""
    timeline = replace(stack.timeline, embedding_VD=torch.zeros_like(stack.timeline.embedding_VD))
    return _with_questions(replace(stack, timeline=timeline), _unread)


def turned_round(stack: StackedPanel) -> StackedPanel:
    """The same rollouts with the scales of all questions turned round."""
    sign_K = torch.tensor([-1.0 if channel.follows_scale else 1.0 for channel in load_channels()])
    turned = replace(
        stack,
        timeline=replace(stack.timeline, valence_V=-stack.timeline.valence_V),
        channels_TNK=stack.channels_TNK * sign_K,
        public_stance_TN=-stack.public_stance_TN,
    )
    return _with_questions(turned, lambda question: replace(question, option_scores_O=-question.option_scores_O))


def _unread(question: Question) -> Question:
    return replace(
        question,
        embedding_D=torch.zeros_like(question.embedding_D),
        option_embeddings_OD=torch.zeros_like(question.option_embeddings_OD),
    )


def _with_questions(stack: StackedPanel, change: Callable[[Question], Question]) -> StackedPanel:
    return replace(
        stack,
        asked=tuple(tuple(map(change, questions)) for questions in stack.asked),
        questions=tuple(replace(asked, question=change(asked.question)) for asked in stack.questions),
    )
