"""The kinds of value that fields of a scenario file hold, each with the check that explains itself."""

import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator

from assets.traces.scenario_errors import broken_rule
from validation.events import EVENT_CHANNELS, SOURCE_TYPES
from validation.predicates import PredicateError, compile_predicate

LONGEST_ID = 64
LONGEST_OPTION = 80
LONGEST_TEXT = 4_000
MOST_TIMESTEPS = 1_000


def _check_id(value: str) -> str:
    if len(value) > LONGEST_ID or not re.fullmatch(r"[a-z0-9]+([_-][a-z0-9]+)*", value):
        raise broken_rule(
            f"up to {LONGEST_ID} letters a-z and digits, words joined by - or _, for example {_suggest_id(value)}",
            "Ids become file names, partition keys and column values; give it such an id.",
        )
    return value


def _suggest_id(value: str) -> str:
    kept = "".join(letter if letter.isascii() and letter.isalnum() else " " for letter in value.lower())
    return "-".join(kept.split())[:LONGEST_ID].strip("-") or "tax-credit"


def _check_text(value: str) -> str:
    text = " ".join(value.split())
    if not text or len(text) > LONGEST_TEXT or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
        raise broken_rule(
            f"a text of 1 to {LONGEST_TEXT} characters without control characters",
            "Write what people would read or hear, in a few sentences.",
        )
    return text


def _check_option(value: str) -> str:
    option = _check_text(value)
    if len(option) > LONGEST_OPTION:
        raise broken_rule(f"a label of up to {LONGEST_OPTION} characters", "Shorten the option.")
    return option


def _check_fraction(value: float) -> float:
    return _check_range(value, 0, 1)


def _check_signed_unit(value: float) -> float:
    return _check_range(value, -1, 1)


def _check_timestep(value: int) -> int:
    return int(_check_range(value, 1, MOST_TIMESTEPS))


def _check_range(value: float, low: int, high: int) -> float:
    if not low <= value <= high:
        raise broken_rule(f"a number from {low} to {high}", "Correct the number.")
    return value


def _check_predicate(value: str) -> str:
    predicate = _check_text(value)
    try:
        compile_predicate(predicate)
    except RecursionError as error:
        raise broken_rule("a condition without hundreds of nested parentheses", "Simplify the condition.") from error
    except PredicateError as error:
        raise broken_rule(f"a condition over agents, but {error}", "Correct the condition.") from error
    return predicate


def _check_source_type(value: str) -> str:
    if value not in SOURCE_TYPES:
        raise broken_rule(", ".join(SOURCE_TYPES), "Choose the kind of speaker that is nearest.")
    return value


def _check_channel(value: str) -> str:
    if value not in EVENT_CHANNELS:
        raise broken_rule(
            ", ".join(EVENT_CHANNELS),
            "Use broadcast to reach people directly, or a kind of media to reach its followers.",
        )
    return value


Id = Annotated[str, AfterValidator(_check_id)]
"""Name of a scenario, question, event or trigger: safe as a file name, as a partition key and in a path."""
Text = Annotated[str, AfterValidator(_check_text)]
"""A wording; runs of white space count as one space, so that the layout of a file changes nothing."""
Option = Annotated[str, AfterValidator(_check_option)]
Predicate = Annotated[str, AfterValidator(_check_predicate)]
SourceType = Annotated[str, AfterValidator(_check_source_type)]
Channel = Annotated[str, AfterValidator(_check_channel)]
Fraction = Annotated[float, AfterValidator(_check_fraction)]
SignedUnit = Annotated[float, AfterValidator(_check_signed_unit)]
Timestep = Annotated[int, AfterValidator(_check_timestep)]
