"""Settings from the environment (`POPULACE_*`), read once at the edge; `.env.example` lists them all."""

import os
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT_ROOT = Path(__file__).resolve().parents[1]

TELEMETRY_OPT_OUTS: dict[str, str] = {
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}


class HomeNotWritable(RuntimeError):
    """`POPULACE_HOME` cannot hold the platform's state."""


class Settings(BaseSettings):
    """Where things lie and who answers; every field is an environment variable.

    `home` holds all state: tables, the model registry, the Dagster instance, reports and the elicitation ledger.
    """

    model_config = SettingsConfigDict(env_prefix="POPULACE_", env_file=".env", extra="ignore")

    home: Path = Path(".populace")
    recipe: str = "laptop"
    scenarios_dir: Path = PROJECT_ROOT / "scenarios"
    data_dir: Path | None = None
    data_mirror: Path | None = None
    population_file: Path | None = None
    seed_survey: str | None = None
    allow_download: bool = False
    teacher_base_url: str | None = None
    teacher_model: str | None = None
    embedding_model: str | None = None
    teacher_budget_usd: float = Field(default=10.0, ge=0)
    teacher_mode: Literal["live", "batch"] = "live"
    teacher_timeout_seconds: float = Field(default=120.0, gt=0)
    teacher_max_in_flight: int = Field(default=512, ge=1, le=2048)
    teacher_requests_per_minute: float | None = Field(default=None, gt=0)
    teacher_tokens_per_minute: float | None = Field(default=None, gt=0)
    teacher_max_completion_tokens: int = Field(default=1200, ge=1)
    teacher_poll_seconds: float = Field(default=30.0, gt=0)
    openai_api_key: SecretStr | None = Field(default=None, validation_alias=AliasChoices("OPENAI_API_KEY"))
    dagster_port: int = Field(default=3000, ge=1, le=65535)
    mlflow_port: int = Field(default=5000, ge=1, le=65535)
    rollout_processes: int = Field(default=1, ge=1, le=1024)
    training_processes: int | None = Field(default=None, ge=1, le=1024)
    attention_backend: Literal["auto", "reference", "cpu", "triton"] = "auto"

    @property
    def root(self) -> Path:
        """`home` as an absolute path."""
        return self.home.expanduser().resolve()

    @property
    def tables_dir(self) -> Path:
        """Folder of the Delta tables."""
        return self.root / "tables"

    @property
    def dagster_home(self) -> Path:
        """Folder of the Dagster instance."""
        return self.root / "dagster"

    @property
    def training_dir(self) -> Path:
        """Where unfinished trainings keep their checkpoints."""
        return self.root / "training"

    @property
    def records_dir(self) -> Path:
        """Folder of the small records of assets that are no tables."""
        return self.root / "records"

    @property
    def rollouts_dir(self) -> Path:
        """Folder of long rollouts that are under way; each is removed once its rows are in the tables."""
        return self.root / "rollouts"

    @property
    def reports_dir(self) -> Path:
        """Folder of the validation reports, one folder per run."""
        return self.root / "reports"

    @property
    def data_docs_dir(self) -> Path:
        """Folder of the Great Expectations pages."""
        return self.root / "data_docs"

    @property
    def ledger_path(self) -> Path:
        """SQLite file of everything that teachers and text encoders were ever asked."""
        return self.root / "teacher_ledger.sqlite"

    @property
    def recorded_dir(self) -> Path:
        """Folder of recorded answers that were imported, one folder per codebook."""
        return self.root / "recorded_answers"

    @property
    def mlflow_tracking_uri(self) -> str:
        """SQLite store of MLflow's runs and registry."""
        return f"sqlite:///{self.root / 'mlflow' / 'mlflow.db'}"

    @property
    def mlflow_artifacts_dir(self) -> Path:
        """Folder of MLflow's artifacts."""
        return self.root / "mlflow" / "artifacts"


DAGSTER_YAML = """\
telemetry:
  enabled: false
nux:
  enabled: false
concurrency:
  pools:
    granularity: op
    default_limit: 1
"""


def prepare_home(settings: Settings) -> Path:
    """Creates the folders under `home` and points Dagster, MLflow and Great Expectations at them, telemetry off.

    Raises:
        HomeNotWritable: the folder cannot be created or written to.
    """
    root = settings.root
    try:
        for folder in (root, settings.tables_dir, settings.dagster_home, settings.reports_dir, root / "mlflow"):
            folder.mkdir(parents=True, exist_ok=True)
        settings.mlflow_artifacts_dir.mkdir(exist_ok=True)
        probe = root / ".writable"
        probe.write_text("", encoding="utf-8")
        probe.unlink()
        instance_file = settings.dagster_home / "dagster.yaml"
        if not instance_file.exists():
            instance_file.write_text(DAGSTER_YAML, encoding="utf-8")
    except OSError as error:
        raise HomeNotWritable(
            f"POPULACE_HOME {root} cannot be written to ({error.strerror or error}). "
            "Allowed: a folder that this user can create and write. "
            "Set POPULACE_HOME to such a folder, or change the folder's permissions."
        ) from error
    os.environ.update(TELEMETRY_OPT_OUTS)
    os.environ["DAGSTER_HOME"] = str(settings.dagster_home)
    os.environ["POPULACE_HOME"] = str(root)
    os.environ["POPULACE_ATTENTION_BACKEND"] = settings.attention_backend
    return root
