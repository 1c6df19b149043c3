"""YAML as scenario files may use it: plain data only, each value with the line on which it stands.

Tags that build objects, anchors, aliases, merge keys and repeated keys are refused: a scenario reads the same to a
person as to the parser, and no file can grow while it is read.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from assets.traces.scenario_errors import Problem, ScenarioError, shortened

Loc = tuple[str | int, ...]

_MAPPING_TAG = "tag:yaml.org,2002:map"
_SEQUENCE_TAG = "tag:yaml.org,2002:seq"


@dataclass(frozen=True)
class Document:
    """Data of one file and the line, from 1, of every value by its path."""

    file: Path
    data: Any
    line_of: dict[Loc, int]

    def locate(self, loc: Loc) -> tuple[str, int]:
        """The field as its author would write it, and its line or that of the nearest field around it.

        Positions that the schema adds where the file has a single value (`question`) are left out.
        """
        written: list[str | int] = []
        for part in loc:
            is_added = part == 0 and (*written, 0) not in self.line_of and tuple(written) in self.line_of
            if not is_added:
                written.append(part)
        field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in written).removeprefix(".")
        while tuple(written) not in self.line_of:
            written.pop()
        return field, self.line_of[tuple(written)]


class _PlainLoader(yaml.SafeLoader):
    """The safe loader without aliases."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem="an alias (*name), which scenario files may not use", problem_mark=self.peek_event().start_mark
            )
        return super().compose_node(parent, index)


def parse_document(text: str, file: Path) -> Document:
    """Reads the text of one file.

    Args:
        text: the whole file.
        file: its path, for messages.

    Raises:
        ScenarioError: the text is no YAML, holds several documents or none, or uses more than plain data.
    """
    try:
        loader = _PlainLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                raise ScenarioError([_not_yaml(file, None, "an empty file")])
            return _Reading(file, loader).document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = " ".join(part for part in (error.context, error.problem) if part)
        raise ScenarioError([_not_yaml(file, mark.line + 1 if mark else None, f"no plain YAML: {reason}")]) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        found = f"the character {error.character!r}, which YAML does not allow"
        raise ScenarioError([_not_yaml(file, line, found)]) from error
    except yaml.YAMLError as error:
        raise ScenarioError([_not_yaml(file, None, f"no plain YAML: {' '.join(str(error).split())}")]) from error
    except RecursionError as error:
        raise ScenarioError([_not_yaml(file, None, "lists or mappings nested hundreds of levels deep")]) from error


class _Reading:
    """One walk over the nodes of a document: data, lines, and the problems met on the way."""

    def __init__(self, file: Path, loader: _PlainLoader) -> None:
        self._file = file
        self._loader = loader
        self._line_of: dict[Loc, int] = {}
        self._problems: list[Problem] = []

    def document(self, node: yaml.Node) -> Document:
        data = self._value(node, ())
        if self._problems:
            raise ScenarioError(self._problems)
        return Document(self._file, data, self._line_of)

    def _value(self, node: yaml.Node, loc: Loc) -> Any:
        self._line_of.setdefault(loc, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode) and node.tag == _MAPPING_TAG:
            return self._mapping(node, loc)
        if isinstance(node, yaml.SequenceNode) and node.tag == _SEQUENCE_TAG:
            return [self._value(item, (*loc, position)) for position, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            try:
                return self._loader.construct_object(node)
            except yaml.YAMLError:
                pass
            except ValueError:
                self._refuse(node, loc, shortened(node.value), "a value that YAML can read; quote it if it is a text")
                return None
        self._refuse(node, loc, f"the tag {node.tag!r}", "plain mappings, lists and values, without tags")
        return None

    def _mapping(self, node: yaml.MappingNode, loc: Loc) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode) or key == "<<":
                self._refuse(key_node, loc, "a key that is no plain name", "names of fields as keys")
                continue
            line = key_node.start_mark.line + 1
            if key in data:
                first = self._line_of[(*loc, key)]
                self._refuse(key_node, (*loc, key), f"the key {key!r} again, after line {first}", "each key once")
                continue
            self._line_of[(*loc, key)] = line
            data[key] = self._value(value_node, (*loc, key))
        return data

    def _refuse(self, node: yaml.Node, loc: Loc, found: str, allowed: str) -> None:
        field, _ = Document(self._file, None, {**self._line_of, (): 1}).locate(loc)
        self._problems.append(
            Problem(self._file, node.start_mark.line + 1, field, found, allowed, "Rewrite that line of the file.")
        )


def _not_yaml(file: Path, line: int | None, found: str) -> Problem:
    return Problem(
        file,
        line,
        "",
        found,
        "one YAML document of plain mappings, lists and values, indented with spaces",
        "Mend the line or the one before it; a text with a colon or a # needs quotes.",
    )
