"""Students in the registry, as every room reads them: from safetensors and JSON alone, by alias or version.

Writing them is the distillation room's work. MLflow takes seconds to import and is imported where it is needed.

    RegistryError   no version fits what was asked for, its files are damaged, or it was trained with another vocabulary
"""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import polars as pl
from safetensors.torch import load_file

from assets.tensors import MODEL_ATTRIBUTES
from model.lsm.config import LSMConfig
from model.lsm.lsm import LSM
from validation.channels import channel_names

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

REGISTERED_MODEL = "lsm"
TEXT_ENCODER = "text_encoder"
"""Entry of a student's description, and column of the tables of texts: what encoded them."""
CHAMPION, CANDIDATE = "champion", "candidate"
Weights = Literal["student", "no_graph"]


class RegistryError(LookupError):
    """The registry cannot give what was asked for."""


@dataclass(frozen=True, eq=False)
class LoadedStudent:
    """A student from the registry; `is_champion` says whether the alias points at its version."""

    model: LSM
    version: int
    run_id: str
    is_champion: bool


def load_student(
    tracking_uri: str,
    alias_or_version: str | int | None = None,
    *,
    weights: Weights = "student",
    texts: pl.DataFrame | None = None,
) -> LoadedStudent:
    """A student from the registry, from safetensors and JSON alone; no code of the artifact is run.

    Args:
        tracking_uri: MLflow tracking store and registry.
        alias_or_version: an alias or a version; None for the champion, or the candidate as long as there is none.
        weights: the student, or the one that was trained without its graph.
        texts: table of the events and questions that it will meet, with the encoder that made their embeddings.

    Raises:
        RegistryError: no such version, or it was trained with other attributes or channels than the code has, or with
            texts of another encoder.
    """
    import mlflow.artifacts

    with open_registry(tracking_uri) as client:
        found = _find_version(client, alias_or_version)
        version = int(found.version)
        with tempfile.TemporaryDirectory() as folder:
            source = client.get_model_version_download_uri(REGISTERED_MODEL, found.version)
            local = mlflow.artifacts.download_artifacts(artifact_uri=source, dst_path=folder)
            model = read_student(Path(local) / "artifacts", weights, version, texts)
        champion = version_of_alias(client, CHAMPION)
        return LoadedStudent(
            model, version, str(found.run_id), champion is not None and int(champion.version) == version
        )


def read_student(folder: Path, weights: Weights, version: int, texts: pl.DataFrame | None = None) -> LSM:
    """The student whose files lie in a folder.

    Args:
        folder: the folder that `write_artifacts` filled.
        weights: the student, or the one without its graph.
        version: registered version, for the message.
        texts: table of the texts that it will meet, see `load_student`.

    Raises:
        RegistryError: a file is missing or damaged, or is not the one that was registered, or the student was trained
            with other attributes or channels than the code has, or another text encoder.
    """
    config_path, weights_path = folder / f"{weights}.json", folder / f"{weights}.safetensors"
    where, remedy = f"Version {version} of {REGISTERED_MODEL}", "Restore the registry's files or train a new student."
    try:
        description = json.loads(config_path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RegistryError(f"{where}: {config_path.name} cannot be read ({error}). {remedy}") from error
    for name, allowed in vocabulary().items():
        if description.get(name) != allowed:
            raise RegistryError(
                f"Version {version} of {REGISTERED_MODEL} was trained with other {name} than the code has now: "
                f"found {description.get(name)}, allowed {allowed}. Train a new student."
            )
    encoder = description.get(TEXT_ENCODER)
    others = [] if texts is None else sorted(set(texts[TEXT_ENCODER].unique()) - {encoder})
    if others:
        raise RegistryError(
            f"Version {version} of {REGISTERED_MODEL} was trained on texts encoded by {encoder}, found "
            f"{', '.join(others)}; vectors of different encoders mean nothing to each other. Choose the student's "
            "encoder again (POPULACE_EMBEDDING_MODEL), or train a new student."
        )
    found = weights_digest(weights_path) if weights_path.is_file() else "no file"
    if found != description.get("weights_sha256"):
        raise RegistryError(
            f"{where}: {weights_path.name} is not the file that was registered: found {found}, registered "
            f"{description.get('weights_sha256')}. {remedy}"
        )
    model = LSM(LSMConfig.from_dict(description["lsm"])).eval()
    model.load_state_dict(load_file(weights_path))
    return model


def weights_digest(path: Path) -> str:
    """sha256 of a file of weights, by which a changed one is known before it is loaded."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def vocabulary() -> dict[str, object]:
    """What the codes and channels of a student mean."""
    attributes = [{"name": attribute.name, "levels": list(attribute.levels)} for attribute in MODEL_ATTRIBUTES]
    return {"attributes": attributes, "channels": list(channel_names())}


@contextmanager
def open_registry(tracking_uri: str) -> "Iterator[MlflowClient]":
    """Points MLflow at a store for a while, quietly and without telemetry."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow

    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else ""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    mlflow.set_tracking_uri(tracking_uri)
    try:
        yield mlflow.MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
    finally:
        mlflow.set_tracking_uri(before)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _find_version(client: "MlflowClient", alias_or_version: str | int | None) -> "ModelVersion":
    from mlflow.exceptions import MlflowException

    wanted = str(alias_or_version) if alias_or_version is not None else None
    if wanted is not None and wanted.isdigit():
        try:
            return client.get_model_version(REGISTERED_MODEL, wanted)
        except MlflowException as error:
            raise RegistryError(_nothing_found(client, f"version {wanted}")) from error
    for alias in (wanted,) if wanted is not None else (CHAMPION, CANDIDATE):
        found = version_of_alias(client, alias)
        if found is not None:
            return found
    raise RegistryError(_nothing_found(client, f"alias {wanted}" if wanted else "champion or candidate"))


def champion_version(tracking_uri: str) -> int | None:
    """Version of the student that is champion; None while there is none."""
    with open_registry(tracking_uri) as client:
        champion = version_of_alias(client, CHAMPION)
        return int(champion.version) if champion else None


def version_of_alias(client: "MlflowClient", alias: str) -> "ModelVersion | None":
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(REGISTERED_MODEL, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def _nothing_found(client: "MlflowClient", wanted: str) -> str:
    versions = sorted(int(item.version) for item in client.search_model_versions(f"name='{REGISTERED_MODEL}'"))
    found = ", ".join(map(str, versions)) or "none"
    return f"Registered model {REGISTERED_MODEL} has no {wanted}; versions: {found}. Materialise student_model first."
