"""Words for numbers and codes in prompts: what a teacher reads, and what the embedded teacher reads out of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from validation.attributes import ATTRIBUTES

WORDINGS_PATH = Path(__file__).with_name("prompts") / "wordings.yaml"
DERIVED = ("age_group",)
"""Attributes that prompts leave out because another line says them exactly."""


@dataclass(frozen=True)
class AttributeWording:
    """The label of an attribute and the words of its levels."""

    label: str
    words_of: Mapping[str, str]

    def words(self, level: str) -> str:
        """A level in words."""
        return self.words_of.get(level, level)


@dataclass(frozen=True)
class Wordings:
    """The scale from words to the pushes that they stand for, and the wordings of attributes."""

    push: Mapping[str, float]
    attributes: Mapping[str, AttributeWording]
    attribute_of_label: Mapping[str, str]
    level_of_words: Mapping[tuple[str, str], str]


@cache
def load_wordings(path: Path = WORDINGS_PATH) -> Wordings:
    """The wordings file.

    Raises:
        ValueError: an attribute has no wording, or two levels or labels share theirs, so that they could not be told
            apart.
    """
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    attributes = {
        name: AttributeWording(entry["label"], entry["levels"]) for name, entry in content["attributes"].items()
    }
    labels = {wording.label: name for name, wording in attributes.items()}
    levels: dict[tuple[str, str], str] = {}
    for attribute in ATTRIBUTES:
        if attribute.name in DERIVED:
            continue
        if attribute.name not in attributes:
            raise ValueError(f"{path}: attribute {attribute.name!r} has no wording. Add its label and levels.")
        for level in attribute.levels:
            key = (attribute.name, attributes[attribute.name].words(level))
            if key in levels:
                raise ValueError(
                    f"{path}: levels {levels[key]!r} and {level!r} of {key[0]} share the words {key[1]!r}."
                )
            levels[key] = level
    if len(labels) < len(attributes):
        raise ValueError(f"{path}: two attributes share a label; found {', '.join(labels)}. Rename one.")
    return Wordings(content["push"], attributes, labels, levels)


def nearest(scale: Mapping[str, float], value: float) -> str:
    """The word whose number is nearest to a value; the smaller one where two are equally near."""
    return min(scale, key=lambda word: (abs(scale[word] - value), scale[word]))
