"""The model registry: students as MLflow runs and versions of the registered model `lsm`, weights as safetensors.

Aliases: `candidate` is the newest version, `champion` the newest that passed its gates. MLflow takes seconds to
import and is imported where it is needed.
"""

import math
import os
import platform
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from assets.distillation.distil import Distilled
from assets.distillation.model_card import render_model_card
from assets.distillation.student_files import serving_example, serving_signature, write_artifacts
from assets.students import (
    CANDIDATE,
    CHAMPION,
    REGISTERED_MODEL,
    RegistryError,
    load_student,
    open_registry,
    version_of_alias,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "populace"
LARGEST_BATCH = 1_000
"""Metrics that one call of `log_batch` takes."""
SECONDS_BETWEEN_SYSTEM_METRICS = 5
ENVIRONMENT_PACKAGES = ("torch", "mlflow", "polars", "numpy", "scikit-learn", "deltalake")
REQUIREMENTS = ("mlflow", "torch", "safetensors", "pandas", "numpy")


@dataclass(frozen=True)
class RegisteredStudent:
    """Where a student was registered."""

    version: int
    run_id: str
    is_champion: bool


@contextmanager
def training_run(
    tracking_uri: str,
    artifact_location: str,
    *,
    recipe: Mapping[str, object],
    data_versions: Mapping[str, object],
) -> "Iterator[str]":
    """An MLflow run around a training, with parameters, data versions, environment and system metrics; its id.

    It begins before the training, so that the system metrics (processor, memory, disk) are those of the training, and
    a training that fails leaves a run marked as failed.

    Args:
        tracking_uri: MLflow tracking store and registry, sqlite or a server.
        artifact_location: URI of the folder for artifacts, used when the experiment is made.
        recipe: sizes of the run, logged as parameters.
        data_versions: version of each table that goes in, logged as tags.
    """
    import mlflow

    with open_registry(tracking_uri) as client:
        mlflow.set_system_metrics_sampling_interval(SECONDS_BETWEEN_SYSTEM_METRICS)
        mlflow.set_system_metrics_samples_before_logging(1)
        with mlflow.start_run(
            experiment_id=_experiment(client, artifact_location),
            run_name=f"distil-{recipe.get('name', 'run')}",
            log_system_metrics=True,
        ) as run:
            _log_start(client, run.info.run_id, recipe, data_versions)
            yield run.info.run_id


def register_student(
    distilled: Distilled,
    run_id: str,
    *,
    tracking_uri: str,
    recipe: Mapping[str, object],
    data_versions: Mapping[str, object],
) -> RegisteredStudent:
    """Logs what was found out to the open run and registers the student as the next version of `lsm`.

    The version gets the alias `candidate`, and `champion` when its gates have passed; otherwise a champion that was
    aliased before keeps its alias, unless this code cannot read it any more.

    Args:
        distilled: the student and what was found out about it.
        run_id: the run that `training_run` opened.
        tracking_uri: MLflow tracking store and registry, sqlite or a server.
        recipe: sizes of the run, for the card.
        data_versions: version of each table that went in, for the card.
    """
    import mlflow

    card = render_model_card(distilled, recipe=recipe, data_versions=data_versions)
    with open_registry(tracking_uri) as client:
        _log_findings(client, run_id, distilled)
        client.log_text(run_id, card, "MODEL_CARD.md")
        with tempfile.TemporaryDirectory() as folder:
            logged = mlflow.pyfunc.log_model(
                name=REGISTERED_MODEL,
                python_model=str(Path(__file__).with_name("serving.py")),
                artifacts=write_artifacts(distilled, card, Path(folder)),
                signature=serving_signature(),
                input_example=serving_example(distilled.training_set),
                pip_requirements=list(REQUIREMENTS),
            )
        version = _next_version(client, logged.model_uri, logged.model_id, run_id, card)
        client.set_model_version_tag(REGISTERED_MODEL, version, "teacher", distilled.training_set.teacher)
        verdict = "passed" if distilled.has_passed_gates else "not passed"
        client.set_model_version_tag(REGISTERED_MODEL, version, "gates", verdict)
        client.set_registered_model_alias(REGISTERED_MODEL, CANDIDATE, version)
        if distilled.has_passed_gates:
            client.set_registered_model_alias(REGISTERED_MODEL, CHAMPION, version)
        else:
            _retire_unreadable_champion(client, tracking_uri)
    return RegisteredStudent(version=int(version), run_id=run_id, is_champion=distilled.has_passed_gates)


def _experiment(client: "MlflowClient", artifact_location: str) -> str:
    found = client.get_experiment_by_name(EXPERIMENT)
    return found.experiment_id if found else client.create_experiment(EXPERIMENT, artifact_location=artifact_location)


def _retire_unreadable_champion(client: "MlflowClient", tracking_uri: str) -> None:
    """Takes the alias from a champion of an older engine, which would keep simulations from running at all."""
    if version_of_alias(client, CHAMPION) is None:
        return
    try:
        load_student(tracking_uri, CHAMPION)
    except (RegistryError, ValueError) as error:
        version = version_of_alias(client, CHAMPION)
        client.delete_registered_model_alias(REGISTERED_MODEL, CHAMPION)
        if version is not None:
            client.set_model_version_tag(REGISTERED_MODEL, version.version, "retired", str(error)[:500])


def _log_start(
    client: "MlflowClient", run_id: str, recipe: Mapping[str, object], data_versions: Mapping[str, object]
) -> None:
    from mlflow.entities import Param, RunTag

    params = {f"recipe.{name}": value for name, value in recipe.items()}
    params |= {f"environment.{name}": metadata.version(name) for name in ENVIRONMENT_PACKAGES}
    params |= {
        "environment.python": platform.python_version(),
        "environment.system": platform.platform(),
        "environment.processors": os.cpu_count(),
    }
    tags = {f"data_version.{name}": str(version) for name, version in data_versions.items()}
    client.log_batch(
        run_id,
        params=[Param(name, str(value)) for name, value in params.items()],
        tags=[RunTag(name, value) for name, value in tags.items()],
    )


def _log_findings(client: "MlflowClient", run_id: str, distilled: Distilled) -> None:
    from mlflow.entities import Metric, Param, RunTag

    now = int(time.time() * 1000)
    params = {f"config.{name}": value for name, value in distilled.student.model.config.to_dict().items()}
    params |= {f"settings.{name}": value for name, value in asdict(distilled.settings).items()}
    tags = {"teacher": distilled.training_set.teacher, "teacher_model": distilled.training_set.teacher_model}
    metrics = [
        Metric(f"{model}/{metric}", value, now, epoch) for model, epoch, metric, value in distilled.curves.iter_rows()
    ]
    for gate in distilled.gates:
        metrics += [
            Metric(f"gate_student/{gate.baseline}", gate.student_value, now, 0),
            Metric(f"gate_against/{gate.baseline}", gate.baseline_value, now, 0),
            Metric(f"gate_difference/{gate.baseline}", gate.difference, now, 0),
        ]
    metrics.append(Metric("held_out_tvd/lsm", distilled.gates[0].student_value, now, 0))
    metrics += [
        Metric(f"member_tvd/{number}", value, now, 0) for number, value in enumerate(distilled.member_tvds, start=1)
    ]
    metrics.append(Metric("has_passed_gates", float(distilled.has_passed_gates), now, 0))
    metrics = [metric for metric in metrics if math.isfinite(metric.value)]
    client.log_batch(
        run_id,
        params=[Param(name, str(value)) for name, value in params.items()],
        tags=[RunTag(name, value) for name, value in tags.items()],
    )
    for first in range(0, len(metrics), LARGEST_BATCH):
        client.log_batch(run_id, metrics=metrics[first : first + LARGEST_BATCH])


def _next_version(client: "MlflowClient", source: str, model_id: str, run_id: str, card: str) -> str:
    """Makes the logged model the next version, quietly, and returns the version."""
    if not client.search_registered_models(f"name='{REGISTERED_MODEL}'"):
        client.create_registered_model(REGISTERED_MODEL, description="Students: learned simulators of a population.")
    made = client.create_model_version(
        REGISTERED_MODEL, source=source, run_id=run_id, description=card, model_id=model_id
    )
    return str(made.version)
