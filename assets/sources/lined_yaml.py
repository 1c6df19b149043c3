"""Codebook files as YAML in which every entry keeps its line, so that a message can name it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from assets.sources.errors import CodebookError

Place = tuple[str | int, ...]


@dataclass(frozen=True)
class LinedYaml:
    """The content of a codebook or of another described file, and the line of every entry."""

    path: Path
    content: dict[str, Any]
    lines: Mapping[Place, int]
    what: str = "codebook"

    def place(self, *keys: str | int) -> str:
        """File and line of an entry, or of the nearest entry above it.

        Keys that pydantic adds (names of union members) are passed over.
        """
        known: Place = ()
        for key in keys:
            for candidate in ((*known, key), (*known, str(key))):
                if candidate in self.lines:
                    known = candidate
                    break
        return f"{self.path}, line {self.lines[known]}"

    def explain(self, error: ValidationError, schema: type[BaseModel]) -> str:
        """One line per error of a validation, each with its place, and the entries that are allowed."""
        messages = []
        for entry in error.errors():
            keys = entry["loc"]
            found = f", found {entry['input']!r:.120}" if entry["type"] not in ("missing", "value_error") else ""
            messages.append(f"{self.place(*keys)}: {'.'.join(str(key) for key in keys)}: {entry['msg']}{found}.")
        return "\n".join(
            [
                *dict.fromkeys(messages),
                f"Entries allowed in a {self.what}: {', '.join(schema.model_fields)}. docs/data.md describes them.",
            ]
        )


def read_lined_yaml(path: Path, what: str = "codebook") -> LinedYaml:
    """Reads a codebook, or another file of entries.

    Args:
        path: the file.
        what: what the file is, for messages.

    Raises:
        CodebookError: the file is no YAML, gives an entry twice, or is no mapping of entries.
    """
    text = path.read_text(encoding="utf-8")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise CodebookError(
            f"{path}, line {line}: the {what} is not valid YAML ({getattr(error, 'problem', error)}). "
            "Check indentation, colons and quotes there."
        ) from error
    lines: dict[Place, int] = {(): 1}
    if root is not None:
        _collect_lines(root, (), lines, path)
    if not isinstance(content, dict):
        raise CodebookError(f"{path}, line 1: a {what} is a mapping of entries, found {type(content).__name__}.")
    return LinedYaml(path, content, lines, what)


def _collect_lines(node: yaml.Node, prefix: Place, lines: dict[Place, int], path: Path) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            place = (*prefix, key.value)
            if place in lines:
                raise CodebookError(
                    f"{path}, line {key.start_mark.line + 1}: entry {key.value!r} is given twice, first on line "
                    f"{lines[place]}. Remove one of them."
                )
            lines[place] = key.start_mark.line + 1
            _collect_lines(value, place, lines, path)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*prefix, index)] = value.start_mark.line + 1
            _collect_lines(value, (*prefix, index), lines, path)
