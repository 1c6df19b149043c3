"""Resources that assets ask for: the platform's settings, recipe and stores, and the model registry."""

import os
from functools import cached_property

import dagster as dg

from orchestration.freshness import Lookup, OutsideInputs, fingerprint, read_outside_inputs, recorded_lookup
from orchestration.recipes import Recipe, find_recipe
from orchestration.records import Records
from orchestration.settings import Settings, prepare_home
from orchestration.table_store import Partition, TableStore

REGISTERED_MODEL = "lsm"


class Platform(dg.ConfigurableResource):
    """Settings, recipe and table store of this run; the recipe may be chosen per run in the launchpad."""

    recipe_name: str = ""

    @cached_property
    def settings(self) -> Settings:
        """Settings from the environment, with the folders of `POPULACE_HOME` made."""
        settings = Settings()
        prepare_home(settings)
        return settings

    @property
    def recipe(self) -> Recipe:
        """The recipe of this run."""
        return find_recipe(self.recipe_name or self.settings.recipe)

    @cached_property
    def store(self) -> TableStore:
        """The Delta tables."""
        return TableStore(self.settings.tables_dir)

    @cached_property
    def records(self) -> Records:
        """Records of assets that are no tables."""
        return Records(self.settings.records_dir)

    @cached_property
    def outside(self) -> OutsideInputs:
        """Digests of what enters the lineage from outside."""
        return read_outside_inputs(self.settings)

    def recorded(self) -> Lookup:
        """Looks up recorded fingerprints of tables, of the student and of the report."""
        return recorded_lookup(self.store, self.records)

    def fingerprint(self, asset: str, partition: Partition | None = None) -> str:
        """Fingerprint of what the asset is being made from right now."""
        return fingerprint(asset, partition, self.recorded(), self.recipe, self.outside)


class ModelRegistry(dg.ConfigurableResource):
    """The MLflow tracking store and registry: sqlite and a folder under `POPULACE_HOME` by default."""

    tracking_uri: str = ""

    def resolve_uri(self, settings: Settings) -> str:
        """The tracking URI in use; also exported, so that every MLflow call agrees."""
        uri = self.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or settings.mlflow_tracking_uri
        os.environ["MLFLOW_TRACKING_URI"] = uri
        return uri
