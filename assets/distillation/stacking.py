"""Every scenario's rollout of the panel as one rollout: copies of the panel society side by side, without ties between.

A timestep of a few hundred agents costs mostly overhead, so one rollout of all copies is several times faster than a
rollout per scenario. Agents of different copies cannot affect one another, so the result is the same; events reach only
their own copy, and every copy has the topic of its own questions.

Legend: S scenarios, P panel agents, N = S · P stacked agents, T timesteps, K channels, O options, V events.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from assets.distillation.teacher_rollouts import TeacherRollout
from assets.distillation.training_set import TrainingSet
from model.lsm.inputs import Question, SocialGraph, Timeline
from model.lsm.lsm import LSM
from model.lsm.state import State, join_agents


@dataclass(frozen=True, eq=False)
class StackedQuestion:
    """A question and the stacked agents who answer it; `probability_TMO` for those M agents, NaN where unanswered."""

    question: Question
    agents_M: Tensor
    probability_TMO: Tensor


@dataclass(frozen=True, eq=False)
class StackedPanel:
    """All rollouts of a training set as one.

    Targets are NaN where the teacher did not answer, and after the end of scenarios shorter than the longest.
    """

    attributes_PA: Tensor
    graph: SocialGraph
    timeline: Timeline
    asked: tuple[tuple[Question, ...], ...]
    questions: tuple[StackedQuestion, ...]
    channels_TNK: Tensor
    conviction_TN: Tensor
    public_stance_TN: Tensor
    salience_TN: Tensor
    attention_TN3: Tensor
    will_share_TN: Tensor
    rationale_TNR: Tensor

    @property
    def num_copies(self) -> int:
        """Scenarios, each with its own copy of the panel."""
        return len(self.asked)

    @property
    def num_timesteps(self) -> int:
        """Timesteps of the longest scenario after the initial state."""
        return len(self.channels_TNK) - 1

    def repeat(self, values_P: Tensor) -> Tensor:
        """A value per panel agent as a value per stacked agent."""
        return values_P.repeat(self.num_copies)

    def repeat_rows(self, values_PX: Tensor) -> Tensor:
        """Several values per panel agent as those of every stacked agent."""
        return values_PX.repeat(self.num_copies, 1)

    def scenario_of(self, agents_M: Tensor) -> Tensor:
        """Scenario, by position, of stacked agents."""
        return agents_M // len(self.attributes_PA)


def stack_panel(training_set: TrainingSet) -> StackedPanel:
    """Puts the scenarios' copies of the panel side by side."""
    rollouts, num_agents = training_set.rollouts, training_set.num_agents
    last = max(rollout.num_timesteps for rollout in rollouts)

    def side_by_side(name: str) -> Tensor:
        return torch.cat([_lengthen(getattr(rollout, name), last) for rollout in rollouts], dim=1)

    return StackedPanel(
        attributes_PA=training_set.attributes_PA,
        graph=stack_graph(training_set.graph, len(rollouts)),
        timeline=stack_timelines([rollout.timeline for rollout in rollouts]),
        asked=tuple(tuple(target.question for target in rollout.targets) for rollout in rollouts),
        questions=_stack_questions(rollouts, num_agents, last),
        channels_TNK=side_by_side("channels_TPK"),
        conviction_TN=side_by_side("conviction_TP"),
        public_stance_TN=side_by_side("public_stance_TP"),
        salience_TN=side_by_side("salience_TP"),
        attention_TN3=side_by_side("attention_TP3"),
        will_share_TN=side_by_side("will_share_TP"),
        rationale_TNR=side_by_side("rationale_TPR"),
    )


def start_stack(model: LSM, stack: StackedPanel, observed_NK: Tensor | None, noise_NK: Tensor | None = None) -> State:
    """The initial state of all copies, each with its own topic and without leanings.

    Copies are asked different questions, so leanings are kept beside the state, one tensor per question.

    Args:
        model: the student.
        stack: the copies.
        observed_NK: known channels at timestep 0, NaN where unknown; None for none.
        noise_NK: standard normal numbers for what attributes do not explain of channels; None for the typical agent.
    """
    num_agents = len(stack.attributes_PA)
    states: list[State] = []
    for number, questions in enumerate(stack.asked):
        copy = slice(number * num_agents, (number + 1) * num_agents)
        noise_PR = None
        if noise_NK is not None:
            num_leanings = model.noise_size(questions) - noise_NK.shape[1]
            noise_PR = nn.functional.pad(noise_NK[copy], (0, num_leanings))
        state = model.initial_state(
            stack.attributes_PA, None if observed_NK is None else observed_NK[copy], noise_PR, questions=questions
        )
        states.append(replace(state, leaning_NA=state.leaning_NA[:, :0]))
    return with_identity(model, stack, join_agents(states))


def with_identity(model: LSM, stack: StackedPanel, state: State) -> State:
    """The state with identity and topic computed anew, so that every window of training carries their gradient.

    Each copy has its own topic: where the engine expects one topic for all agents, here is one per agent.
    """
    identity_PZ = model.identity(stack.attributes_PA)
    topics = [model.topic(questions).expand(len(identity_PZ), -1) for questions in stack.asked]
    return replace(state, identity_NZ=identity_PZ.repeat(stack.num_copies, 1), topic_P=torch.cat(topics))


def stack_graph(graph: SocialGraph, num_copies: int) -> SocialGraph:
    """Disjoint copies of a graph."""
    shift_C = torch.arange(num_copies)
    ends = (graph.offsets_N1[1:] + graph.num_ties * shift_C[:, None]).flatten()
    return SocialGraph(
        offsets_N1=torch.cat([ends.new_zeros(1), ends]),
        src_E=(graph.src_E + graph.num_agents * shift_C[:, None]).flatten(),
        tie_type_E=graph.tie_type_E.repeat(num_copies),
        strength_E=graph.strength_E.repeat(num_copies),
    )


def stack_timelines(timelines: Sequence[Timeline]) -> Timeline:
    """The events of all copies, each reaching agents of its own copy only."""
    parts = {
        name: torch.cat([getattr(timeline, name) for timeline in timelines])
        for name in ("embedding_VD", "valence_V", "credibility_V", "source_type_V", "start_V", "duration_V")
    }
    masks = [timeline.exposure_VN.to(torch.float32) for timeline in timelines]
    return Timeline(**parts, exposure_VN=torch.block_diag(*masks))


def _lengthen(target_TP: Tensor, last: int) -> Tensor:
    missing = target_TP.new_full((last + 1 - len(target_TP), *target_TP.shape[1:]), float("nan"))
    return torch.cat([target_TP, missing])


def _stack_questions(rollouts: Sequence[TeacherRollout], num_agents: int, last: int) -> tuple[StackedQuestion, ...]:
    """One entry per different question; a scenario and its baseline usually ask the same."""
    groups: list[tuple[Question, list[Tensor], list[Tensor]]] = []
    for number, rollout in enumerate(rollouts):
        agents_P = torch.arange(num_agents) + number * num_agents
        for target in rollout.targets:
            group = next((group for group in groups if _is_same(group[0], target.question)), None)
            if group is None:
                group = (target.question, [], [])
                groups.append(group)
            group[1].append(agents_P)
            group[2].append(_lengthen(target.probability_TPO, last))
    return tuple(
        StackedQuestion(question, torch.cat(agents), torch.cat(targets, dim=1)) for question, agents, targets in groups
    )


def _is_same(one: Question, other: Question) -> bool:
    return (
        one.question_id == other.question_id
        and one.is_ordinal == other.is_ordinal
        and torch.equal(one.embedding_D, other.embedding_D)
        and torch.equal(one.option_embeddings_OD, other.option_embeddings_OD)
        and torch.equal(one.option_scores_O, other.option_scores_O)
    )
