"""What is wrong with scenario files, told so that the author can mend it.

    ValueError
    └── ScenarioError   scenario files that cannot be used; `problems` lists all that was found, each with its place

Inside the schema, rules that pydantic has no word for are pydantic errors of the type `scenario_rule`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic_core import InitErrorDetails, PydanticCustomError

SCENARIO_RULE = "scenario_rule"
REFERENCE = "docs/reference/scenario-file.md"


@dataclass(frozen=True)
class Problem:
    """One thing to mend: where it is, what was found, what is allowed and what to do.

    `line` counts from 1 and is None where the file has no lines to speak of; `field` is empty for the file as a whole.
    """

    file: Path
    line: int | None
    field: str
    found: str
    allowed: str
    next_step: str

    def __str__(self) -> str:
        place = ", ".join(
            part for part in (str(self.file), f"line {self.line}" if self.line else "", self.field) if part
        )
        return f"{place}: found {self.found}; allowed: {_sentence(self.allowed)} {_sentence(self.next_step)}"


class ScenarioError(ValueError):
    """Scenario files cannot be used; the message lists every problem found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        heading = "1 problem in a scenario file:" if count == 1 else f"{count} problems in scenario files:"
        super().__init__("\n".join([heading, *(f"  {problem}" for problem in self.problems)]))


def broken_rule(allowed: str, next_step: str) -> PydanticCustomError:
    """The error that a validator of one field raises; pydantic adds the place and the value found."""
    return PydanticCustomError(SCENARIO_RULE, "{allowed}", {"allowed": allowed, "next_step": next_step})


def broken_rule_at(loc: tuple[str | int, ...], found: object, allowed: str, next_step: str) -> InitErrorDetails:
    """The same for a rule between fields, which has to say itself where the offending field is."""
    return InitErrorDetails(type=broken_rule(allowed, next_step), loc=loc, input=found)


def shortened(value: object, longest: int = 120) -> str:
    """A value as messages show it: its representation, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
