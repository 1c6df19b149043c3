"""Charts of reports and asset pages: rows in, Vega-Lite specification out, all in one look.

Each function names the columns that it draws. Colours are told apart by the colour-blind and on light and dark ground.
"""

from typing import Any

import altair as alt
import polars as pl

PALETTE = ("#2f7ed8", "#e07b28", "#2a9d6f", "#c0508f", "#8a6fd1", "#b9921f", "#3fa3b8", "#8c6d5a")
NOISE_COLOUR = "#d1495b"
HEIGHT = 230
PNG_WIDTH = 640
FONT = "system-ui, -apple-system, Segoe UI, Roboto, sans-serif"


def share_trajectories(frame: pl.DataFrame) -> dict[str, Any]:
    """Shares of options over time with bands, beside the baseline scenario (dashed) and the mechanism (dotted).

    Columns: timestep, option, series, share, lower, upper; bands are drawn for the series "scenario" only.
    """
    axis = alt.X("timestep:Q", title="timestep", axis=alt.Axis(tickMinStep=1, format="d"))
    colour = alt.Color("option:N", title="option", scale=alt.Scale(range=list(PALETTE)), sort=None)
    base = alt.Chart(frame)
    band = (
        base.transform_filter("datum.series === 'scenario'")
        .mark_area(opacity=0.18)
        .encode(x=axis, y=alt.Y("lower:Q", title="share", axis=alt.Axis(format=".0%")), y2="upper:Q", color=colour)
    )
    line = base.mark_line(strokeWidth=2).encode(
        x=axis,
        y=alt.Y("share:Q"),
        color=colour,
        strokeDash=alt.StrokeDash(
            "series:N",
            title="series",
            legend=alt.Legend(symbolType="stroke", symbolSize=300),
            scale=alt.Scale(domain=["scenario", "baseline", "mechanistic opinion"], range=[[1, 0], [6, 4], [2, 3]]),
        ),
        tooltip=["series", "option", "timestep", alt.Tooltip("share:Q", format=".1%")],
    )
    return finished(band + line)


def calibration_scatter(frame: pl.DataFrame) -> dict[str, Any]:
    """Simulated shares against the survey's, one point per segment and option, with both intervals.

    Columns: segment, option, item, survey_share, survey_lower, survey_upper, share, lower, upper.
    """
    base = alt.Chart(frame)
    highest = max([0.05, *frame["survey_upper"].drop_nulls(), *frame["upper"].drop_nulls()])
    scale = alt.Scale(domain=[0, min(1.0, round(highest + 0.05, 2))])
    x = alt.X("survey_share:Q", title="share in the survey", scale=scale, axis=alt.Axis(format=".0%"))
    y = alt.Y("share:Q", title="share among agents, timestep 0", scale=scale, axis=alt.Axis(format=".0%"))
    colour = alt.Color("option:N", title="option", scale=alt.Scale(range=list(PALETTE)))
    equal = (
        alt.Chart(pl.DataFrame({"survey_share": [0.0, 1.0], "share": [0.0, 1.0]}))
        .mark_line(strokeDash=[4, 4], strokeWidth=1, color="#888888", clip=True)
        .encode(x=x, y=y)
    )
    points = base.mark_circle(size=46, opacity=0.9).encode(
        x=x,
        y=y,
        color=colour,
        tooltip=[
            "item",
            "segment",
            "option",
            alt.Tooltip("survey_share:Q", format=".1%"),
            alt.Tooltip("share:Q", format=".1%"),
        ],
    )
    across = base.mark_rule(opacity=0.35).encode(x="survey_lower:Q", x2="survey_upper:Q", y=y, color=colour)
    upright = base.mark_rule(opacity=0.35).encode(x=x, y="lower:Q", y2="upper:Q", color=colour)
    return finished(equal + across + upright + points, height=380)


def forecast_lines(frame: pl.DataFrame) -> dict[str, Any]:
    """Observed shares over time as points, forecasts of the held-out part as lines.

    Columns: step, moment, model, share, is_held_out.
    """
    x = alt.X("step:Q", title="timestep", axis=alt.Axis(format="d"))
    y = alt.Y("share:Q", title="share", axis=alt.Axis(format=".0%"), scale=alt.Scale(zero=False))
    tooltip = ["model", "moment", alt.Tooltip("share:Q", format=".1%")]
    base = alt.Chart(frame)
    observed = base.transform_filter("datum.model === 'observed'").mark_circle(size=44).encode(
        x=x, y=y, opacity=alt.condition("datum.is_held_out", alt.value(1.0), alt.value(0.45)), tooltip=tooltip,
        color=alt.value("#444444"),
    )  # fmt: skip
    forecast = base.transform_filter("datum.model !== 'observed'").mark_line(strokeWidth=2, point=True).encode(
        x=x, y=y, color=alt.Color("model:N", title="model", scale=alt.Scale(range=list(PALETTE))), tooltip=tooltip,
    )  # fmt: skip
    return finished(observed + forecast)


def model_bars(frame: pl.DataFrame) -> dict[str, Any]:
    """One bar per model with its interval, and the noise floor as a rule.

    Columns: model, value, lower, upper, noise_floor.
    """
    base = alt.Chart(frame)
    order = alt.Y("model:N", title=None, sort=alt.EncodingSortField("value"))
    bars = base.mark_bar(height={"band": 0.62}).encode(
        x=alt.X("value:Q", title="value", axis=alt.Axis(tickCount=5)),
        y=order,
        color=alt.condition("datum.model === 'lsm'", alt.value(PALETTE[0]), alt.value("#9aa7b6")),
        tooltip=["model", alt.Tooltip("value:Q", format=".4f"), alt.Tooltip("noise_floor:Q", format=".4f")],
    )
    intervals = base.mark_rule(strokeWidth=1.5).encode(x="lower:Q", x2="upper:Q", y=order)
    floor = base.mark_rule(strokeDash=[5, 3], strokeWidth=1.5, color=NOISE_COLOUR).encode(x="mean(noise_floor):Q")
    return finished(bars + intervals + floor, height=30 * max(3, frame.height))


def distance_matrix(frame: pl.DataFrame) -> dict[str, Any]:
    """Distances as a matrix of questions by model, darker for larger ones.

    Columns: question, model, tvd, lower, upper, noise_floor.
    """
    cells = (
        alt.Chart(frame)
        .mark_rect()
        .encode(
            x=alt.X("model:N", title=None, axis=alt.Axis(labelAngle=-30, labelLimit=220)),
            y=alt.Y("question:N", title=None, axis=alt.Axis(labelLimit=260)),
            color=alt.Color("tvd:Q", title="distance", scale=alt.Scale(scheme="blues", domainMin=0)),
            tooltip=[
                "question",
                "model",
                *(alt.Tooltip(f"{name}:Q", format=".3f") for name in ("tvd", "lower", "upper", "noise_floor")),
            ],
        )
    )
    return finished(cells, height=14 * max(4, frame["question"].n_unique()))


def degree_distribution(frame: pl.DataFrame) -> dict[str, Any]:
    """Share of agents by number of social ties.

    Columns: degree, share.
    """
    step = max(1, int(frame["degree"].max() or 0) // 80)  # pyright: ignore[reportArgumentType]
    bars = (
        alt.Chart(frame)
        .mark_bar(color=PALETTE[0], binSpacing=1)
        .encode(
            x=alt.X("degree:Q", title="social ties per agent", bin=alt.Bin(step=step), axis=alt.Axis(tickCount=12)),
            y=alt.Y("sum(share):Q", title="share of agents", axis=alt.Axis(format=".0%")),
            tooltip=[alt.Tooltip("sum(share):Q", title="share", format=".1%")],
        )
    )
    return finished(bars)


def margin_errors(frame: pl.DataFrame) -> dict[str, Any]:
    """Largest error of each margin before and after calibration, and among the agents.

    Columns: margin, weights, error.
    """
    base = alt.Chart(frame)
    row = alt.Y("margin:N", title=None)
    error = alt.X("error:Q", title="largest error of a level, points of share", axis=alt.Axis(format=".1%"))
    line = base.mark_line(color="#9aa7b6", strokeWidth=1.5).encode(x=error, y=row, detail="margin:N")
    points = base.mark_point(filled=True, size=70, opacity=1).encode(
        x=error,
        y=row,
        color=alt.Color("weights:N", title=None, scale=alt.Scale(range=list(PALETTE))),
        shape=alt.Shape("weights:N", title=None),
        tooltip=["margin", "weights", alt.Tooltip("error:Q", format=".3%")],
    )
    return finished(line + points, height=34 * max(3, frame["margin"].n_unique()))


def effect_intervals(frame: pl.DataFrame) -> dict[str, Any]:
    """Effects with their intervals, one row per segment.

    Columns: segment, option, difference, lower, upper.
    """
    base = alt.Chart(frame)
    row = alt.Y("segment:N", title=None, sort=None)
    effect = alt.X("difference:Q", title="change of share against the baseline", axis=alt.Axis(format="+.0%"))
    colour = alt.Color("option:N", title="option", scale=alt.Scale(range=list(PALETTE)))
    zero = alt.Chart(pl.DataFrame({"difference": [0.0]})).mark_rule(color="#888888").encode(x=effect)
    interval = base.mark_rule(strokeWidth=2).encode(x="lower:Q", x2="upper:Q", y=row, color=colour)
    points = base.mark_circle(size=60, opacity=1).encode(
        x=effect, y=row, color=colour, tooltip=["segment", "option", alt.Tooltip("difference:Q", format="+.2%")]
    )
    return finished(zero + interval + points, height=22 * max(6, frame["segment"].n_unique()))


def channel_heatmap(frame: pl.DataFrame) -> dict[str, Any]:
    """Mean channels of clusters.

    Columns: profile, channel, value.
    """
    cells = (
        alt.Chart(frame)
        .mark_rect()
        .encode(
            x=alt.X("channel:N", title=None, sort=None, axis=alt.Axis(labelAngle=-40)),
            y=alt.Y("profile:N", title=None, sort=None),
            color=alt.Color("value:Q", title="mean", scale=alt.Scale(scheme="redblue", domain=[-1, 1])),
            tooltip=["profile", "channel", alt.Tooltip("value:Q", format="+.2f")],
        )
    )
    return finished(cells, height=30 * max(3, frame["profile"].n_unique()))


def intervention_lines(frame: pl.DataFrame) -> dict[str, Any]:
    """Final share against the value of one field, one line per option.

    Columns: value, outcome, share.
    """
    lines = (
        alt.Chart(frame)
        .mark_line(point=alt.OverlayMarkDef(filled=True, size=55), strokeWidth=2)
        .encode(
            x=alt.X("value:Q", title="value of the field"),
            y=alt.Y("share:Q", title="final share", axis=alt.Axis(format=".0%")),
            color=alt.Color("outcome:N", title="option", scale=alt.Scale(range=list(PALETTE)), sort=None),
            tooltip=["outcome", "value", alt.Tooltip("share:Q", format=".1%")],
        )
    )
    return finished(lines)


def plot_png(chart: dict[str, Any] | alt.TopLevelMixin, *, scale: float = 1.5) -> bytes:
    """The chart as a PNG on white, drawn without a browser or the network: for asset pages.

    Args:
        chart: what one of the functions above returned, or an Altair chart.
        scale: pixels per point.
    """
    import vl_convert

    specification = chart if isinstance(chart, dict) else chart.to_dict()
    fixed = {**specification, "background": "white"}
    if fixed.get("width") == "container":
        fixed["width"] = PNG_WIDTH
    return vl_convert.vegalite_to_png(fixed, scale=scale)


def finished(chart: alt.LayerChart | alt.FacetChart | alt.Chart, *, height: int = HEIGHT) -> dict[str, Any]:
    styled = (
        chart.properties(width="container", height=height)
        .configure(font=FONT, autosize=alt.AutoSizeParams(type="fit-x", contains="padding"))
        .configure_axis(labelFontSize=11, titleFontSize=12, titleFontWeight="normal", labelLimit=260)
        .configure_legend(labelFontSize=11, titleFontSize=11, orient="bottom", columns=3, symbolOpacity=1)
        .configure_view(strokeWidth=0)
    )
    specification = styled.to_dict()
    specification["config"]["legend"]["layout"] = {"bottom": {"direction": "vertical", "anchor": "start"}}
    return specification
