import altair as alt
import polars as pl
import pytest

from validation.report import charts, network_charts

FRAMES = {
    charts.share_trajectories: pl.DataFrame(
        {
            "timestep": [0, 1, 0, 1],
            "option": ["yes"] * 4,
            "series": ["scenario", "scenario", "baseline", "baseline"],
            "share": [0.4, 0.5, 0.4, 0.4],
            "lower": [0.3, 0.4, 0.3, 0.3],
            "upper": [0.5, 0.6, 0.5, 0.5],
        }
    ),
    charts.calibration_scatter: pl.DataFrame(
        {
            "segment": ["all"],
            "option": ["yes"],
            "item": ["tax"],
            "survey_share": [0.4],
            "survey_lower": [0.35],
            "survey_upper": [0.45],
            "share": [0.42],
            "lower": [0.4],
            "upper": [0.44],
        }
    ),
    charts.model_bars: pl.DataFrame(
        {
            "model": ["lsm", "uniform"],
            "value": [0.1, 0.2],
            "lower": [0.09, 0.2],
            "upper": [0.11, 0.2],
            "noise_floor": 0.05,
        }
    ),
    network_charts.degree_tail: pl.DataFrame(
        {"network": ["agents", "agents", "village"], "degree": [1.0, 9.0, 5.0], "share_at_least": [0.9, 0.1, 0.5]}
    ),
    network_charts.homophily_dots: pl.DataFrame(
        {"attribute": ["sex"], "tie_type": ["friend"], "value": [0.6], "chance_value": [0.5]}
    ),
    network_charts.age_mixing_matrix: pl.DataFrame(
        {
            "network": ["agents", "chance"],
            "age_group": ["18-29"] * 2,
            "alter_age_group": ["70+"] * 2,
            "share": [0.1, 0.2],
        }
    ),
    charts.degree_distribution: pl.DataFrame({"degree": [3, 4], "share": [0.5, 0.5]}),
    charts.margin_errors: pl.DataFrame({"margin": ["sex"] * 2, "weights": ["a", "b"], "error": [0.1, 0.0]}),
    charts.effect_intervals: pl.DataFrame(
        {"segment": ["all"], "option": ["yes"], "difference": [0.1], "lower": [0.05], "upper": [0.15]}
    ),
    charts.channel_heatmap: pl.DataFrame({"profile": ["0"], "channel": ["fairness"], "value": [0.2]}),
    charts.intervention_lines: pl.DataFrame({"value": [0.1, 0.9], "outcome": ["yes"] * 2, "share": [0.2, 0.4]}),
}


@pytest.mark.parametrize("draw", FRAMES, ids=lambda draw: draw.__name__)
def test_every_chart_draws_its_columns_without_the_network(draw):
    specification = draw(FRAMES[draw])
    assert "url" not in str(specification.get("data", ""))
    png = charts.plot_png(specification)
    assert png.startswith(b"\x89PNG")
    assert len(png) > 3_000


def test_altair_charts_are_drawn_as_they_are():
    chart = alt.Chart(pl.DataFrame({"x": [1, 2]})).mark_point().encode(x="x:Q")
    assert charts.plot_png(chart).startswith(b"\x89PNG")


def test_charts_of_no_rows_can_still_be_drawn():
    for draw, frame in FRAMES.items():
        assert draw(frame.clear())["width"] == "container"
