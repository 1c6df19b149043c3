"""What each data source is: its name, owner, licence, citation, and the recorded file of every origin."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import yaml

CATALOGUE_PATH = Path(__file__).with_name("data") / "catalogue.yaml"


@dataclass(frozen=True)
class RecordedFile:
    """A file and the sha256 it must have. `place` is a mirror path, an address, or a path inside a package."""

    place: str
    sha256: str
    package: str | None = None
    version: str | None = None


@dataclass(frozen=True)
class Source:
    """A catalogue entry. `kind` is survey (has a codebook), margins, cells or extract (a table that
    the room which needs it reads as it is). A survey that is loaded by name is loaded only where the population file
    names it, for example because its respondents are in another survey as well."""

    name: str
    kind: Literal["survey", "margins", "cells", "extract"]
    title: str
    owner: str
    licence: str
    citation: str
    url: str | None = None
    mirror: RecordedFile | None = None
    download: RecordedFile | None = None
    embedded: RecordedFile | None = None
    note: str = ""
    is_loaded_by_name: bool = False


def read_catalogue(path: Path) -> tuple[Source, ...]:
    """The sources that a catalogue file lists, in file order; a file that has not changed is read once."""
    return _read(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _read(path: Path, changed_ns: int) -> tuple[Source, ...]:  # noqa: ARG001
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))["sources"]
    for entry in entries:
        for origin in ("mirror", "download", "embedded"):
            if origin in entry:
                entry[origin] = RecordedFile(**entry[origin])
    return tuple(Source(**entry) for entry in entries)
