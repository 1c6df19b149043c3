"""Assets of the society room: ties with media sources, and the statistics of the graph."""

from collections.abc import Iterator

import altair as alt
import dagster as dg
import polars as pl

from assets.society.statistics import graph_statistics as measure_graph
from assets.society.ties import form_society
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
    **table_options("graph_statistics", kinds=("scipy",)),
    description="Degrees, clustering, homophily against chance and components, beside published figures.",
)
def graph_statistics(agents: pl.DataFrame, ties: pl.DataFrame) -> pl.DataFrame:
    """Measures the graph."""
    return measure_graph(agents, ties)
