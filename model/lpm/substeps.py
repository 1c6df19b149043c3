"""What a mechanism's substep declares: what it reads, what it writes, its parameters and its kind."""

from collections.abc import Mapping
from typing import Literal, Protocol

from torch import Tensor

from model.lpm.parameters import Parameter

SubstepKind = Literal["discrete_time", "continuous_time", "discrete_event", "neural"]

PopulationState = Mapping[str, Tensor]
"""Named tensors of a population, ties and events included; names carry their axes."""


class Substep(Protocol):
    """A part of a timestep. Anything with these members is one; there is nothing to inherit or to register."""

    @property
    def name(self) -> str:
        """Unique within a program; prefixes the names of its parameters."""
        ...

    @property
    def kind(self) -> SubstepKind:
        """How the substep advances time."""
        ...

    @property
    def reads(self) -> tuple[str, ...]:
        """Tensors the substep is given, and no others."""
        ...

    @property
    def writes(self) -> tuple[str, ...]:
        """Tensors the substep returns, exactly these."""
        ...

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """Parameters by name."""
        ...

    def advance(self, state: PopulationState, parameters: Mapping[str, Tensor], timestep: int) -> PopulationState:
        """The tensors in `writes` after the substep.

        Args:
            state: the tensors in `reads`; not to be changed in place.
            parameters: values of `parameters`, by the substep's own names.
            timestep: 1 or later.
        """
        ...
