"""Adoption in places or groups: innovation, imitation along ties, a threshold, and a ceiling of its own for each place.

With F the share that has adopted, m the ceiling, F̄_i = Σ_j w_ij F_j what place i sees through its ties (own ties
included where given), all per timestep:

    rate_i = innovation + imitation · F̄_i · σ((F̄_i − threshold) / width)
    F_i ← F_i + (1 − exp(−rate_i)) · max(m_i − F_i, 0)
    m_i = σ(ceiling_level + ceiling_slope · z_i + spread · d_i)

d_i are deviations of single places with a standard normal prior, z_i a covariate; threshold at its lower bound with the
default width makes the gate nearly one: then this is Bass (1969) in discrete time, on ties. An adopter never leaves.

Sources: Bass (1969), A new product growth model for consumer durables, equation 3; Granovetter (1978), Threshold models
of collective behavior.

Legend: N agents (people, places or groups), E ties.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from model.kernels.segments import segment_sum
from model.lpm.parameters import Parameter
from model.lpm.program import Program
from model.lpm.substeps import PopulationState, SubstepKind

INNOVATION = Parameter(0.02, bounds=(0.0, 0.5), unit="1 per timestep", source="Sultan et al. (1990): mean 0.03 a year")
IMITATION = Parameter(0.2, bounds=(0.0, 2.0), unit="1 per timestep", source="Sultan et al. (1990): mean 0.38 a year")
THRESHOLD = Parameter(0.02, bounds=(0.0, 0.9), source="low: nearly no threshold; calibrate")
WIDTH = Parameter(0.02, bounds=(0.005, 0.5), source="assumed")
CEILING_LEVEL = Parameter(1.4, bounds=(-4.0, 6.0), prior=(1.4, 1.0), unit="log-odds", source="about 0.8; calibrate")
CEILING_SLOPE = Parameter(0.0, bounds=(-3.0, 3.0), prior=(0.0, 0.5), unit="log-odds", source="calibrate")
CEILING_SPREAD = 0.5
"""Standard deviation of the ceilings' log-odds between places that the covariate does not explain."""


class Adoption:
    """People who have not adopted do so, by themselves or after those they see."""

    name = "adoption"
    kind: SubstepKind = "discrete_time"
    reads = ("adopted_N", "covariate_N", "offsets_N1", "src_E", "strength_E")
    writes = ("adopted_N", "ceiling_N")

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        self.parameters = dict(parameters)

    def advance(self, state: PopulationState, parameters: Mapping[str, Tensor], timestep: int) -> PopulationState:  # noqa: ARG002
        """Shares after the timestep, never above the ceiling by adoption and never falling."""
        adopted_N, offsets_N1 = state["adopted_N"], state["offsets_N1"]
        strength_E = state["strength_E"].to(adopted_N)
        total_N = segment_sum(strength_E, offsets_N1)
        seen_N = segment_sum(strength_E * adopted_N.index_select(0, state["src_E"]), offsets_N1)
        seen_N = torch.where(total_N > 0, seen_N / torch.where(total_N > 0, total_N, 1.0), adopted_N)
        gate_N = torch.sigmoid((seen_N - parameters["threshold"]) / parameters["width"])
        rate_N = parameters["innovation"] + parameters["imitation"] * seen_N * gate_N
        ceiling_N = torch.sigmoid(
            parameters["ceiling_level"]
            + parameters["ceiling_slope"] * state["covariate_N"].to(adopted_N)
            + CEILING_SPREAD * parameters["deviation"]
        )
        gain_N = (1 - torch.exp(-rate_N)) * (ceiling_N - adopted_N).clamp(min=0)
        return {"adopted_N": adopted_N + gain_N, "ceiling_N": ceiling_N}


INPUTS = ("adopted_N", "covariate_N", "offsets_N1", "src_E", "strength_E")


def adoption_program(
    num_agents: int,
    *,
    innovation: Parameter = INNOVATION,
    imitation: Parameter = IMITATION,
    threshold: Parameter = THRESHOLD,
    width: Parameter = WIDTH,
    ceiling_level: Parameter = CEILING_LEVEL,
    ceiling_slope: Parameter = CEILING_SLOPE,
) -> Program:
    """The program for so many places; parameters are called adoption.innovation, .imitation, .threshold, .width,
    .ceiling_level, .ceiling_slope and .deviation (one entry per place).
    """
    deviation = Parameter((0.0,) * num_agents, bounds=(-4.0, 4.0), prior=(0.0, 1.0), source="standard normal prior")
    return Program(
        [
            Adoption(
                {
                    "innovation": innovation,
                    "imitation": imitation,
                    "threshold": threshold,
                    "width": width,
                    "ceiling_level": ceiling_level,
                    "ceiling_slope": ceiling_slope,
                    "deviation": deviation,
                }
            )
        ],
        INPUTS,
    )
