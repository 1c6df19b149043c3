"""The picture on the page of `graph_statistics`: degree tail, structure and homophily beside chance and records."""

import altair as alt
import numpy as np
import polars as pl

from assets.society.recorded import RecordedNetworks
from validation.report.charts import PALETTE

STRUCTURE = ("clustering", "transitivity", "degree_assortativity", "share_in_largest_component")
OURS, CHANCE, TARGET = "agents", "random mixing", "target"
WIDTH = 460


def graph_plot(statistics: pl.DataFrame, degree_N: np.ndarray, recorded: RecordedNetworks) -> alt.VConcatChart:
    """Three panels that share a colour per network.

    Args:
        statistics: rows of `graph_statistics`.
        degree_N: social ties of each agent.
        recorded: numbers measured on recorded networks, their degrees included.
    """
    counts = np.bincount(degree_N)
    tails = [tail(OURS, np.column_stack([np.arange(len(counts)), counts]))]
    tails += [tail(entry["network"], np.array(entry["degrees"])) for entry in recorded.networks]
    names = [OURS, *(entry["network"] for entry in recorded.networks), CHANCE, TARGET]
    colour = alt.Color("network:N", title=None, scale=alt.Scale(domain=names, range=list(PALETTE)))
    panels = alt.vconcat(
        _tails(pl.concat(tails), colour),
        _structure(beside_records(statistics, recorded), colour),
        _homophily(statistics),
    )
    return panels.resolve_scale(color="independent").configure_view(strokeWidth=0)


def tail(network: str, people_by_degree: np.ndarray) -> pl.DataFrame:
    """Share of people with at least so many ties: columns network, degree, share_at_least.

    Args:
        network: name.
        people_by_degree: degree and people of each row.
    """
    kept = people_by_degree[(people_by_degree[:, 0] > 0) & (people_by_degree[:, 1] > 0)]
    at_least = np.cumsum(kept[::-1, 1])[::-1] / people_by_degree[:, 1].sum()
    schema = {"degree": pl.Int64, "share_at_least": pl.Float64}
    shares = pl.DataFrame({"degree": kept[:, 0], "share_at_least": at_least}, schema=schema)
    return shares.with_columns(pl.lit(network).alias("network"))


def beside_records(statistics: pl.DataFrame, recorded: RecordedNetworks) -> pl.DataFrame:
    """Clustering, transitivity, assortativity and components: of agents, by chance, wanted, and of each record."""
    of_all = statistics.filter((pl.col("tie_type") == "all_social") & pl.col("statistic").is_in(STRUCTURE))
    named = of_all.select(
        "statistic",
        pl.col("value").alias(OURS),
        pl.col("chance_value").alias(CHANCE),
        pl.col("reference_value").alias(TARGET),
    )
    rows = [
        (name, entry["network"], float(entry["statistics"][name]))
        for entry in recorded.networks
        for name in STRUCTURE
        if name in entry["statistics"]
    ]
    theirs = pl.DataFrame(
        rows, schema={"statistic": pl.String, "network": pl.String, "value": pl.Float64}, orient="row"
    )
    ours = named.unpivot(index="statistic", variable_name="network", value_name="value")
    return pl.concat([ours, theirs]).drop_nulls("value")


def _tails(frame: pl.DataFrame, colour: alt.Color) -> alt.Chart:
    logarithmic = alt.Scale(type="log")
    return (
        alt.Chart(frame.to_pandas(), title="degree tail")
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X("degree:Q", title="social ties, at least", scale=logarithmic),
            y=alt.Y("share_at_least:Q", title="share of people", scale=logarithmic, axis=alt.Axis(format="~%")),
            color=colour,
        )
        .properties(width=WIDTH, height=220)
    )


def _structure(frame: pl.DataFrame, colour: alt.Color) -> alt.Chart:
    return (
        alt.Chart(frame.to_pandas(), title="triangles, assortativity and components")
        .mark_point(filled=True, size=80, opacity=0.9)
        .encode(
            x=alt.X("value:Q", title="value"),
            y=alt.Y("statistic:N", title=None, sort=list(STRUCTURE)),
            color=colour,
            shape=alt.Shape("network:N", legend=None),
        )
        .properties(width=WIDTH, height=130)
    )


def _homophily(statistics: pl.DataFrame) -> alt.LayerChart | alt.FacetChart:
    of_attributes = statistics.filter(pl.col("statistic").str.starts_with("homophily_")).drop_nulls("value")
    frame = of_attributes.select(
        pl.col("statistic").str.replace("homophily_", "").alias("attribute"), "tie_type", "value", "chance_value"
    )
    base = alt.Chart(frame.to_pandas(), title="homophily (tick: random mixing)")
    row = alt.Y("attribute:N", title=None)
    chance = base.mark_tick(thickness=2, color="#888888").encode(x="chance_value:Q", y=row)
    points = base.mark_circle(size=60).encode(
        x=alt.X("value:Q", title="share of ties within one level", axis=alt.Axis(format=".0%")),
        y=row,
        color=alt.Color("tie_type:N", title=None, scale=alt.Scale(range=list(PALETTE))),
    )
    return (chance + points).properties(width=WIDTH, height=220)
