"""How social ties are formed: sizes, preferences and closure per tie type, with their sources.

Numbers marked "ours" are choices that no single publication fixes; `graph_statistics` prints what they lead to beside
published figures.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from validation.attributes import ATTRIBUTE_BY_NAME, SOCIAL_TIE_TYPES


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
    num_candidates: alters that an agent weighs up at each choice. Preference for the alike is bounded by it.
    """

    rules: Mapping[str, TieRule]
    household_strength_range: tuple[float, float] = (0.8, 1.0)
    sociability_shape: float = 1.3
    num_candidates: int = 12

    def __post_init__(self) -> None:
        allowed = [name for name in SOCIAL_TIE_TYPES if name != "household"]
        unknown = [name for name in self.rules if name not in allowed]
        if unknown or not self.rules:
            raise ValueError(
                f"Rules for {', '.join(unknown) or 'no tie type'}; give one or more of {', '.join(allowed)}."
            )
        if self.sociability_shape <= 0.0 or self.num_candidates < 1:
            raise ValueError(
                f"sociability_shape is {self.sociability_shape} and num_candidates {self.num_candidates}; "
                "allowed: above zero, and one or more."
            )


FRIEND = TieRule(
    mean_degree=4.7,
    log_odds={
        "race_ethnicity": 3.0,
        "party": 1.5,
        "education": 0.8,
        "religion_importance": 0.6,
        "sex": 0.6,
        "age_group": 0.5,
        "income_group": 0.3,
    },
    log_odds_per_decade=0.65,
    circle_size=45,
    circle_share=0.7,
    nation_share=0.2,
    closure_share=0.6,
    strength_range=(0.4, 0.8),
)
"""Friends. Mean degree and circle size: the support clique of up to five and the band of 30 to 50 people of Zhou,
Sornette, Hill & Dunbar (2005), Discrete hierarchical organization of social group sizes. That race and ethnicity divide
most, then age and religion, then education, then sex follows McPherson, Smith-Lovin & Cook (2001), Birds of a feather.
The log odds of race and party were set so that shares of same-race and same-party friends come near those that PRRI
reports for 2013 and 2022 (see `references.py`). The other sizes, circle share and closure share: ours."""

PROFESSIONAL = TieRule(
    mean_degree=3.8,
    log_odds={"education": 0.8, "income_group": 0.4, "race_ethnicity": 0.8, "sex": 0.4},
    log_odds_per_decade=0.25,
    circle_size=12,
    circle_share=0.75,
    nation_share=0.15,
    closure_share=0.4,
    strength_range=(0.2, 0.6),
    circle_attributes=("education", "income_group"),
    activity_by_age_group={"60-69": 0.6, "70+": 0.2},
)
"""Colleagues. Work ties are less homophilous than friendship except in education and occupation, for which income
stands (McPherson et al. 2001). Activity of the old: labour force participation falls from about 0.8 before 55 to about
0.2 from 65 (Bureau of Labor Statistics 2016, approximate). Circles of twelve stand for work teams. Sizes: ours."""

WEAK = TieRule(
    mean_degree=3.7,
    log_odds={"race_ethnicity": 0.6, "party": 0.2, "education": 0.2},
    log_odds_per_decade=0.15,
    circle_size=1_500,
    circle_share=0.5,
    nation_share=0.3,
    closure_share=0.4,
    strength_range=(0.05, 0.3),
)
"""Acquaintances: nearly random over the nation or a district, so that they bridge circles (Granovetter 1973, The
strength of weak ties), or acquaintances of those one knows. Sizes: ours."""

DEFAULT_TIE_CONFIG = TieConfig(rules={"friend": FRIEND, "professional": PROFESSIONAL, "weak": WEAK})
"""With about 1.2 household ties, 13.4 ties per agent: the mean number of contacts of a day in POLYMOD (Mossong et al.
2008). Shape of sociability and preference for one's age were set so that the spread of degrees (median 10, 95th
percentile 35) and the age correlation of contacts in that survey are near. What was set so is no evidence."""
