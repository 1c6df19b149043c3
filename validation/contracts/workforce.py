"""Contracts of the workforce room: exposure of occupations, of skills, and the indices of places."""

import polars as pl

from validation.attributes import REGION_OF_STATE
from validation.contracts.table import FRACTION, NOT_NEGATIVE, TableContract, column, one_of, ordered

OCCUPATION_EXPOSURE = TableContract(
    name="occupation_exposure",
    group="workforce",
    row="occupation",
    columns={
        "soc_code": column(pl.String, "occupation, Standard Occupational Classification 2018"),
        "title": column(pl.String, "name of the occupation"),
        "employment": column(pl.Float64, "jobs in the nation", NOT_NEGATIVE),
        "mean_wage_usd": column(pl.Float64, "mean wage per year", NOT_NEGATIVE),
        "wage_value_usd": column(pl.Float64, "employment times mean wage, per year", NOT_NEGATIVE),
        "automatable_share": column(pl.Float64, "share of the wage that pays for skills AI can perform", FRACTION),
        "lower": column(pl.Float64, "lower end of the 95 % interval over bootstrap samples of occupations", FRACTION),
        "upper": column(pl.Float64, "upper end of that interval", FRACTION),
        "automatable_value_usd": column(pl.Float64, "wage value times automatable share, per year", NOT_NEGATIVE),
        "felten_exposure": column(
            pl.Float64, "AI Occupational Exposure (Felten, Raj & Seamans 2021), for comparison", nullable=True
        ),
        "skill_match": column(
            pl.String, "exact: the code has skill ratings; broad: those of its broad group", one_of(("exact", "broad"))
        ),
    },
    key=("soc_code",),
    rules=(ordered("lower", "automatable_share", "upper"),),
    may_be_empty=True,
)

SKILL_EXPOSURE = TableContract(
    name="skill_exposure",
    group="workforce",
    row="skill",
    columns={
        "skill": column(pl.String, "O*NET skill"),
        "wage_share": column(pl.Float64, "share of the nation's wage value that pays for the skill", FRACTION),
        "automatable_share": column(pl.Float64, "share of the skill that AI can perform, estimated", FRACTION),
        "lower": column(pl.Float64, "lower end of the 95 % interval over bootstrap samples of occupations", FRACTION),
        "upper": column(pl.Float64, "upper end of that interval", FRACTION),
    },
    key=("skill",),
    rules=(ordered("lower", "automatable_share", "upper"),),
    may_be_empty=True,
)

EXPOSURE_INDEX = TableContract(
    name="exposure_index",
    group="workforce",
    row="geography × index × definition",
    columns={
        "geography": column(pl.String, "US, or a state's postal code", one_of(("US", *sorted(REGION_OF_STATE)))),
        "index_name": column(
            pl.String, "iceberg: all occupations; surface: SOC group 15", one_of(("iceberg", "surface"))
        ),
        "labelled_by": column(pl.String, "who labelled the tasks", one_of(("human", "gpt4"))),
        "counts": column(
            pl.String, "direct: exposed tasks E1; with_software: E1 + ½ E2", one_of(("direct", "with_software"))
        ),
        "rule": column(
            pl.String,
            "expected: a skill counts with its share; at_least_x: it counts whole from x on, else not",
            one_of(("expected", "at_least_0.25", "at_least_0.5", "at_least_0.75")),
        ),
        "value": column(pl.Float64, "automatable value over the wage value of all occupations", FRACTION),
        "lower": column(pl.Float64, "lower end of the 95 % interval over bootstrap samples of occupations", FRACTION),
        "upper": column(pl.Float64, "upper end of that interval", FRACTION),
        "automatable_value_usd": column(pl.Float64, "wage value of automatable skills, per year", NOT_NEGATIVE),
        "wage_value_usd": column(pl.Float64, "wage value of all covered occupations, per year", NOT_NEGATIVE),
        "employment": column(pl.Float64, "jobs covered", NOT_NEGATIVE),
        "covered_employment_share": column(pl.Float64, "covered jobs over jobs with a published wage", FRACTION),
        "hhi": column(pl.Float64, "concentration of the automatable value over occupations (Herfindahl)", FRACTION),
        "published_value": column(pl.Float64, "published value of the index, where there is one", nullable=True),
    },
    key=("geography", "index_name", "labelled_by", "counts", "rule"),
    rules=(ordered("lower", "value", "upper"),),
    may_be_empty=True,
)

CONTRACTS = (OCCUPATION_EXPOSURE, SKILL_EXPOSURE, EXPOSURE_INDEX)
