"""Contracts of the population room: respondents, margins, calibrated weights, agents."""

import polars as pl

from validation.attributes import ATTRIBUTES
from validation.contracts.table import (
    FRACTION,
    NOT_NEGATIVE,
    POSITIVE,
    TableContract,
    between,
    column,
    dense_ids,
    list_within,
    one_of,
    ordered,
)

ATTRIBUTE_COLUMNS_OF_RESPONDENTS = {
    attribute.name: column(pl.String, attribute.description, one_of(attribute.levels), nullable=True)
    for attribute in ATTRIBUTES
}
ATTRIBUTE_COLUMNS_OF_AGENTS = {
    attribute.name: column(pl.String, attribute.description, one_of(attribute.levels)) for attribute in ATTRIBUTES
}

SURVEY_RESPONDENTS = TableContract(
    name="survey_respondents",
    group="population",
    row="respondent",
    columns={
        "respondent_id": column(pl.String, "survey, wave and row number of the respondent"),
        "survey": column(pl.String, "catalogue name of the survey"),
        "person_id": column(
            pl.String, "person, the same in every wave; null where a survey has one", nullable=True, required=False
        ),
        "wave": column(pl.Int32, "calendar year of the interview", between(1900, 2100)),
        "design_weight": column(pl.Float64, "weight that the survey's design gives; 1 where it gives none", POSITIVE),
        "age": column(pl.Int32, "age in years", between(18, 110), nullable=True),
        **ATTRIBUTE_COLUMNS_OF_RESPONDENTS,
    },
    key=("respondent_id",),
    allows_other_columns="^item_[a-z0-9_]+$",
)

POPULATION_MARGINS = TableContract(
    name="population_margins",
    group="population",
    row="margin level",
    columns={
        "geography": column(pl.String, "area that the margin describes: US for the nation, US-NY for a state"),
        "margin": column(pl.String, "attribute, or attributes joined by *"),
        "level": column(pl.String, "level, or levels joined by * in the margin's order; merged ones by |"),
        "share": column(pl.Float64, "fraction of the geography's adults in the level", FRACTION),
        "count": column(pl.Float64, "adults in the level", NOT_NEGATIVE),
        "source": column(pl.String, "publication the total is taken from"),
        "year": column(pl.Int32, "calendar year the total describes", between(1900, 2100)),
    },
    key=("geography", "margin", "level"),
)

CALIBRATED_RESPONDENTS = TableContract(
    name="calibrated_respondents",
    group="population",
    row="respondent of the seed survey",
    columns={
        "respondent_id": column(pl.String, "respondent, as in survey_respondents"),
        "design_weight": column(pl.Float64, "weight before calibration", POSITIVE),
        "calibrated_weight": column(pl.Float64, "weight after raking, in adults represented", POSITIVE),
    },
    key=("respondent_id",),
)

AGENTS = TableContract(
    name="agents",
    group="population",
    row="agent",
    columns={
        "agent_id": column(pl.Int64, "agent, dense 0…N−1", NOT_NEGATIVE),
        "household_id": column(pl.Int64, "household, dense 0…H−1", NOT_NEGATIVE),
        "respondent_id": column(pl.String, "donor respondent, as in survey_respondents"),
        "geography": column(pl.String, "country and state, for example US-NY"),
        "age": column(pl.Int32, "age in years", between(18, 110)),
        **ATTRIBUTE_COLUMNS_OF_AGENTS,
        "imputed_attributes": column(
            pl.List(pl.String), "attributes filled because the donor left them open, or changed by noise"
        ),
    },
    key=("agent_id",),
    rules=(dense_ids("agent_id"),),
)

HOUSEHOLDS = TableContract(
    name="households",
    group="population",
    row="household",
    columns={
        "household_id": column(pl.Int64, "household, dense 0…H−1, as in agents", NOT_NEGATIVE),
        "geography": column(pl.String, "country and state, for example US-NY"),
        "county_fips": column(pl.Int32, "county, FIPS code; null without county votes", nullable=True),
        "kind": column(
            pl.String,
            "couple: a couple heads it; one_adult: nobody else is grown up; adults: several, no couple heads it",
            one_of(("couple", "one_adult", "adults")),
        ),
        "num_adults": column(pl.Int32, "adults, each of them an agent", between(1, 4)),
        "num_children": column(pl.Int32, "members under 18, who are no agents; 4 stands for more", between(0, 4)),
        "num_elders": column(pl.Int32, "adults aged 65 or more", between(0, 4)),
        "child_ages": column(pl.List(pl.Int32), "age in years of each child", list_within("child_ages", 0, 17)),
    },
    key=("household_id",),
    rules=(dense_ids("household_id"),),
)

CALIBRATION_DIAGNOSTICS = TableContract(
    name="calibration_diagnostics",
    group="population",
    row="metric × slice",
    columns={
        "metric": column(pl.String, "what is measured"),
        "slice": column(pl.String, "all, a margin level, a quantile, or an attribute level"),
        "value": column(pl.Float64, "value; errors are relative to the level's total"),
        "lower": column(pl.Float64, "lower end of the 95 % interval", nullable=True),
        "upper": column(pl.Float64, "upper end of the 95 % interval", nullable=True),
        "note": column(pl.String, "what to know about the value", nullable=True),
    },
    key=("metric", "slice"),
    rules=(ordered("lower", "value", "upper"),),
)

DISCLOSURE = TableContract(
    name="disclosure",
    group="population",
    row="metric × slice",
    columns={
        "metric": column(pl.String, "what is measured"),
        "slice": column(pl.String, "quasi-identifiers joined by *, or a quantile of distances"),
        "value": column(pl.Float64, "share, number or distance", NOT_NEGATIVE),
        "note": column(pl.String, "what to know about the value", nullable=True),
    },
    key=("metric", "slice"),
)

JOINT_STRUCTURE = TableContract(
    name="joint_structure",
    group="population",
    row="pair of attributes",
    columns={
        "first": column(pl.String, "attribute"),
        "second": column(pl.String, "attribute"),
        "cramers_v_survey": column(pl.Float64, "Cramér's V of the calibrated respondents", FRACTION),
        "cramers_v_agents": column(pl.Float64, "Cramér's V of the agents", FRACTION),
        "lower": column(pl.Float64, "lower end of what sampling the survey and agents explains, 95 %", FRACTION),
        "upper": column(pl.Float64, "upper end of what sampling the survey and agents explains, 95 %", FRACTION),
        "sampling_error": column(pl.Float64, "standard error of the survey's V", NOT_NEGATIVE),
        "is_within_sampling_error": column(pl.Boolean, "whether the agents' V lies between lower and upper"),
        "is_raked": column(pl.Boolean, "whether a margin crosses the two attributes"),
        "imputed_share": column(pl.Float64, "largest share of agents in whom one of the two was filled", FRACTION),
        "num_respondents": column(pl.Int64, "respondents who answered both", NOT_NEGATIVE),
    },
    key=("first", "second"),
)

IMPUTATION_QUALITY = TableContract(
    name="imputation_quality",
    group="population",
    row="imputed attribute",
    columns={
        "attribute": column(pl.String, "attribute that some agents have by imputation"),
        "survey": column(pl.String, "survey whose respondents were the donors"),
        "model": column(pl.String, "how a donor was chosen"),
        "imputed_share": column(pl.Float64, "share of agents in whom it was filled", FRACTION),
        "brier_skill": column(pl.Float64, "1 − Brier score ÷ that of the shares alone, on held-out respondents"),
        "lower": column(pl.Float64, "lower end of the 95 % interval"),
        "upper": column(pl.Float64, "upper end of the 95 % interval"),
        "tvd_imputed": column(pl.Float64, "distance of the imputed shares from those expected of the donors", FRACTION),
        "num_held_out": column(pl.Int64, "held-out respondents", NOT_NEGATIVE),
    },
    key=("attribute",),
    may_be_empty=True,
)

CONTRACTS = (
    SURVEY_RESPONDENTS,
    POPULATION_MARGINS,
    CALIBRATED_RESPONDENTS,
    CALIBRATION_DIAGNOSTICS,
    AGENTS,
    HOUSEHOLDS,
    IMPUTATION_QUALITY,
    JOINT_STRUCTURE,
    DISCLOSURE,
)
