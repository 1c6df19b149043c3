"""Opinion dynamics on stances in −1 … 1: Friedkin–Johnsen with biased assimilation, pushed by events.

Every timestep, agents first hear their in-ties, then the active events, then could be asked:

    y_i  = (x_i + 1) / 2,   s_i = Σ_j w_ij y_j,   Σ_j w_ij = 1 over in-ties
    p_i  = (w y_i + y_i^b s_i) / (w + y_i^b s_i + (1 − y_i)^b (1 − s_i))               biased assimilation, bias b
    x_i ← x_i(0) + susceptibility · (2 p_i − 1 − x_i(0))                               attachment to the first stance
    x_i ← (x_i + d_i) / (1 + x_i d_i),  d_i = tanh(gain · Σ_v exposure · valence · credibility)
    share of option o ∝ exp(−(score_o − x_i)² / temperature)

With bias 0 and susceptibility 1 this is DeGroot, with bias 0 Friedkin–Johnsen. Agents without ties keep their own
stance in place of p_i, so without events nothing moves them.

Sources: DeGroot (1974), Reaching a consensus; Friedkin & Johnsen (1990), Social influence and opinions, equation 1;
Dandekar, Goel & Lee (2013), Biased assimilation, homophily, and the dynamics of polarization, equation 1.

Legend: N agents, E ties, V events, O options.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from model.kernels.segments import segment_sum
from model.lpm.parameters import Parameter
from model.lpm.program import Program
from model.lpm.substeps import PopulationState, SubstepKind
from model.lsm.inputs import SocialGraph, Timeline

SUSCEPTIBILITY = Parameter(0.5, bounds=(0.0, 1.0), source="middle of the range; calibrate")
BIAS = Parameter(0.5, bounds=(0.0, 3.0), source="Dandekar et al. (2013): polarising from 1 upwards; calibrate")
SELF_WEIGHT = Parameter(1.0, bounds=(0.01, 10.0), source="own stance counts as much as all ties together")
EVENT_GAIN = Parameter(0.2, bounds=(0.0, 3.0), unit="stance per event", source="assumed; calibrate")
TEMPERATURE = Parameter(0.5, bounds=(0.02, 5.0), unit="stance²", source="assumed; calibrate")

MIN_STANCE_GAP = 1e-4
"""Distance that y keeps from 0 and 1, where a power below one has no finite slope."""


class Influence:
    """Agents hear their in-ties."""

    name = "influence"
    kind: SubstepKind = "discrete_time"
    reads = ("stance_N", "initial_stance_N", "offsets_N1", "src_E", "strength_E")
    writes = ("stance_N",)

    def __init__(self, susceptibility: Parameter, bias: Parameter, self_weight: Parameter) -> None:
        self.parameters = {"susceptibility": susceptibility, "bias": bias, "self_weight": self_weight}

    def advance(self, state: PopulationState, parameters: Mapping[str, Tensor], timestep: int) -> PopulationState:  # noqa: ARG002
        """Stances after hearing peers."""
        stance_N, offsets_N1 = state["stance_N"], state["offsets_N1"]
        place_N = ((stance_N + 1) / 2).clamp(MIN_STANCE_GAP, 1 - MIN_STANCE_GAP)
        strength_E = state["strength_E"].to(stance_N)
        heard_N = segment_sum(strength_E * place_N.index_select(0, state["src_E"]), offsets_N1)
        total_N = segment_sum(strength_E, offsets_N1)
        has_ties_N = total_N > 0
        heard_N = heard_N / torch.where(has_ties_N, total_N, 1.0)
        own, bias = parameters["self_weight"], parameters["bias"]
        for_N, against_N = (
            torch.exp(bias * place_N.log()) * heard_N,
            torch.exp(bias * (1 - place_N).log()) * (1 - heard_N),
        )
        assimilated_N = 2 * (own * place_N + for_N) / (own + for_N + against_N) - 1
        assimilated_N = torch.where(has_ties_N, assimilated_N, stance_N)
        initial_N = state["initial_stance_N"]
        return {"stance_N": initial_N + parameters["susceptibility"] * (assimilated_N - initial_N)}


class Events:
    """Agents hear the active events that reach them."""

    name = "events"
    kind: SubstepKind = "discrete_time"
    reads = ("stance_N", "exposure_VN", "valence_V", "credibility_V", "start_V", "duration_V")
    writes = ("stance_N",)

    def __init__(self, gain: Parameter) -> None:
        self.parameters = {"gain": gain}

    def advance(self, state: PopulationState, parameters: Mapping[str, Tensor], timestep: int) -> PopulationState:
        """Stances after the events of the timestep."""
        stance_N = state["stance_N"]
        is_active_V = (state["start_V"] <= timestep) & (timestep < state["start_V"] + state["duration_V"])
        push_V = (state["valence_V"] * state["credibility_V"]).to(stance_N)
        sum_N = torch.zeros_like(stance_N)
        for event in torch.nonzero(is_active_V)[:, 0].tolist():
            sum_N = sum_N + state["exposure_VN"][event].to(stance_N) * push_V[event]
        shift_N = torch.tanh(parameters["gain"] * sum_N)
        return {"stance_N": ((stance_N + shift_N) / (1 + stance_N * shift_N)).clamp(-1, 1)}


class Answers:
    """Agents' stances as probabilities of a question's options."""

    name = "answers"
    kind: SubstepKind = "discrete_time"
    reads = ("stance_N", "option_scores_O")
    writes = ("option_probabilities_NO",)

    def __init__(self, temperature: Parameter) -> None:
        self.parameters = {"temperature": temperature}

    def advance(self, state: PopulationState, parameters: Mapping[str, Tensor], timestep: int) -> PopulationState:  # noqa: ARG002
        """Probabilities of the options."""
        answers_NO = option_probabilities(state["stance_N"], state["option_scores_O"], parameters["temperature"])
        return {"option_probabilities_NO": answers_NO}


def option_probabilities(stance_N: Tensor, option_scores_O: Tensor, temperature: Tensor | float) -> Tensor:
    """Probabilities [N, O] ∝ exp(−(score − stance)² / temperature): the nearer an option, the likelier."""
    gap_NO = option_scores_O.to(stance_N)[None, :] - stance_N[:, None]
    return torch.softmax(-(gap_NO**2) / temperature, dim=1)


def stance_of(option_probabilities_NO: Tensor, option_scores_O: Tensor) -> Tensor:
    """The stance [N] that probabilities express: the mean score, −1 … 1."""
    return (option_probabilities_NO @ option_scores_O.to(option_probabilities_NO)).clamp(-1, 1)


INPUTS = ("stance_N", "initial_stance_N", "offsets_N1", "src_E", "strength_E", "exposure_VN", "valence_V")
INPUTS += ("credibility_V", "start_V", "duration_V", "option_scores_O")


def opinion_program(
    *,
    susceptibility: Parameter = SUSCEPTIBILITY,
    bias: Parameter = BIAS,
    self_weight: Parameter = SELF_WEIGHT,
    event_gain: Parameter = EVENT_GAIN,
    temperature: Parameter = TEMPERATURE,
) -> Program:
    """The biased Friedkin–Johnsen program; parameters are called influence.susceptibility, influence.bias,
    influence.self_weight, events.gain and answers.temperature.
    """
    return Program([Influence(susceptibility, bias, self_weight), Events(event_gain), Answers(temperature)], INPUTS)


def opinion_population(
    initial_stance_N: Tensor, graph: SocialGraph, timeline: Timeline, option_scores_O: Tensor
) -> dict[str, Tensor]:
    """The tensors that the program needs, from the inputs that the learned engine takes too.

    Trigger events count as never started; `option_probabilities_NO` appears from timestep 1 on.

    Raises:
        ValueError: stances lie beyond ±1, or sizes disagree.
    """
    if len(initial_stance_N) != graph.num_agents or timeline.exposure_VN.shape[1] != graph.num_agents:
        raise ValueError(
            f"{len(initial_stance_N)} stances, a graph of {graph.num_agents} agents and exposure of "
            f"{timeline.exposure_VN.shape[1]}; allowed: one population for all three."
        )
    if not bool((initial_stance_N.abs() <= 1).all()):
        raise ValueError("initial_stance_N holds values beyond ±1, or NaN; allowed: −1 … 1.")
    return {
        "stance_N": initial_stance_N,
        "initial_stance_N": initial_stance_N,
        "offsets_N1": graph.offsets_N1,
        "src_E": graph.src_E,
        "strength_E": graph.strength_E,
        "exposure_VN": timeline.exposure_VN,
        "valence_V": timeline.valence_V,
        "credibility_V": timeline.credibility_V,
        "start_V": timeline.start_V,
        "duration_V": timeline.duration_V,
        "option_scores_O": option_scores_O,
    }
