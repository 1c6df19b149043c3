"""What the validation report is told about its run: everything that no table holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class DataUse:
    """One source of data as the run used it; `origin` is user, mirror, download or embedded."""

    name: str
    title: str
    owner: str
    licence: str
    citation: str
    origin: str
    sha256: str


@dataclass(frozen=True)
class GateOutcome:
    """One gate of a student: one that it must pass to become champion, or one that is reported beside them."""

    name: str
    value: float | None
    threshold: float
    has_passed: bool
    is_required: bool = True


@dataclass(frozen=True)
class StudentRecord:
    """The registered student behind the simulation; `verdict` says in a sentence how it stands."""

    version: int
    alias: str | None
    is_champion: bool
    verdict: str
    gates: tuple[GateOutcome, ...] = ()

    @property
    def failed_gates(self) -> tuple[str, ...]:
        """Names of the gates that did not hold, with a mark on those that are reported only."""
        return tuple(
            gate.name if gate.is_required else f"{gate.name} (reported only)"
            for gate in self.gates
            if not gate.has_passed
        )


@dataclass(frozen=True)
class TableVersion:
    """Version, rows and content digest of a table that the report reads."""

    table: str
    version: int
    num_rows: int
    digest: str


@dataclass(frozen=True)
class ReportContext:
    """The run behind a report.

    `tables` names every table that exists: a section whose table is absent says so. `created` is an ISO 8601 time.
    `absent` names cases of evidence that could not be made and why.
    `links` are label and address; addresses are web addresses or paths. `limits` are further known limits of this run,
    for example a degraded path that was taken.
    """

    run_id: str
    created: str
    recipe: Mapping[str, str | int | float]
    teacher: str
    teacher_statement: str
    student: StudentRecord
    tables: tuple[TableVersion, ...]
    data_uses: tuple[DataUse, ...]
    package_versions: Mapping[str, str]
    seeds: Mapping[str, int]
    commands: tuple[str, ...]
    links: tuple[tuple[str, str], ...] = ()
    limits: tuple[str, ...] = ()
    absent: tuple[tuple[str, str], ...] = ()
    git_commit: str | None = None
    machine: Mapping[str, str] = field(default_factory=dict)

    def has(self, *tables: str) -> bool:
        """Whether all the tables exist."""
        return {*tables} <= {table.table for table in self.tables}


EMBEDDED_STATEMENT = (
    "The teacher of this run is the embedded teacher. It is a statistical stand-in and not a language model: its "
    "answers come from response models estimated on survey microdata and from a documented appraisal model for events, "
    "peers and memory. Agreement with it says that the student learned those models, not that it reasons like people."
)
"""What every report says when the embedded teacher answered."""
