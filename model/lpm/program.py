"""A program: substeps in order, checked when it is made, run over the timesteps of a population.

ProgramError   substeps do not fit one another, or the population does not fit the program
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from model.lpm.parameters import Parameter
from model.lpm.substeps import PopulationState, Substep

Recorder = Callable[[int, PopulationState], None]


class ProgramError(ValueError):
    """A program cannot be built or run as given."""


class Program:
    """Substeps that together make one timestep.

    Args:
        substeps: in the order in which they run.
        inputs: names of the tensors that the population provides.

    Raises:
        ProgramError: two substeps share a name, or one reads what neither the population nor an earlier substep gives.
    """

    def __init__(self, substeps: Sequence[Substep], inputs: Sequence[str]) -> None:
        self.substeps = tuple(substeps)
        self.inputs = tuple(inputs)
        names = [substep.name for substep in self.substeps]
        for name in names:
            if names.count(name) > 1:
                raise ProgramError(f"Two substeps are called {name!r}; their parameters could not be told apart.")
        known = set(self.inputs)
        for position, substep in enumerate(self.substeps):
            missing = [name for name in substep.reads if name not in known]
            if missing:
                raise ProgramError(
                    f"Substep {position} ({substep.name}) reads {', '.join(missing)}, which nothing provides. "
                    f"Known at that point: {', '.join(sorted(known))}. Add it to the inputs, or "
                    "add a substep that writes it."
                )
            known |= set(substep.writes)

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Every parameter by substep.name, in order."""
        return {
            f"{substep.name}.{name}": parameter
            for substep in self.substeps
            for name, parameter in substep.parameters.items()
        }

    def values(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """Every parameter's value as a tensor, by substep.name."""
        return {name: parameter.tensor(dtype) for name, parameter in self.parameters.items()}

    def timestep(self, state: PopulationState, values: Mapping[str, Tensor], timestep: int) -> dict[str, Tensor]:
        """The population after one timestep; tensors that no substep writes are passed on, not copied.

        Raises:
            ProgramError: a substep wrote something else than it declared.
        """
        current = dict(state)
        for substep in self.substeps:
            own = {name: values[f"{substep.name}.{name}"] for name in substep.parameters}
            written = substep.advance({name: current[name] for name in substep.reads}, own, timestep)
            if set(written) != set(substep.writes):
                raise ProgramError(
                    f"Substep {substep.name} wrote {', '.join(sorted(written)) or 'nothing'}; declared: "
                    f"{', '.join(sorted(substep.writes))}."
                )
            current.update(written)
        return current


def run(
    program: Program,
    population: PopulationState,
    num_timesteps: int,
    *,
    record: Recorder | None = None,
    values: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Runs a program and returns the population after the last timestep.

    Only the current state is kept; with gradient, only what the gradient needs.

    Args:
        program: the mechanism.
        population: named tensors at timestep 0.
        num_timesteps: 0 or more.
        record: called with timesteps 0 … num_timesteps and the population then.
        values: parameter values by substep.name where they differ from the program's; may carry gradient.

    Raises:
        ProgramError: the population lacks an input, or a value is given for a parameter that does not exist.
    """
    missing = [name for name in program.inputs if name not in population]
    if missing:
        raise ProgramError(
            f"The population lacks {', '.join(missing)}. Found: {', '.join(sorted(population))}. "
            f"The program's inputs: {', '.join(program.inputs)}."
        )
    unknown = sorted(set(values or {}) - set(program.parameters))
    if unknown:
        raise ProgramError(f"No parameter is called {', '.join(unknown)}. Parameters: {', '.join(program.parameters)}.")
    dtypes = [tensor.dtype for tensor in population.values() if tensor.is_floating_point()]
    dtype = dtypes[0] if dtypes else torch.float32
    all_values = program.values(dtype) | {name: value.to(dtype) for name, value in (values or {}).items()}
    state = dict(population)
    if record is not None:
        record(0, state)
    for timestep in range(1, num_timesteps + 1):
        state = program.timestep(state, all_values, timestep)
        if record is not None:
            record(timestep, state)
    return state
