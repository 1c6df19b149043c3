"""Codebooks: how a survey file's columns become the harmonised attributes and items. One YAML file per survey.

Only the description lives here; `harmonisation.py` applies it. Every message names the codebook file and the line.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt, StrictStr, ValidationError, model_validator

from assets.sources.errors import CodebookError
from assets.sources.lined_yaml import LinedYaml, read_lined_yaml
from validation.attributes import ATTRIBUTE_BY_NAME

Code = StrictInt | StrictFloat | StrictStr
Name = Annotated[StrictStr, Field(pattern=r"^[a-z0-9_]+$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ColumnMapping(_Strict):
    """One source column turned into levels, by exact codes (`recode`) or by numeric bands (both ends included).

    A code that is neither mapped nor listed as missing is an error, unless `otherwise` names a level for all others
    or says `missing`.
    """

    column: StrictStr
    recode: dict[Code, StrictStr] | None = None
    bands: dict[StrictStr, tuple[float, float]] | None = None
    missing: tuple[Code, ...] = ()
    otherwise: StrictStr | None = None

    @model_validator(mode="after")
    def _one_way_only(self) -> "ColumnMapping":
        if (self.recode is None) == (self.bands is None):
            raise ValueError("a mapping needs either recode or bands, and not both")
        return self

    def levels(self) -> tuple[str, ...]:
        """Levels that the mapping can yield."""
        named = tuple(self.recode.values()) if self.recode is not None else tuple(self.bands or ())
        return named if self.otherwise in (None, "missing") else (*named, self.otherwise)


class ItemMapping(_Strict):
    """A survey item: its source column, its wording and the label of each answer code, in the order of the options."""

    column: StrictStr
    question: StrictStr
    options: dict[Code, Name]
    missing: tuple[Code, ...] = ()


class WaveColumn(_Strict):
    """The column that holds the calendar year of the interview."""

    column: StrictStr


class Codebook(_Strict):
    """The description of one survey file.

    `design_weight` names a column, or is `none` where the file has no weights (every respondent then weighs 1).
    `age` names a numeric column of years; `age_group` follows from it, and `region` from `state`, unless the codebook
    maps them itself. `person` names a column with the same value in every interview of one person, which links waves.
    An attribute may have several mappings: the first that yields a level is used. `file`, `url` and
    `sha256` describe a user's own file, relative to the codebook.
    """

    survey: Name
    title: StrictStr
    note: StrictStr = ""
    wave: Annotated[StrictInt, Field(ge=1900, le=2100)] | WaveColumn
    design_weight: StrictStr | Literal["none"]
    age: StrictStr | None = None
    person: StrictStr | None = None
    missing: tuple[Code, ...] = ()
    attributes: dict[StrictStr, ColumnMapping | tuple[ColumnMapping, ...]]
    items: dict[Name, ItemMapping] = {}
    file: StrictStr | None = None
    url: StrictStr | None = None
    sha256: Annotated[StrictStr, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    owner: StrictStr = "not stated"
    licence: StrictStr = "not stated"
    citation: StrictStr = "not stated"

    def mappings(self, attribute: str) -> tuple[ColumnMapping, ...]:
        """The attribute's mappings in order of preference."""
        entry = self.attributes[attribute]
        return entry if isinstance(entry, tuple) else (entry,)


@dataclass(frozen=True)
class CodebookFile:
    """A codebook with the file it came from and the line of every entry."""

    spec: Codebook
    document: LinedYaml

    def place(self, *keys: str | int) -> str:
        """File and line of an entry, or of the nearest entry above it."""
        return self.document.place(*keys)

    def data_file(self) -> str:
        """Name of the user's data file, relative to the codebook.

        Raises:
            CodebookError: the codebook names no file.
        """
        if self.spec.file is None:
            raise CodebookError(
                f"{self.place()}: a codebook in the data folder must name its data file. Add a line such as "
                f"file: {self.spec.survey}.parquet (.parquet, .csv, .dta, .sav or .zsav, relative to the codebook)."
            )
        return self.spec.file


def load_codebook(path: Path) -> CodebookFile:
    """Reads and checks a codebook.

    Raises:
        CodebookError: the file is no YAML, has unknown or missing entries, or names unknown attributes or levels.
    """
    document = read_lined_yaml(path)
    try:
        spec = Codebook.model_validate(document.content)
    except ValidationError as error:
        raise CodebookError(document.explain(error, Codebook)) from error
    codebook = CodebookFile(spec, document)
    if spec.survey != path.stem:
        raise CodebookError(
            f"{codebook.place('survey')}: found survey {spec.survey!r} in a file named {path.name}; the two must be "
            f"the same. Rename the file to {spec.survey}.yaml or correct the entry."
        )
    _check_levels(codebook)
    return codebook


def _check_levels(codebook: CodebookFile) -> None:
    for attribute in codebook.spec.attributes:
        if attribute not in ATTRIBUTE_BY_NAME:
            raise CodebookError(
                f"{codebook.place('attributes', attribute)}: unknown attribute {attribute!r}. Allowed: "
                f"{', '.join(ATTRIBUTE_BY_NAME)}. Rename it, or make it an item if it is a question."
            )
        allowed = ATTRIBUTE_BY_NAME[attribute].levels
        for level in (level for mapping in codebook.spec.mappings(attribute) for level in mapping.levels()):
            if level not in allowed:
                raise CodebookError(
                    f"{_place_of_level(codebook, attribute, level)}: attribute {attribute} has no level {level!r}. "
                    f"Allowed: {', '.join(allowed)}. Correct the level."
                )


def _place_of_level(codebook: CodebookFile, attribute: str, level: str) -> str:
    for index, mapping in enumerate(codebook.spec.mappings(attribute)):
        inner = (index,) if isinstance(codebook.spec.attributes[attribute], tuple) else ()
        for code, found in (mapping.recode or {}).items():
            if found == level:
                return codebook.place("attributes", attribute, *inner, "recode", str(code))
        if level in (mapping.bands or {}):
            return codebook.place("attributes", attribute, *inner, "bands", level)
    return codebook.place("attributes", attribute)
