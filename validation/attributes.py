"""The harmonised attributes of respondents and agents: one vocabulary for every survey, table and prompt.

A survey's codebook maps its own columns onto these names and levels; margins, tie formation, personas and segments all
refer to them. Levels are in their natural order. Survey items (questions) do not belong here; they are scenario data.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Attribute:
    """A categorical attribute with its ordered levels.

    `is_ordinal` says whether the order of levels carries meaning (used for distances and for encodings).
    """

    name: str
    levels: tuple[str, ...]
    description: str
    is_ordinal: bool = False


NORTHEAST = ("CT", "MA", "ME", "NH", "NJ", "NY", "PA", "RI", "VT")
MIDWEST = ("IA", "IL", "IN", "KS", "MI", "MN", "MO", "ND", "NE", "OH", "SD", "WI")
SOUTH = ("AL", "AR", "DC", "DE", "FL", "GA", "KY", "LA", "MD", "MS", "NC", "OK", "SC", "TN", "TX", "VA", "WV")
WEST = ("AK", "AZ", "CA", "CO", "HI", "ID", "MT", "NM", "NV", "OR", "UT", "WA", "WY")

REGION_OF_STATE: dict[str, str] = {
    **dict.fromkeys(NORTHEAST, "northeast"),
    **dict.fromkeys(MIDWEST, "midwest"),
    **dict.fromkeys(SOUTH, "south"),
    **dict.fromkeys(WEST, "west"),
}
"""Census Bureau region of each state and of the District of Columbia. Source: Census Bureau, Regions and Divisions."""

STATES_BY_REGION: tuple[str, ...] = tuple(
    state for region in (NORTHEAST, MIDWEST, SOUTH, WEST) for state in sorted(region)
)
"""All states in the order in which agents are numbered, so that people who live near each other have near ids."""

ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute("sex", ("male", "female"), "sex as recorded by the survey"),
    Attribute(
        "age_group", ("18-29", "30-39", "40-49", "50-59", "60-69", "70+"), "age in years, grouped", is_ordinal=True
    ),
    Attribute(
        "race_ethnicity", ("white", "black", "hispanic", "other"), "race and Hispanic origin, one answer per person"
    ),
    Attribute(
        "education",
        ("no_college_degree", "college_degree"),
        "whether a four-year college degree was completed",
        is_ordinal=True,
    ),
    Attribute("region", ("northeast", "midwest", "south", "west"), "Census Bureau region of residence"),
    Attribute("state", tuple(sorted(REGION_OF_STATE)), "state of residence, postal code, DC included"),
    Attribute(
        "party",
        ("democrat", "independent", "republican"),
        "party identification; leaners count with the party they lean to",
        is_ordinal=True,
    ),
    Attribute(
        "ideology",
        ("very_liberal", "liberal", "moderate", "conservative", "very_conservative"),
        "self-placed ideology",
        is_ordinal=True,
    ),
    Attribute(
        "income_group",
        ("under_30k", "30k_to_60k", "60k_to_100k", "over_100k"),
        "family income per year in US dollars, grouped",
        is_ordinal=True,
    ),
    Attribute(
        "religion_importance",
        ("not_at_all", "not_too", "somewhat", "very"),
        "how important religion is in one's life",
        is_ordinal=True,
    ),
    Attribute(
        "past_vote",
        ("trump", "other_candidate", "no_recorded_vote"),
        "vote for president in 2016; no_recorded_vote joins non-voters and unrecorded answers",
    ),
)

ATTRIBUTE_BY_NAME: dict[str, Attribute] = {attribute.name: attribute for attribute in ATTRIBUTES}

AGE_GROUP_BOUNDS: dict[str, tuple[int, int]] = {
    "18-29": (18, 29),
    "30-39": (30, 39),
    "40-49": (40, 49),
    "50-59": (50, 59),
    "60-69": (60, 69),
    "70+": (70, 110),
}
"""Lowest and highest age in years of each age group, inclusive; 110 bounds what a survey may record."""

TIE_TYPES: tuple[str, ...] = ("household", "friend", "professional", "weak", "media")
SOCIAL_TIE_TYPES: tuple[str, ...] = TIE_TYPES[:4]
"""Ties between agents. Media ties run from a media source to an agent and carry events, never expressions."""
