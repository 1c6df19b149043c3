"""The Large Societal Model: one forward pass is one timestep for every agent.

Legend: N agents, A attributes, Z identity, K channels, U latent, X expression, O options, F message, E ties,
S speakers, B agents of a block, R agents of a block whom anything reaches.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from model.lsm.blocks import Step, block_size, take_in, without_constants
from model.lsm.config import LSMConfig
from model.lsm.dense import GatedMemory
from model.lsm.exposure import Exposure
from model.lsm.identity import Identity, InitialState, Topic
from model.lsm.inputs import InputError, InTies, Question, SocialGraph, StepRecord, Timeline
from model.lsm.leaning import Leaning, answer_gap, noise_size
from model.lsm.memory import Appraisal, EpisodicMemory, no_episodes
from model.lsm.readout import Readout
from model.lsm.social import SocialAttention
from model.lsm.state import Joined, Perception, State, nothing_perceived, place_rows
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
            observed_answers: known first answers [N, O] per question; rows of NaN where the leaning shall be drawn, or
                zero without noise.

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
        channels_NK = self._rounded(channels_NK)
        latent_NU = self._rounded(self.initial.complete(identity_NZ, topic_P, channels_NK))
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
        return self._kept(state)

    @property
    def _precision(self) -> torch.dtype:
        return self.readout_head.stance.weight.dtype

    def _kept(self, state: State) -> State:
        """The state in the precision in which it is kept between timesteps."""
        return state.kept_as(torch.bfloat16) if self.config.state_storage == "bfloat16" else state

    def _rounded(self, values: Tensor) -> Tensor:
        """Numbers as they will be kept: what follows from them then follows at the next timestep, too."""
        return values.bfloat16().to(values) if self.config.state_storage == "bfloat16" else values

    def _widened(self, state: State) -> State:
        """The state in the precision of the weights, in which a timestep is computed."""
        return state.kept_as(self._precision) if self.config.state_storage == "bfloat16" else state

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
        known = []
        for question, answer_NO in zip(questions, observed_answers, strict=True):
            gap_NO = answer_gap(answer_NO.to(channels_NK), self.readout_head(channels_NK, latent_NU, question))
            known.append(torch.where(answer_NO.isnan(), torch.nan, self.leaning.weight * gap_NO))
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

    def advance(
        self,
        state: State,
        graph: SocialGraph,
        timeline: Timeline,
        timestep: int,
        *,
        agents_per_block: int | None = None,
        expression_SX: Tensor | None = None,
    ) -> tuple[State, Perception]:
        """The next state and what the timestep did to each agent, without asking anything.

        Agents whom neither events, peers nor memories reach are skipped where no gradient is asked for: computing them
        would leave every bit of their state as it is.

        Args:
            state: and the following, as for `step`.
            expression_SX: what all speakers of the graph broadcast, where they are more than the agents of the state.
        """
        num_agents = state.num_agents
        if graph.num_agents != num_agents or timeline.exposure_VN.shape[1] != num_agents:
            raise InputError(
                f"The state has {num_agents} agents, the graph {graph.num_agents}, the timeline "
                f"{timeline.exposure_VN.shape[1]}; allowed: one population for all three."
            )
        expression_SX = state.expression_NX if expression_SX is None else expression_SX
        if len(expression_SX) != graph.num_speakers:
            raise InputError(
                f"{len(expression_SX)} speakers are heard; allowed: {graph.num_speakers}, as the graph says."
            )
        step = Step(
            timeline=timeline,
            timestep=timestep,
            events=self.exposure.describe_events(timeline),
            active=[(event, int(timeline.source_type_V[event])) for event in timeline.active(timestep).tolist()],
            begun=timeline.begun(timestep),
            graph=graph,
            expression_SX=expression_SX,
            stored_SX=self.social.stored(expression_SX),
        )
        trust_E = self._trust_before(state, graph)
        size = block_size(agents_per_block, num_agents, state.channels_NK.device)
        states, perceptions = Joined[State](num_agents), Joined[Perception](num_agents)
        trusts: list[Tensor] = []
        for first in range(0, num_agents, size) if num_agents else (0,):
            agents = slice(first, min(first + size, num_agents))
            block = state if size >= num_agents else state.select(agents)
            rows_R = self._rows_to_move(block, step, agents)
            in_ties = graph.in_ties(agents, rows_R)
            if rows_R is None:
                after, perception = self._move(block, step, agents, in_ties, trust_E)
            elif len(rows_R) == 0:
                after, perception = block, nothing_perceived(block.num_agents, self.exposure.null_score)
            else:
                moved, felt = self._move(block.select(rows_R), step, agents.start + rows_R, in_ties, trust_E)
                after = place_rows(moved, block, rows_R)
                perception = place_rows(felt, nothing_perceived(block.num_agents, self.exposure.null_score), rows_R)
            if self.trust is not None:
                own_BX = block.expression_NX if rows_R is None else block.expression_NX[rows_R]
                heard_SX, own_BX = expression_SX.to(trust_E), own_BX.to(trust_E)
                trusts.append(self.trust(trust_E[in_ties.place], in_ties, own_BX, heard_SX))
            states.add(agents, without_constants(after))
            perceptions.add(agents, perception)
        after = replace(
            states.result(),
            identity_NZ=state.identity_NZ,
            leaning_NA=state.leaning_NA,
            trust_E=torch.cat(trusts) if trusts else trust_E,
        )
        return after, perceptions.result()

    def _trust_before(self, state: State, graph: SocialGraph) -> Tensor:
        if self.trust is None or (len(state.trust_E) == 0 and graph.num_ties == 0):
            return state.trust_E
        if len(state.trust_E) == 0:
            return self.exposure.null_score.detach().new_zeros(graph.num_ties)
        if len(state.trust_E) != graph.num_ties:
            raise InputError(
                f"The state holds trust in {len(state.trust_E)} ties, the graph has {graph.num_ties}; allowed: the "
                "graph that the rollout began with."
            )
        return state.trust_E

    def _rows_to_move(self, block: State, step: Step, agents: slice) -> Tensor | None:
        """Numbers within the block of the agents whom anything reaches; None for everybody.

        With gradient everybody is computed, since an audience that does not reach an agent has a derivative there.
        """
        if torch.is_grad_enabled() or not self.config.rests_when_unreached:
            return None
        is_reached_B = self._hears_peers(step.graph, agents)
        if bool(is_reached_B.all()):
            return None
        for event, _ in step.active if self.config.use_exposure else ():
            is_reached_B = is_reached_B | (step.timeline.exposure_VN[event, agents] > 0)
        if self.config.use_episodes:
            is_reached_B = is_reached_B | (block.episodes.salience_NM > self.config.salience_threshold).any(1)
        return None if bool(is_reached_B.all()) else torch.nonzero(is_reached_B)[:, 0]

    def _move(
        self, block: State, step: Step, agents: slice | Tensor, in_ties: InTies, trust_E: Tensor
    ) -> tuple[State, Perception]:
        """The next state of a block of agents, given by slice or number, and what the timestep did to them."""
        block = self._widened(block)
        mind_BC = torch.cat([block.channels_NK, block.latent_NU], 1)
        heard = self.exposure(
            step.timeline,
            step.timestep,
            step.events,
            step.active,
            agents,
            block.identity_NZ,
            block.channels_NK,
            block.topic_P,
        )
        strength_BM = self.episodic.strength(block.episodes, step.timestep)
        message_BF = self.social(
            step.graph,
            in_ties,
            step.stored_SX,
            torch.cat([block.identity_NZ, mind_BC], 1),
            trust_E[in_ties.place] if self.trust is not None else None,
        )
        recalled_BF, recall_B = self.episodic.recall(block.episodes, strength_BM, step.begun, step.events[1], mind_BC)
        peers_B = self._hears_peers(step.graph, agents).to(heard.exposure_N)
        received_B = 1 - (1 - peers_B) * (1 - heard.exposure_N)
        taken_in = take_in(block, mind_BC, (heard.message_NF, message_BF, recalled_BF))
        perception = self.appraisal(taken_in.mind_BI, received_B, heard.exposure_N > 0, heard.top_event_N)
        reached_B = torch.ones_like(peers_B)
        if self.config.rests_when_unreached:
            reached_B = 1 - (1 - received_B) * (1 - recall_B)
        channels_BK, latent_BU = self.transition(taken_in.all_BI, block.channels_NK, block.latent_NU, reached_B)
        channels_BK, latent_BU = self._rounded(channels_BK), self._rounded(latent_BU)
        conviction_B, expression_BX = self.expression(channels_BK, latent_BU)
        is_kept = not self.config.use_memory
        after = replace(
            block,
            channels_NK=channels_BK,
            latent_NU=latent_BU,
            memory_NS=block.memory_NS if is_kept else self.memory(taken_in.messages_BF, block.memory_NS, reached_B),
            conviction_N=conviction_B,
            expression_NX=expression_BX,
            episodes=self.episodic.store(block.episodes, strength_BM, step.timestep, perception),
        )
        return self._kept(after), perception

    def _hears_peers(self, graph: SocialGraph, agents: slice | Tensor) -> Tensor:
        has_ties_B = graph.has_ties_N[agents]
        return has_ties_B if self.config.use_graph else torch.zeros_like(has_ties_B)

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
        state = self._widened(state)
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
        dtype = self._precision
        return torch.cat(
            [
                self.readout_head(channels_BK.to(dtype), latent_BU.to(dtype), question)
                for channels_BK, latent_BU in blocks
            ]
        )
