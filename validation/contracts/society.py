"""Contracts of the society room: ties, media sources and the statistics of the graph."""

import polars as pl

from validation.attributes import AGE_GROUP_BOUNDS, TIE_TYPES
from validation.contracts.table import FRACTION, NOT_NEGATIVE, POSITIVE, TableContract, column, one_of

TIES = TableContract(
    name="ties",
    group="society",
    row="directed tie",
    columns={
        "src": column(pl.Int32, "agent that is heard; for media ties the source_id", NOT_NEGATIVE),
        "dst": column(pl.Int32, "agent that hears; rows are stored in its order", NOT_NEGATIVE),
        "tie_type": column(pl.String, "kind of tie", one_of(TIE_TYPES)),
        "strength": column(pl.Float32, "weight of the tie, 0 to 1", FRACTION),
    },
    key=("dst", "src", "tie_type"),
)

MEDIA_SOURCES = TableContract(
    name="media_sources",
    group="society",
    row="media source",
    columns={
        "source_id": column(pl.Int64, "media source, dense 0…S−1; the src of its media ties", NOT_NEGATIVE),
        "name": column(pl.String, "name of the source"),
        "source_type": column(pl.String, "kind of source, the channel by which events reach its audience"),
        "reach": column(pl.Float64, "fraction of the audience that follows the source", FRACTION),
        "audience": column(pl.String, "predicate over agents that describes the audience"),
        "num_followers": column(pl.Int64, "agents with a media tie from the source", NOT_NEGATIVE),
    },
    key=("source_id",),
)

GRAPH_STATISTICS = TableContract(
    name="graph_statistics",
    group="society",
    row="statistic × tie type",
    columns={
        "statistic": column(pl.String, "what is measured, for example mean_degree or homophily_party"),
        "tie_type": column(pl.String, "tie type, or all_social for the social ties together"),
        "value": column(pl.Float64, "value of the statistic", nullable=True),
        "chance_value": column(pl.Float64, "value under random mixing with the same degrees", nullable=True),
        "reference_value": column(pl.Float64, "target of the statistic where there is one", nullable=True),
        "tolerance": column(pl.Float64, "how near the target has to be", POSITIVE, nullable=True),
        "is_met": column(pl.Boolean, "whether the value is within the tolerance of the target", nullable=True),
        "is_fitted": column(
            pl.Boolean, "whether ties were set to the target, so that meeting it proves nothing", nullable=True
        ),
        "reference_source": column(pl.String, "where the target comes from", nullable=True),
    },
    key=("statistic", "tie_type"),
)

AGE_MIXING = TableContract(
    name="age_mixing",
    group="society",
    row="tie type × age group × age group of the other end",
    columns={
        "tie_type": column(pl.String, "tie type, or all_social for the social ties together"),
        "age_group": column(pl.String, "age group of the agent that hears", one_of(tuple(AGE_GROUP_BOUNDS))),
        "alter_age_group": column(pl.String, "age group of the agent that is heard", one_of(tuple(AGE_GROUP_BOUNDS))),
        "share": column(pl.Float64, "share of the age group's ties that go there", FRACTION, nullable=True),
        "chance_share": column(pl.Float64, "share under random mixing of tie ends", FRACTION, nullable=True),
        "recorded_share": column(
            pl.Float64, "share if people mixed by age as in recorded contacts", FRACTION, nullable=True
        ),
    },
    key=("tie_type", "age_group", "alter_age_group"),
)

RECORDED_NETWORKS = TableContract(
    name="recorded_networks",
    group="society",
    row="recorded network × statistic",
    columns={
        "network": column(pl.String, "recorded contact or friendship data"),
        "statistic": column(pl.String, "as in graph_statistics; an ending names where contacts were met"),
        "value": column(pl.Float64, "value measured on the records"),
        "our_value": column(
            pl.Float64, "value of our social ties together, where it is the same statistic", nullable=True
        ),
        "num_people": column(pl.Int64, "people in the network", POSITIVE),
        "source": column(pl.String, "who recorded it"),
        "origin": column(
            pl.String,
            "mirror: measured in this run; kept: numbers of an earlier measurement",
            one_of(("mirror", "kept")),
        ),
    },
    key=("network", "statistic"),
)

CONTRACTS = (TIES, MEDIA_SOURCES, GRAPH_STATISTICS, AGE_MIXING, RECORDED_NETWORKS)
