"""Gates: thresholds in `gates.yaml` that turn evidence into checks of the student and of its outcomes.

GateError   the configuration is wrong; the message names the gate
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import polars as pl
import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

FILE = Path(__file__).with_name("gates.yaml")
EvidenceTable = Literal[
    "teacher_agreement",
    "behaviour_scores",
    "survey_calibration",
    "dynamic_calibration",
    "rectified_shares",
    "held_out_predictions",
    "simulated_shares",
]
KNOWN_WITH_THE_STUDENT = ("held_out_predictions", "simulated_shares")
"""Evidence that is made with the student, before anything is simulated: all that a blocking gate can wait for."""


class GateError(ValueError):
    """The configuration of the gates cannot be used."""


class Gate(BaseModel):
    """One threshold on one number from the evidence tables."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    asset: Literal["student_model", "outcomes"]
    tables: tuple[EvidenceTable, ...] = Field(min_length=1)
    sql: str
    at_least: float | None = None
    at_most: float | None = None
    severity: Literal["block", "error", "warn"]
    why: str

    @model_validator(mode="after")
    def _has_one_threshold(self) -> "Gate":
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("a gate needs either at_least or at_most, and not both")
        return self

    @model_validator(mode="after")
    def _blocks_what_can_wait(self) -> "Gate":
        late = sorted(set(self.tables) - set(KNOWN_WITH_THE_STUDENT))
        if self.severity == "block" and (self.asset != "student_model" or late):
            raise ValueError(
                f"severity block on {self.asset} with {', '.join(self.tables)}: only a gate of student_model on "
                f"{' and '.join(KNOWN_WITH_THE_STUDENT)} can block, since other evidence is made from the simulations "
                "that would wait for it; use error"
            )
        return self

    @property
    def rule(self) -> str:
        """The threshold in words."""
        bound = f"at least {self.at_least:g}" if self.at_least is not None else f"at most {self.at_most:g}"
        return f"{self.name.replace('_', ' ')}: {bound}"


@dataclass(frozen=True)
class GateOutcome:
    """What a gate found; the value is None where the evidence has no row to compute it from."""

    gate: Gate
    value: float | None
    has_passed: bool
    is_empty: bool

    @property
    def shown(self) -> str:
        """The value for metadata."""
        return "no evidence in this run" if self.is_empty else "missing" if self.value is None else f"{self.value:.4f}"

    @property
    def sentence(self) -> str:
        """What failed and why it matters."""
        return f"{self.gate.rule}, found {self.shown} ({self.gate.severity}): {self.gate.why}"


@cache
def load_gates(asset: str | None = None, path: Path = FILE) -> tuple[Gate, ...]:
    """The gates of one asset, or all, in the order of the file.

    Raises:
        GateError: an entry is wrong, or two share a name.
    """
    try:
        found = TypeAdapter(tuple[Gate, ...]).validate_python(yaml.safe_load(path.read_text(encoding="utf-8"))["gates"])
    except ValidationError as error:
        raise GateError(f"{path.name} holds a wrong gate: {error}") from error
    names = [gate.name for gate in found]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise GateError(f"{path.name} names {', '.join(repeated)} more than once. Give every gate its own name.")
    return tuple(gate for gate in found if asset in (None, gate.asset))


def evaluate_gates(gates: Sequence[Gate], query: Callable[[str], pl.DataFrame]) -> list[GateOutcome]:
    """Computes every gate. One without a single row of evidence passes and says so; one that gives no number fails.

    Args:
        gates: from `load_gates`.
        query: answers SQL over the stored tables.
    """
    outcomes = []
    for gate in gates:
        is_empty = any(query(f"select 1 from {table} limit 1").is_empty() for table in gate.tables)
        found = None if is_empty else query(gate.sql).item()
        value = float(found) if found is not None else None
        outcomes.append(GateOutcome(gate, value, is_empty or _is_kept(gate, value), is_empty))
    return outcomes


def _is_kept(gate: Gate, value: float | None) -> bool:
    if value is None:
        return False
    if gate.at_least is not None:
        return value >= gate.at_least
    return gate.at_most is not None and value <= gate.at_most
