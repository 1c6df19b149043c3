"""Charts of ties beside recorded networks: tail of degrees, homophily beside chance, mixing by age.

Each function names the columns that it draws; see `charts` for the common look.
"""

from typing import Any

import altair as alt
import polars as pl

from validation.report.charts import PALETTE, finished


def degree_tail(frame: pl.DataFrame) -> dict[str, Any]:
    """Share of people with at least so many ties: agents as a line, quantiles of recorded networks as points.

    Columns: network, degree, share_at_least; the network "agents" is drawn as a line. Both axes are logarithmic, so
    degree and share must be above zero.
    """
    base = alt.Chart(frame)
    degree = alt.X("degree:Q", title="social ties, at least", scale=alt.Scale(type="log"))
    share = alt.Y("share_at_least:Q", title="share of people", scale=alt.Scale(type="log"), axis=alt.Axis(format=".1%"))
    colour = alt.Color("network:N", title=None, scale=alt.Scale(range=list(PALETTE)))
    tooltip = ["network", "degree", alt.Tooltip("share_at_least:Q", format=".2%")]
    line = base.transform_filter("datum.network === 'agents'").mark_line(strokeWidth=2)
    points = base.transform_filter("datum.network !== 'agents'").mark_point(filled=True, size=60)
    return finished(
        line.encode(x=degree, y=share, color=colour, tooltip=tooltip)
        + points.encode(x=degree, y=share, color=colour, tooltip=tooltip)
    )


def homophily_dots(frame: pl.DataFrame) -> dict[str, Any]:
    """Share of ties between people of the same level, beside what random mixing with the same degrees gives.

    Columns: attribute, tie_type, value, chance_value.
    """
    base = alt.Chart(frame)
    row = alt.Y("attribute:N", title=None, sort=None)
    share = alt.X("value:Q", title="share of ties within one level (tick: chance)", axis=alt.Axis(format=".0%"))
    points = base.mark_circle(size=60, opacity=0.9).encode(
        x=share,
        y=row,
        color=alt.Color("tie_type:N", title=None, scale=alt.Scale(range=list(PALETTE))),
        tooltip=[
            "attribute",
            "tie_type",
            alt.Tooltip("value:Q", format=".1%"),
            alt.Tooltip("chance_value:Q", format=".1%"),
        ],
    )
    chance = base.mark_tick(thickness=2, color="#888888").encode(x="chance_value:Q", y=row)
    return finished(chance + points, height=30 * max(3, frame["attribute"].n_unique()))


def age_mixing_matrix(frame: pl.DataFrame) -> dict[str, Any]:
    """Whom people of each age group are tied to, as a matrix per source: agents, chance, recorded contacts.

    Columns: network, age_group, alter_age_group, share; shares of a row of the matrix sum to one.
    """
    cells = (
        alt.Chart(frame)
        .mark_rect()
        .encode(
            x=alt.X("alter_age_group:N", title="age of the other", axis=alt.Axis(labelAngle=-40)),
            y=alt.Y("age_group:N", title="age"),
            color=alt.Color("share:Q", title="share of ties", scale=alt.Scale(scheme="blues", domainMin=0)),
            xOffset=alt.XOffset("network:N", sort=None),
            tooltip=["network", "age_group", "alter_age_group", alt.Tooltip("share:Q", format=".1%")],
        )
    )
    return finished(cells, height=240)
