"""Small JSON records of assets that are no tables: the registered student and the validation report."""

import json
from collections.abc import Mapping
from pathlib import Path


class Records:
    """One JSON file per asset under a folder, replaced atomically."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, asset: str) -> dict:
        """The asset's record; empty where it has none yet."""
        path = self.folder / f"{asset}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def write(self, asset: str, record: Mapping[str, object]) -> None:
        """Replaces the asset's record."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{asset}.json"
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(dict(record), indent=2, sort_keys=True), encoding="utf-8")
        draft.replace(path)
