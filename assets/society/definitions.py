"""Assets of the society room: ties with media sources, and the statistics of the graph."""

from collections.abc import Iterator

import altair as alt
import dagster as dg
import numpy as np
import polars as pl

from assets.society.graph_plot import STRUCTURE, graph_plot
from assets.society.mixing import age_mixing as measure_age_mixing
from assets.society.recorded import beside_ours, recorded_numbers
from assets.society.statistics import graph_statistics as measure_graph
from assets.society.targets import missed
from assets.society.ties import form_society
from assets.sources.catalogue import open_catalogue
from orchestration.partitions import RowChunks
from orchestration.resources import Platform
from orchestration.table_assets import plot, table_options, table_output
from validation.report.charts import plot_png


@dg.multi_asset(
    name="society",
    outs={
        "ties": table_output("ties", "Typed, directed ties between agents, and from media sources to their followers."),
        "media_sources": table_output("media_sources", "Media sources with their audience predicate and reach."),
    },
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def society(platform: Platform, agents: pl.DataFrame) -> Iterator[dg.Output[RowChunks] | dg.Output[pl.DataFrame]]:
    """Forms the typed social graph."""
    graph, media_sources = form_society(agents, platform.recipe.seed)
    degree_N = graph.social_degrees()
    histogram = pl.DataFrame({"degree": degree_N}).group_by("degree").agg(num_agents=pl.len()).sort("degree")
    chart = (
        alt.Chart(histogram.to_pandas(), title="social ties per agent")
        .mark_bar()
        .encode(x="degree:Q", y="num_agents:Q")
        .properties(width=420, height=220)
    )
    yield dg.Output(
        RowChunks(graph.chunks()),
        output_name="ties",
        metadata={"mean_degree": float(degree_N.mean()), "plot": plot(plot_png(chart.to_dict()))},
    )
    yield dg.Output(media_sources, output_name="media_sources")


@dg.asset(
    **table_options("graph_statistics", kinds=("scipy", "numba")),
    description="Degrees, clustering, path length, components and homophily, beside chance and beside their targets.",
)
def graph_statistics(platform: Platform, agents: pl.DataFrame, ties: pl.DataFrame) -> dg.Output[pl.DataFrame]:
    """Measures the graph."""
    recorded = recorded_numbers(open_catalogue(platform.settings))[0]
    measured = measure_graph(agents, ties, recorded)
    with_target = measured.filter(pl.col("reference_source").is_not_null())
    value = dict(measured.filter(pl.col("tie_type") == "all_social").select("statistic", "value").iter_rows())
    social = ties.lazy().filter(pl.col("tie_type") != "media").select("dst").collect()["dst"].to_numpy()
    picture = graph_plot(measured, np.bincount(social, minlength=agents.height), recorded)
    return dg.Output(
        measured,
        metadata={
            "num_targets": with_target.height,
            "num_targets_missed": missed(measured).height,
            **{name: value[name] for name in STRUCTURE if value[name] is not None},
            "plot": plot(plot_png(picture)),
        },
    )


@dg.asset(
    **table_options("age_mixing", kinds=("numpy",)),
    description="Of the ties of each age group, the share that goes to each, beside chance and recorded contacts.",
)
def age_mixing(platform: Platform, agents: pl.DataFrame, ties: pl.DataFrame) -> pl.DataFrame:
    """Measures who is tied with whom by age."""
    return measure_age_mixing(agents, ties, recorded_numbers(open_catalogue(platform.settings))[0])


@dg.asset(
    **table_options("recorded_networks", kinds=("scipy", "numba")),
    description="Statistics of recorded contact and friendship networks beside those of the generated graph.",
)
def recorded_networks(platform: Platform, graph_statistics: pl.DataFrame) -> pl.DataFrame:
    """Measures the records of the data mirror, or shows the numbers that are kept of them."""
    recorded, origin = recorded_numbers(open_catalogue(platform.settings))
    return beside_ours(recorded, graph_statistics, origin)
