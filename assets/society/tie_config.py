"""How social ties are formed: sizes, preferences and closure per tie type, with their sources.

The numbers are in `tie_rules.yaml`, set to the targets of `graph_targets.yaml` by `populace society fit`; where they
come from is told in `docs/concepts/society.md`.

    TieConfigError   the file of rules cannot be used
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from validation.attributes import ATTRIBUTE_BY_NAME, SOCIAL_TIE_TYPES

RULES_FILE = Path(__file__).with_name("tie_rules.yaml")


class TieConfigError(ValueError):
    """The file of rules cannot be used; the message names the file, what was found and what is allowed."""


@dataclass(frozen=True)
class TieRule:
    """How ties of one type come about.

    mean_degree: ties per agent.
    log_odds: per attribute, log odds of choosing an alter of the same level over one of another, all else equal.
    log_odds_per_decade: loss of log odds per ten years of age difference.
    circle_size: agents per circle; circles are cut from the agents of an area.
    circle_attributes: ordinal attributes by which agents of a district are ordered, with noise, before circles are cut;
        none for neighbourhoods, in which households stay together.
    circle_share: share of choices made within the circle.
    nation_share: share of choices made in another area; what is left looks anywhere in the own area.
    closure_share: share of ties made with a tie of a tie.
    strength_range: strength of ties between agents with nothing and with everything in common.
    activity_by_age_group: relative number of ties by age group; 1 where not listed.
    district_size: agents per district, where circles go by attributes.
    """

    mean_degree: float
    log_odds: Mapping[str, float]
    log_odds_per_decade: float
    circle_size: int
    circle_share: float
    nation_share: float
    closure_share: float
    strength_range: tuple[float, float]
    circle_attributes: tuple[str, ...] = ()
    activity_by_age_group: Mapping[str, float] = field(default_factory=dict)
    district_size: int = 10_000

    def __post_init__(self) -> None:
        unknown = [name for name in (*self.log_odds, *self.circle_attributes) if name not in ATTRIBUTE_BY_NAME]
        if unknown:
            raise ValueError(f"Unknown attributes {', '.join(unknown)}. Attributes: {', '.join(ATTRIBUTE_BY_NAME)}")
        for name in ("circle_share", "nation_share", "closure_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed: a fraction from 0 to 1.")
        if self.circle_share + self.nation_share > 1.0:
            raise ValueError(
                f"circle_share {self.circle_share} and nation_share {self.nation_share} are shares of one whole; "
                "allowed: a sum of at most 1."
            )
        if self.mean_degree < 0.0 or self.circle_size < 2:
            raise ValueError(
                f"mean_degree is {self.mean_degree} and circle_size {self.circle_size}; allowed: zero or more, and two "
                "or more."
            )
        low, high = self.strength_range
        if not 0.0 < low <= high <= 1.0:
            raise ValueError(f"strength_range is {self.strength_range}; allowed: 0 < lowest ≤ highest ≤ 1.")


@dataclass(frozen=True)
class TieConfig:
    """How all social ties are formed.

    rules: a rule per tie type besides household, in the order in which they are formed; a pair of agents has one tie
        only, of the first type that joins them.
    household_strength_range: strength between members of a household with nothing and with everything in common, as
        the first rule weighs it.
    sociability_shape: shape of the gamma distribution of sociability, which is an agent's relative number of ties, of
        mean one and shared by all types; smaller means more unequal.
    sociability_floor: sociability that everybody has; the gamma distribution makes up the rest of the mean.
    neighbourhood_spread: standard deviation of the logarithm of a factor that a neighbourhood's agents share; it makes
        sociable people tied with sociable ones.
    neighbourhood_size: agents of a neighbourhood.
    num_candidates: alters that an agent weighs up at each choice. Preference for the alike is bounded by it.
    """

    rules: Mapping[str, TieRule]
    household_strength_range: tuple[float, float] = (0.8, 1.0)
    sociability_shape: float = 1.3
    sociability_floor: float = 0.3
    neighbourhood_spread: float = 0.3
    neighbourhood_size: int = 60
    num_candidates: int = 12

    def __post_init__(self) -> None:
        allowed = [name for name in SOCIAL_TIE_TYPES if name != "household"]
        unknown = [name for name in self.rules if name not in allowed]
        if unknown or not self.rules:
            raise ValueError(
                f"Rules for {', '.join(unknown) or 'no tie type'}; give one or more of {', '.join(allowed)}."
            )
        if self.sociability_shape <= 0.0 or not 0.0 <= self.sociability_floor < 1.0 or self.num_candidates < 1:
            raise ValueError(
                f"sociability_shape is {self.sociability_shape}, sociability_floor {self.sociability_floor} and "
                f"num_candidates {self.num_candidates}; allowed: above zero, from 0 to below 1, and one or more."
            )


@cache
def load_tie_config(path: Path = RULES_FILE) -> TieConfig:
    """The rules of a file.

    Raises:
        TieConfigError: the file holds other fields, or a value that is not allowed.
    """
    try:
        kept: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        rules: dict[str, TieRule] = {}
        for name, rule in kept.pop("rules").items():
            plain: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value for key, value in rule.items()
            }
            rules[name] = TieRule(**plain)
        kept["household_strength_range"] = tuple(kept["household_strength_range"])
        return TieConfig(rules=rules, **kept)
    except (TypeError, ValueError, KeyError, AttributeError, yaml.YAMLError) as error:
        raise TieConfigError(
            f"{path} holds no rules of tie formation: {error}. It has rules (one per tie type), "
            f"{', '.join(field.name for field in fields(TieConfig) if field.name != 'rules')}; make it anew with "
            "populace society fit --out FILE."
        ) from error


def write_tie_config(config: TieConfig, path: Path) -> None:
    """Keeps the rules in a file, whole or not at all."""
    plain = json.loads(json.dumps(asdict(config)))
    text = yaml.safe_dump(plain, sort_keys=False, width=118, default_flow_style=None)
    partial = path.with_suffix(".partial")
    partial.write_text(
        "# Rules of tie formation; set by `populace society fit`, explained in docs/concepts/society.md.\n" + text
    )
    partial.replace(path)
