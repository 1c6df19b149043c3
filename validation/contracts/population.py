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
    one_of,
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
        "geography": column(pl.String, "area that the margin describes, US for the nation"),
        "margin": column(pl.String, "attribute, or attributes joined by *"),
        "level": column(pl.String, "level, or levels joined by * in the margin's order"),
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
        "imputed_attributes": column(pl.List(pl.String), "attributes the donor left open, filled by hot deck"),
    },
    key=("agent_id",),
    rules=(dense_ids("agent_id"),),
)

CONTRACTS = (SURVEY_RESPONDENTS, POPULATION_MARGINS, CALIBRATED_RESPONDENTS, AGENTS)
