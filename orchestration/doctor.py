"""What `populace doctor` says: Python, torch device, data sources, teacher and stores in use, and what is wrong."""

import platform as python_platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata

from orchestration.settings import Settings, prepare_home

PACKAGES = ("dagster", "mlflow", "torch", "polars", "duckdb", "deltalake", "pandera", "great-expectations", "openai")


@dataclass(frozen=True)
class Finding:
    """One line of the examination."""

    subject: str
    value: str
    is_fine: bool = True


def examine(settings: Settings) -> list[Finding]:
    """Looks at everything a run depends on; a broken part is a finding, not an exception."""
    parts: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
        _python,
        _torch,
        _home,
        _data,
        _teacher,
        _scenarios,
        _tables,
        _student,
    )
    findings: list[Finding] = []
    for part in parts:
        try:
            findings.extend(part(settings))
        except Exception as error:
            findings.append(Finding(part.__name__.strip("_"), str(error), is_fine=False))
    return findings


def _python(_: Settings) -> Iterator[Finding]:
    yield Finding("python", f"{python_platform.python_version()} on {python_platform.platform()}")
    for package in PACKAGES:
        yield Finding(package, metadata.version(package))


def _torch(_: Settings) -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        device = ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    else:
        device = f"cpu, {torch.get_num_threads()} threads"
    yield Finding("torch device", device)
    from model.kernels.social_attention import describe_backend, problem_with_choice

    yield Finding("attention kernel", describe_backend(), is_fine=problem_with_choice() is None)


def _home(settings: Settings) -> Iterator[Finding]:
    prepare_home(settings)
    yield Finding("home", str(settings.root))
    yield Finding("recipe", settings.recipe)


def _data(settings: Settings) -> Iterator[Finding]:
    from assets.population.definitions import population_file_in_use, sources_in_use
    from assets.sources.catalogue import open_catalogue

    file = population_file_in_use(settings)
    yield Finding("population file", str(settings.population_file or "the default"))
    yield Finding("seed survey", f"{file.seed_survey}, {file.calibration.method} calibration")
    catalogue = open_catalogue(settings)
    for use in sources_in_use(catalogue, file):
        yield Finding(f"data {use.source.name}", f"{use.origin}: {use.path} (sha256 {use.sha256[:12]})")


def _teacher(settings: Settings) -> Iterator[Finding]:
    if settings.teacher_base_url is None:
        yield Finding("teacher", "embedded: response models and an appraisal model in this process, not an LLM")
        return
    key = "a key is set" if settings.openai_api_key else "no key is set"
    yield Finding(
        "teacher",
        f"{settings.teacher_model or 'no model chosen'} at {settings.teacher_base_url}; {key}",
        is_fine=settings.teacher_model is not None,
    )


def _scenarios(settings: Settings) -> Iterator[Finding]:
    from assets.traces.scenario_files import read_scenarios

    scenarios = read_scenarios(settings.scenarios_dir)
    yield Finding("scenarios", f"{len(scenarios)} valid in {settings.scenarios_dir}", is_fine=bool(scenarios))


def _tables(settings: Settings) -> Iterator[Finding]:
    from orchestration.table_store import TableError, TableStore
    from validation.contracts import CONTRACTS

    store = TableStore(settings.tables_dir)
    present = store.tables()
    yield Finding("tables", f"{len(present)} of {len(CONTRACTS)} in {settings.tables_dir}")
    for table in present:
        try:
            store.open(table)
        except TableError as error:
            yield Finding(f"table {table}", str(error), is_fine=False)


def _student(settings: Settings) -> Iterator[Finding]:
    from orchestration.records import Records

    record = Records(settings.records_dir).read("student_model")
    yield Finding("registry", settings.mlflow_tracking_uri)
    if record:
        yield Finding("student", f"version {record['version']}, alias {record['alias']}")
    else:
        yield Finding("student", "none yet; `populace run` trains one")
