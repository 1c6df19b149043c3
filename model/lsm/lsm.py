"""The Large Societal Model: one forward pass is one timestep for every agent.

Legend: N agents, A attributes, Z identity, K channels, U latent, X expression, O options, F message, E ties,
S speakers, B agents of a block, R agents of a block whom anything reaches.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model.lsm import timestep
from model.lsm.blocks import block_size
from model.lsm.config import LSMConfig
from model.lsm.dense import GatedMemory
from model.lsm.exposure import Exposure
from model.lsm.identity import Identity, InitialState, Topic
from model.lsm.inputs import SLACK, InputError, Question, SocialGraph, StepRecord, Timeline
from model.lsm.leaning import Leaning, answer_gap, noise_size
from model.lsm.memory import Appraisal, EpisodicMemory, no_episodes
from model.lsm.readout import Readout
from model.lsm.social import SocialAttention
from model.lsm.state import Perception, State, nothing_perceived
from model.lsm.transition import Expression, Transition
from model.lsm.trust import Trust


class LSM(nn.Module):
    """A learned simulator of a population: agents are tokens, ties are the attention mask."""

    def __init__(self, config: LSMConfig) -> None:
        super().__init__()
        self.config = config
        self.identity = Identity(config)
        self.topic = Topic(config)
        self.initial = InitialState(config)
        self.exposure = Exposure(config)
        self.social = SocialAttention(config)
        self.episodic = EpisodicMemory(config)
        num_messages = self.exposure.size + self.social.size + self.episodic.size
        num_mind = config.num_channels + config.latent_dim
        num_context = config.identity_dim + config.topic_dim + config.memory_dim
        self.appraisal = Appraisal(config, num_mind + num_messages)
        self.transition = Transition(config, num_context + num_mind + num_messages)
        self.memory = GatedMemory(num_messages, config.memory_dim)
        self.expression = Expression(config)
        self.readout_head = Readout(config)
        self.leaning = Leaning(config.text_dim)
        self.trust = Trust(config) if config.use_trust and config.use_graph else None

    @property
    def num_parameters(self) -> int:
        """Trainable numbers."""
        return sum(parameter.numel() for parameter in self.parameters())

    def know_texts(self, questions: Sequence[Question], embedding_VD: Tensor) -> None:
        """Sets the questions, and the texts of events, that the student is trained on (see `known_texts.py`).

        Raises:
            ValueError: their numbers are not those of the config.
        """
        wordings = [question.embedding_D for question in questions]
        wording_QD = torch.stack(wordings) if wordings else embedding_VD.new_zeros(0, self.config.text_dim)
        for known in (self.topic.known, self.readout_head.known):
            known.know(wording_QD)
        self.exposure.known.know(embedding_VD)

    def leaning_weight(self, question: Question) -> Tensor:
        """How much of the gap between a first answer and the one that is read stays, 0 … 1.

        All of it where the question's texts are not read: the gap is then what the student does not know.
        """
        return 1 - self.readout_head.familiarity(question) * (1 - self.leaning.weight)

    def noise_size(self, questions: Sequence[Question]) -> int:
        """Standard normal numbers per agent that a drawn initial state takes: channels, then leanings."""
        return self.config.num_channels + noise_size(questions)

    def initial_state(
        self,
        attributes_NA: Tensor,
        observed_channels_NK: Tensor | None = None,
        noise_NR: Tensor | None = None,
        *,
        questions: Sequence[Question] = (),
        observed_answers: Sequence[Tensor] | None = None,
    ) -> State:
        """The state before any event.

        Args:
            attributes_NA: int64 codes.
            observed_channels_NK: −1 … 1, used where given; NaN where the student shall fill in.
            noise_NR: `noise_size(questions)` standard normal numbers for what attributes do not explain; None for the
                typical agent.
            questions: what the scenario asks; they set the topic.
            observed_answers: known first answers [N, O] per question, 0 … 1; rows of NaN where the leaning shall be
                drawn, or zero without noise.

        Raises:
            InputError: codes, observations or noise do not fit.
        """
        identity_NZ = self.identity(attributes_NA)
        topic_P = self.topic(questions)
        location_NK = self.initial.locate(identity_NZ, topic_P)
        num_agents = len(attributes_NA)
        shapes = {
            "observed_channels_NK": (observed_channels_NK, list(location_NK.shape)),
            "noise_NR": (noise_NR, [num_agents, self.noise_size(questions)]),
        }
        for name, (given, shape) in shapes.items():
            if given is not None and list(given.shape) != shape:
                raise InputError(f"{name} has shape {list(given.shape)}; allowed: {shape}.")
        if noise_NR is not None:
            noise_NR = noise_NR.to(location_NK)
            location_NK = location_NK + self.initial.residual(noise_NR[:, : self.config.num_channels], topic_P)
        channels_NK = torch.tanh(location_NK)
        if observed_channels_NK is not None:
            if bool((observed_channels_NK.abs() > 1).any()):
                raise InputError("observed_channels_NK holds values beyond ±1; allowed: −1 … 1, NaN where unknown.")
            observed_NK = observed_channels_NK.to(channels_NK)
            channels_NK = torch.where(observed_NK.isnan(), channels_NK, observed_NK)
        channels_NK = self.rounded(channels_NK)
        latent_NU = self.rounded(self.initial.complete(identity_NZ, topic_P, channels_NK))
        conviction_N, expression_NX = self.expression(channels_NK, latent_NU)
        leaning_NA = self._leaning(channels_NK, latent_NU, noise_NR, questions, observed_answers)
        state = State(
            identity_NZ=identity_NZ,
            topic_P=topic_P,
            channels_NK=channels_NK,
            latent_NU=latent_NU,
            memory_NS=channels_NK.new_zeros(num_agents, self.config.memory_dim),
            conviction_N=conviction_N,
            expression_NX=expression_NX,
            leaning_NA=leaning_NA,
            episodes=no_episodes(num_agents, self.episodic.num_slots, channels_NK),
            trust_E=channels_NK.new_zeros(0),
        )
        return self.kept(state)

    @property
    def precision(self) -> torch.dtype:
        return self.readout_head.stance.weight.dtype

    def kept(self, state: State) -> State:
        """The state in the precision in which it is kept between timesteps."""
        return state.kept_as(torch.bfloat16) if self.config.state_storage == "bfloat16" else state

    def rounded(self, values: Tensor) -> Tensor:
        """Numbers as they will be kept: what follows from them then follows at the next timestep, too."""
        return values.bfloat16().to(values) if self.config.state_storage == "bfloat16" else values

    def widened(self, state: State) -> State:
        """The state in the precision of the weights, in which a timestep is computed."""
        return state.kept_as(self.precision) if self.config.state_storage == "bfloat16" else state

    def _leaning(
        self,
        channels_NK: Tensor,
        latent_NU: Tensor,
        noise_NR: Tensor | None,
        questions: Sequence[Question],
        observed_answers: Sequence[Tensor] | None,
    ) -> Tensor:
        num_options = [question.num_options for question in questions]
        if not questions:
            return channels_NK.new_zeros(len(channels_NK), 0)
        if noise_NR is None:
            leaning_NA = channels_NK.new_zeros(len(channels_NK), sum(num_options))
        else:
            leaning_NA = self.leaning.draw_all(questions, noise_NR[:, self.config.num_channels :])
        if observed_answers is None:
            return leaning_NA
        found = [list(answer_NO.shape) for answer_NO in observed_answers]
        allowed = [[len(channels_NK), number] for number in num_options]
        if found != allowed:
            raise InputError(f"observed_answers have shapes {found}; allowed: {allowed}, one per question.")
        for question, answer_NO in zip(questions, observed_answers, strict=True):
            _check_answers(question, answer_NO)
        known = []
        for question, answer_NO in zip(questions, observed_answers, strict=True):
            gap_NO = answer_gap(answer_NO.to(channels_NK), self.readout_head(channels_NK, latent_NU, question))
            known.append(torch.where(answer_NO.isnan(), torch.nan, self.leaning_weight(question) * gap_NO))
        known_NA = torch.cat(known, 1)
        return torch.where(known_NA.isnan(), leaning_NA, known_NA)

    def step(
        self,
        state: State,
        graph: SocialGraph,
        timeline: Timeline,
        timestep: int,
        questions: Sequence[Question] = (),
        *,
        agents_per_block: int | None = None,
    ) -> tuple[State, StepRecord]:
        """One timestep for every agent.

        Args:
            state: state after the timestep before.
            graph: ties between the agents.
            timeline: events; those active at `timestep` have their effect.
            timestep: 1 or later.
            questions: asked after the timestep; answers do not change the state.
            agents_per_block: agents computed together, to bound memory; changes no bit of the result.
        """
        state, perception = self.advance(state, graph, timeline, timestep, agents_per_block=agents_per_block)
        return state, self.describe(state, perception, timeline, timestep, questions, agents_per_block=agents_per_block)

    advance = timestep.advance

    def describe(
        self,
        state: State,
        perception: Perception | None,
        timeline: Timeline,
        timestep: int,
        questions: Sequence[Question] = (),
        *,
        agents_per_block: int | None = None,
    ) -> StepRecord:
        """The record of a state; `perception` is None for timestep 0."""
        if perception is None:
            perception = nothing_perceived(state.num_agents, self.exposure.null_score.detach())
        state = self.widened(state)
        return StepRecord(
            timestep=timestep,
            channels_NK=state.channels_NK,
            latent_NU=state.latent_NU,
            conviction_N=state.conviction_N,
            expression_NX=state.expression_NX,
            option_probabilities=self.answers(state, questions, agents_per_block=agents_per_block),
            exposed_N=perception.exposed_N,
            salience_N=perception.salience_N,
            episode_event_N=perception.episode_event_N,
            appraisal_N=perception.appraisal_N,
            public_stance_N=self.expression.public_stance(state.expression_NX),
            active_V=timeline.active(timestep),
        )

    def answers(
        self, state: State, questions: Sequence[Question], *, agents_per_block: int | None = None
    ) -> list[Tensor]:
        """Probabilities [N, O] of the scenario's questions, agents' leanings included; rows sum to one.

        Args:
            state: the state.
            questions: those that the initial state was made for, in that order; any questions where it was made for
                none, since no leanings are known then.
            agents_per_block: agents computed together, to bound memory.

        Raises:
            InputError: the state has leanings on other questions.
        """
        logits = [self.readout_logits(state, question, agents_per_block=agents_per_block) for question in questions]
        num_options = [question.num_options for question in questions]
        if not questions or not state.leaning_NA.shape[1]:
            return [torch.softmax(logits_NO, 1) for logits_NO in logits]
        if sum(num_options) != state.leaning_NA.shape[1]:
            raise InputError(
                f"The questions have {sum(num_options)} options in all; allowed: {state.leaning_NA.shape[1]}, those of "
                "the questions that the initial state was made for. Ask others with `readout`."
            )
        leanings = state.leaning_NA.split(num_options, 1)
        return [torch.softmax(logits_NO + own_NO, 1) for logits_NO, own_NO in zip(logits, leanings, strict=True)]

    def readout(self, state: State, question: Question, *, agents_per_block: int | None = None) -> Tensor:
        """Probabilities of any question's options without leanings, [N, O]; rows sum to one."""
        return torch.softmax(self.readout_logits(state, question, agents_per_block=agents_per_block), dim=1)

    def readout_logits(self, state: State, question: Question, *, agents_per_block: int | None = None) -> Tensor:
        """Logits of the question's options, [N, O], for losses."""
        size = block_size(agents_per_block, state.num_agents, state.channels_NK.device)
        blocks = zip(state.channels_NK.split(size), state.latent_NU.split(size), strict=True)
        dtype = self.precision
        return torch.cat(
            [
                self.readout_head(channels_BK.to(dtype), latent_BU.to(dtype), question)
                for channels_BK, latent_BU in blocks
            ]
        )


def _check_answers(question: Question, answer_NO: Tensor) -> None:
    is_unknown_NO = answer_NO.isnan()
    where = f"observed_answers of question {question.question_id}"
    if bool((is_unknown_NO.any(1) != is_unknown_NO.all(1)).any()):
        raise InputError(f"{where} hold rows that are known in part; allowed: whole rows, or NaN for all options.")
    if bool(((answer_NO < -SLACK) | (answer_NO > 1 + SLACK)).any()):
        found = answer_NO[~is_unknown_NO]
        raise InputError(f"{where} range from {found.min():g} to {found.max():g}; allowed: probabilities, 0 … 1.")
