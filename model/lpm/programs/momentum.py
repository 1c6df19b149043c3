"""Opinion change between surveys: groups keep part of their earlier trend, which fades, and drift towards each other.

The agents of this program are subgroups of one survey item. With l the log-odds of the stance, t timesteps of years:

    l_i ← l_i + recall · (e_i − l_i)                                 once, at timestep 1: sampling noise of one wave
    l_i ← l_i + damping^(t − 1) · (own_gain · b_i + common_gain · c_i)        trends before the start, which fade
    l_i ← l_i + pull · Σ_j w_ij (l_j − l_i),   Σ_j w_ij = 1 over in-ties      below zero, groups move apart
    x_i = tanh(l_i / 2)

b_i is the group's own slope and c_i the slope of the whole population over the waves before the start, e_i the group's
mean over those waves. All gains at zero is persistence; own_gain = damping = 1 is the linear trend in log-odds.

Source: damped trends, Gardner & McKenzie (1985), Forecasting trends in time series, equation 1; the pull between groups
is the linear term of DeGroot (1974).

Legend: N agents (subgroups), E ties.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from model.kernels.segments import segment_sum
from model.lpm.parameters import Parameter
from model.lpm.program import Program
from model.lpm.substeps import PopulationState, SubstepKind

RECALL = Parameter(0.3, bounds=(0.0, 0.9), prior=(0.3, 0.2), source="prior: noise of one wave")
OWN_GAIN = Parameter(0.1, bounds=(-0.5, 1.5), prior=(0.1, 0.2), source="prior: near persistence")
COMMON_GAIN = Parameter(0.2, bounds=(-0.5, 1.5), prior=(0.2, 0.2), source="prior: near persistence")
DAMPING = Parameter(
    0.85, bounds=(0.5, 1.0), prior=(0.85, 0.1), unit="1 per timestep", source="prior: Gardner (2006), section 3"
)
PULL = Parameter(0.0, bounds=(-0.2, 0.3), prior=(0.0, 0.02), unit="1 per timestep", source="prior: no pull")

LARGEST_STANCE = 0.995
"""Stances nearer to ±1 are moved inside, where log-odds are finite."""


class Recall:
    """Groups start between their last wave and their mean over the waves before."""

    name = "recall"
    kind: SubstepKind = "discrete_time"
    reads = ("log_odds_N", "earlier_log_odds_N")
    writes = ("log_odds_N",)

    def __init__(self, weight: Parameter) -> None:
        self.parameters = {"weight": weight}

    def advance(self, state: PopulationState, parameters: Mapping[str, Tensor], timestep: int) -> PopulationState:
        """Log-odds, mixed with the earlier mean at timestep 1 only."""
        log_odds_N = state["log_odds_N"]
        if timestep > 1:
            return {"log_odds_N": log_odds_N}
        return {"log_odds_N": log_odds_N + parameters["weight"] * (state["earlier_log_odds_N"] - log_odds_N)}


class Momentum:
    """Trends from before the start go on and fade."""

    name = "momentum"
    kind: SubstepKind = "discrete_time"
    reads = ("log_odds_N", "own_slope_N", "common_slope_N")
    writes = ("log_odds_N",)

    def __init__(self, own_gain: Parameter, common_gain: Parameter, damping: Parameter) -> None:
        self.parameters = {"own_gain": own_gain, "common_gain": common_gain, "damping": damping}

    def advance(self, state: PopulationState, parameters: Mapping[str, Tensor], timestep: int) -> PopulationState:
        """Log-odds after the timestep's part of the trends."""
        trend_N = parameters["own_gain"] * state["own_slope_N"] + parameters["common_gain"] * state["common_slope_N"]
        return {"log_odds_N": state["log_odds_N"] + parameters["damping"] ** (timestep - 1) * trend_N}


class Pull:
    """Groups move towards the groups they are tied to, or away from them."""

    name = "pull"
    kind: SubstepKind = "discrete_time"
    reads = ("log_odds_N", "offsets_N1", "src_E", "strength_E")
    writes = ("log_odds_N",)

    def __init__(self, strength: Parameter) -> None:
        self.parameters = {"strength": strength}

    def advance(self, state: PopulationState, parameters: Mapping[str, Tensor], timestep: int) -> PopulationState:  # noqa: ARG002
        """Log-odds after hearing the other groups; groups without ties stay."""
        log_odds_N, offsets_N1 = state["log_odds_N"], state["offsets_N1"]
        strength_E = state["strength_E"].to(log_odds_N)
        heard_N = segment_sum(strength_E * log_odds_N.index_select(0, state["src_E"]), offsets_N1)
        total_N = segment_sum(strength_E, offsets_N1)
        gap_N = torch.where(total_N > 0, heard_N / torch.where(total_N > 0, total_N, 1.0) - log_odds_N, 0.0)
        return {"log_odds_N": log_odds_N + parameters["strength"] * gap_N}


class Stance:
    """Log-odds as stances."""

    name = "stance"
    kind: SubstepKind = "discrete_time"
    reads = ("log_odds_N",)
    writes = ("stance_N",)
    parameters: Mapping[str, Parameter] = {}

    def advance(self, state: PopulationState, parameters: Mapping[str, Tensor], timestep: int) -> PopulationState:  # noqa: ARG002
        """Stances in −1 … 1."""
        return {"stance_N": torch.tanh(state["log_odds_N"] / 2)}


INPUTS = ("log_odds_N", "earlier_log_odds_N", "own_slope_N", "common_slope_N", "offsets_N1", "src_E", "strength_E")


def log_odds_of(stance_N: Tensor) -> Tensor:
    """Log-odds [N] of stances in −1 … 1, those beyond ±0.995 moved inside."""
    return 2 * torch.atanh(stance_N.clamp(-LARGEST_STANCE, LARGEST_STANCE))


def momentum_program(
    *,
    recall: Parameter = RECALL,
    own_gain: Parameter = OWN_GAIN,
    common_gain: Parameter = COMMON_GAIN,
    damping: Parameter = DAMPING,
    pull: Parameter = PULL,
) -> Program:
    """The program; parameters are called recall.weight, momentum.own_gain, momentum.common_gain, momentum.damping and
    pull.strength.
    """
    return Program([Recall(recall), Momentum(own_gain, common_gain, damping), Pull(pull), Stance()], INPUTS)
