"""Sensitivities of an outcome to every parameter, and to any input, from one reverse pass through a whole run."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from model.lpm.program import Program, ProgramError, run
from model.lpm.substeps import PopulationState

Outcome = Callable[[PopulationState], Tensor]
"""A number read from a population."""


def sensitivity(
    program: Program,
    outcome: Outcome,
    population: PopulationState,
    num_timesteps: int,
    *,
    inputs: Sequence[str] = (),
) -> dict[str, Tensor]:
    """Derivative of an outcome at the end of a run.

    Args:
        program: the mechanism, at its parameters' values.
        outcome: reads one number from the last state.
        population: named tensors at timestep 0.
        num_timesteps: length of the run.
        inputs: float tensors of the population whose derivative is wanted too.

    Returns:
        Derivative per unit of each parameter, by substep.name, and of each named input; shaped like the value.

    Raises:
        ProgramError: the outcome is no single number, or depends on none of what was asked.
    """
    values = {name: parameter.tensor().requires_grad_() for name, parameter in program.parameters.items()}
    watched = {name: population[name].detach().clone().requires_grad_() for name in inputs}
    final = outcome(run(program, {**population, **watched}, num_timesteps, values=values))
    if final.numel() != 1:
        raise ProgramError(f"The outcome has shape {list(final.shape)}; allowed: one number, for example a mean.")
    if not final.requires_grad:
        raise ProgramError("The outcome depends on no parameter and on no named input; its gradient is empty.")
    leaves = {**values, **watched}
    gradients = torch.autograd.grad(final.reshape(()), list(leaves.values()), allow_unused=True)
    return {
        name: torch.zeros_like(leaf) if gradient is None else gradient
        for (name, leaf), gradient in zip(leaves.items(), gradients, strict=True)
    }
