"""Codebooks of recorded answers: who answered which question for which respondent, and what every code means.

Only the description lives here; `importing.py` applies it. Every message names the codebook file and the line.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    model_validator,
)

from assets.sources.errors import CodebookError
from assets.sources.lined_yaml import LinedYaml, read_lined_yaml

CODEBOOKS_FOLDER = Path(__file__).with_name("codebooks")
USER_FOLDER = "recorded_answers"
"""Folder of the user's own codebooks inside the data folder."""

Code = StrictInt | StrictFloat | StrictStr
Name = Annotated[StrictStr, Field(pattern=r"^[a-z0-9_]+$")]
ScenarioId = Annotated[StrictStr, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AnswerColumns(_Strict):
    """Columns of the answer files; those with a default of None may be absent from the files."""

    persona: StrictStr
    model: StrictStr
    item: StrictStr
    answer: StrictStr
    draw: StrictStr | None = None
    raw_answer: StrictStr | None = None
    prompt_tokens: StrictStr | None = None
    completion_tokens: StrictStr | None = None


BATCH_COLUMNS = AnswerColumns(
    persona="persona",
    model="model",
    item="item",
    answer="answer",
    draw="draw",
    raw_answer="raw_answer",
    prompt_tokens="prompt_tokens",
    completion_tokens="completion_tokens",
)
"""Columns that files of the Batch API are read into; a codebook that names no columns means these."""


class BatchOutput(_Strict):
    """How files of the Batch API (.jsonl) are read.

    `custom_id` is a regular expression that fits every whole custom_id, with the groups persona and item, and draw
    where requests were drawn several times. `model` stands in for lines without an answer, which do not name theirs.
    """

    custom_id: StrictStr
    model: StrictStr

    @model_validator(mode="after")
    def _pattern_has_its_groups(self) -> "BatchOutput":
        try:
            groups = re.compile(self.custom_id).groupindex
        except re.error as error:
            raise ValueError(f"custom_id is no regular expression: {error}") from error
        missing = [name for name in ("persona", "item") if name not in groups]
        if missing:
            raise ValueError(f"custom_id lacks the groups {', '.join(missing)}; write them as (?P<name>...)")
        return self


class PersonaTexts(_Strict):
    """The table that holds the persona texts: a catalogue source or a file, its key and its text column."""

    source: StrictStr
    key: StrictStr
    text: StrictStr


class RespondentLink(_Strict):
    """How a persona number leads to a respondent: persona `first_row` was written from row 0 of the survey's file."""

    survey: Name
    first_row: StrictInt


class LeftOut(_Strict):
    """Rows that are no answers to a question, by the value of a column."""

    column: StrictStr
    value: StrictBool | StrictInt | StrictStr


class RecordedItem(_Strict):
    """One question: its wording, its scale and the label of each answer code, in the order of the options.

    `item` is the survey item (without its prefix) that holds the respondents' own answers, where they were asked.
    `not_offered` lists labels of that item which the teachers could not choose.
    """

    question_id: Name
    question: StrictStr
    scale: Literal["nominal", "ordinal"]
    options: dict[Code, Name]
    item: Name | None = None
    not_offered: tuple[Name, ...] = ()
    missing: tuple[Code, ...] = ()
    note: StrictStr = ""

    @model_validator(mode="after")
    def _options_are_a_choice(self) -> "RecordedItem":
        labels = list(self.options.values())
        if len(set(labels)) < 2 or len(set(labels)) < len(labels):
            raise ValueError(f"options need two or more different labels, found {labels}")
        if self.not_offered and self.item is None:
            raise ValueError("not_offered describes labels of a survey item; name it under item")
        return self


class RecordedCodebook(_Strict):
    """The description of recorded answers.

    `sources` are catalogue names, or files (.parquet, .csv, .jsonl) beside the codebook. `first_draw` is the number of
    the first draw in the column `draw`. `refusals` are texts (lower case) that mark a raw answer as a refusal.
    """

    answers: Name
    title: StrictStr
    note: StrictStr = ""
    scenario_id: ScenarioId
    sources: Annotated[tuple[StrictStr, ...], Field(min_length=1)]
    personas: PersonaTexts | None = None
    respondents: RespondentLink
    columns: AnswerColumns = BATCH_COLUMNS
    batch: BatchOutput | None = None
    first_draw: StrictInt = 0
    left_out: LeftOut | None = None
    refusals: tuple[StrictStr, ...] = ()
    missing: tuple[Code, ...] = ()
    items: Annotated[dict[StrictStr, RecordedItem], Field(min_length=1)]

    @model_validator(mode="after")
    def _questions_differ(self) -> "RecordedCodebook":
        names = [item.question_id for item in self.items.values()]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"question_id must differ between items, found twice: {', '.join(repeated)}")
        return self


@dataclass(frozen=True)
class RecordedCodebookFile:
    """A codebook with the file it came from and the line of every entry."""

    spec: RecordedCodebook
    document: LinedYaml

    def place(self, *keys: str | int) -> str:
        """File and line of an entry, or of the nearest entry above it."""
        return self.document.place(*keys)


def load_recorded_codebook(path: Path) -> RecordedCodebookFile:
    """Reads and checks a codebook of recorded answers.

    Raises:
        CodebookError: the file is no YAML, has unknown or missing entries, or is not named after its answers.
    """
    document = read_lined_yaml(path)
    try:
        spec = RecordedCodebook.model_validate(document.content)
    except ValidationError as error:
        raise CodebookError(document.explain(error, RecordedCodebook)) from error
    codebook = RecordedCodebookFile(spec, document)
    if spec.answers != path.stem:
        raise CodebookError(
            f"{codebook.place('answers')}: found answers {spec.answers!r} in a file named {path.name}; the two must "
            f"be the same. Rename the file to {spec.answers}.yaml or correct the entry."
        )
    return codebook


def find_recorded_codebooks(
    user_dir: Path | None, imported_dir: Path | None = None
) -> tuple[RecordedCodebookFile, ...]:
    """The shipped codebooks, imported ones, and those in `recorded_answers/` of the user's data folder.

    Of equal names the last in this order counts.

    Args:
        user_dir: the user's data folder.
        imported_dir: where `populace traces import` puts codebooks, each in a folder of its own.

    Raises:
        CodebookError: a codebook is wrong, or two describe the same scenario.
    """
    own = sorted((user_dir / USER_FOLDER).glob("*.yaml")) if user_dir else []
    imported = sorted(imported_dir.glob("*/*.yaml")) if imported_dir else []
    paths = {path.stem: path for path in (*sorted(CODEBOOKS_FOLDER.glob("*.yaml")), *imported, *own)}
    codebooks = tuple(load_recorded_codebook(path) for path in paths.values())
    first: dict[str, RecordedCodebookFile] = {}
    for codebook in codebooks:
        other = first.setdefault(codebook.spec.scenario_id, codebook)
        if other is not codebook:
            raise CodebookError(
                f"{codebook.place('scenario_id')}: scenario_id {codebook.spec.scenario_id!r} is also that of "
                f"{other.place('scenario_id')}. Each set of recorded answers needs its own; rename one."
            )
    return codebooks
