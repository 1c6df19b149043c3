"""From pydantic's errors to problems with a place in the file, the values allowed and a next step."""

import difflib
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from assets.traces.scenario_errors import REFERENCE, SCENARIO_RULE, Problem, shortened
from assets.traces.scenario_schema import Scenario
from assets.traces.scenario_yaml import Document


def problems_of(error: ValidationError, document: Document) -> list[Problem]:
    """Every error of a validation, in the order of the file's lines.

    Args:
        error: what validating the document's data as a Scenario raised.
        document: the file's data and lines.
    """
    errors = error.errors(include_url=False)
    problems = [_problem(details, document) for details in errors if not _is_consequence(details, errors)]
    return sorted(problems, key=lambda problem: problem.line or 0)


def _is_consequence(details: ErrorDetails, errors: list[ErrorDetails]) -> bool:
    """Whether a list is called too short only because entries of it are wrong themselves."""
    loc = details["loc"]
    return details["type"] == "too_short" and any(
        len(other["loc"]) > len(loc) and other["loc"][: len(loc)] == loc for other in errors
    )


def _problem(details: ErrorDetails, document: Document) -> Problem:
    loc = details["loc"]
    field, line = document.locate(loc)
    found, allowed, next_step = _explanation(details)
    return Problem(document.file, line, field, found, allowed, next_step)


def _explanation(details: ErrorDetails) -> tuple[str, str, str]:
    """What was found, what is allowed and the next step."""
    kind, loc, found = details["type"], details["loc"], shortened(details["input"])
    context: dict[str, Any] = details.get("ctx", {})
    if kind == SCENARIO_RULE:
        return found, context["allowed"], context["next_step"]
    if kind == "extra_forbidden":
        name, fields = str(loc[-1]), _fields_at(loc[:-1])
        near = difflib.get_close_matches(name, fields, n=1)
        step = f"Did you mean {near[0]}?" if near else f"Remove it; {REFERENCE} describes each field."
        if name == "at" and loc[:1] == ("triggers",):
            step = "Remove it: a trigger's event starts in the timestep after its condition has held."
        return f"the unknown field {name!r}", ", ".join(fields), step
    if kind == "missing":
        name, fields = str(loc[-1]), ", ".join(_fields_at(loc[:-1]))
        return "no such field", f"a value for {name}, which is required here", f"Add it. Fields here: {fields}."
    if kind in ("model_type", "model_attributes_type"):
        return found, f"a mapping with the fields {', '.join(_fields_at(loc))}", "Write the fields below it, indented."
    if kind in ("too_short", "too_long"):
        bound = f"at least {context['min_length']}" if kind == "too_short" else f"at most {context['max_length']}"
        return found, f"a list of {bound} entries", "Add or remove entries."
    allowed = details["msg"].removeprefix("Input should be ")
    if kind == "string_type" and not isinstance(details["input"], list | dict | None):
        step = "Put quotes around it: YAML reads yes, no, on, off, numbers and dates as values, not as text."
    else:
        step = f"Correct the value; {REFERENCE} describes it."
    return found, allowed, step


def _fields_at(loc: tuple[str | int, ...]) -> list[str]:
    """Names, as files write them, of the fields of the schema's part at a place."""
    part: type[BaseModel] = Scenario
    for name in (name for name in loc if isinstance(name, str)):
        annotation = next(field.annotation for key, field in part.model_fields.items() if (field.alias or key) == name)
        part = _part_in(annotation)
    return [field.alias or key for key, field in part.model_fields.items()]


def _part_in(annotation: Any) -> type[BaseModel]:
    """The schema part that an annotation such as tuple[Event, ...] is about."""
    if get_origin(annotation) in (tuple, Union, UnionType):
        annotation = next(inner for inner in get_args(annotation) if inner not in (Ellipsis, type(None)))
    return annotation
