"""The intervention surface: grid against rollouts, gradients against differences, parts of large societies.

Finite differences have tests of their own in `test_finite_differences.py`.
"""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from assets.simulation.finite_differences import DIFFERENCED_FIELDS
from assets.simulation.gradients import EVENT_FIELDS, final_shares, outcome_gradients
from assets.simulation.interventions import intervention_surface, part_of_society
from assets.simulation.outcomes import summarise_outcomes
from assets.simulation.rollouts import prepare_rollout
from assets.simulation.trajectories import simulate_scenario
from validation.attributes import SOCIAL_TIE_TYPES
from validation.contracts import CONTRACTS

NUM_AGENTS = 200


@pytest.fixture
def tables(make_agents, make_ties, media_sources):
    return {"agents": make_agents(NUM_AGENTS), "ties": make_ties(NUM_AGENTS), "media_sources": media_sources}


@pytest.fixture
def surface_of(student, tables):
    def surface(scenario_rows: pl.DataFrame, **options) -> pl.DataFrame:
        partition = {"replicate": 0, "seed": 5, "max_timesteps": 12}
        frame = intervention_surface(student, **tables, scenario_rows=scenario_rows, **partition | options)
        return CONTRACTS["intervention_surface"].validate(frame)

    return surface


def test_rows_of_grid_and_gradient(surface_of, make_scenario_rows):
    surface = surface_of(make_scenario_rows())
    grid = surface.filter(pl.col("kind") == "grid")
    assert sorted(grid.select("parameter", "value").unique().rows()) == [
        ("events.announcement.credibility", 0.2),
        ("events.announcement.credibility", 0.9),
        ("events.announcement.exposure.reach", 0.3),
        ("events.announcement.exposure.reach", 0.7),
        ("events.announcement.exposure.reach", 1.0),
    ]
    gradient = surface.filter(pl.col("kind") == "gradient")
    parameters = [f"events.announcement.{field}" for field in EVENT_FIELDS]
    parameters += [f"events.story.{field}" for field in EVENT_FIELDS if field != "framing"]
    parameters += [f"ties.{tie_type}.strength" for tie_type in SOCIAL_TIE_TYPES]
    assert sorted(gradient["parameter"]) == sorted(3 * parameters)
    difference = surface.filter(pl.col("kind") == "finite_difference")
    names = ("announcement", "story")
    parameters = [f"events.{name}.{field}" for name in names for field in DIFFERENCED_FIELDS]
    assert sorted(difference["parameter"]) == sorted(3 * parameters)
    assert difference.select("value_below", "value_above").null_count().row(0) == (0, 0)
    others = pl.concat([grid, gradient])
    assert others.height + difference.height == surface.height
    assert others.select(pl.col("value_below", "value_above").is_null().all()).row(0) == (True, True)
    assert grid["derivative"].is_null().all()
    assert (gradient["derivative"] != 0).all()
    per_parameter = gradient.group_by("parameter").agg(pl.col("derivative").sum())
    np.testing.assert_allclose(per_parameter["derivative"], 0.0, atol=1e-7)


def test_grid_point_is_the_scenario_with_that_value(surface_of, make_scenario_rows, student, tables):
    surface = surface_of(make_scenario_rows())
    for field, column, value in (("credibility", "credibility", 0.9), ("exposure.reach", "reach", 0.3)):
        changed = make_scenario_rows(**{column: value})
        simulation = simulate_scenario(
            student, model_version=1, **tables, scenario_rows=changed, replicate=0, seed=5, max_timesteps=12
        )
        outcomes = summarise_outcomes(simulation.trajectory_chunks(), tables["agents"], changed)
        final = outcomes.filter((pl.col("segment") == "all") & (pl.col("timestep") == 4))
        expected = dict(final.select("option", "share").iter_rows())
        found = surface.filter(
            (pl.col("parameter") == f"events.announcement.{field}") & (pl.col("value") == value)
        ).filter(pl.col("kind") == "grid")
        for option, share in found.select("outcome", "share").iter_rows():
            assert share == pytest.approx(expected[option], abs=1e-6)


def test_the_files_own_value_changes_nothing(surface_of, make_scenario_rows):
    rows = surface_of(make_scenario_rows()).filter(
        (pl.col("kind") == "grid") & (pl.col("parameter") == "events.announcement.exposure.reach")
    )
    assert (rows.filter(pl.col("value") == 0.7)["difference"] == 0).all()
    assert (rows.filter(pl.col("value") == 1.0)["difference"] != 0).all()


@pytest.mark.parametrize("field", ["valence", "credibility"])
def test_gradient_agrees_with_central_differences(surface_of, make_scenario_rows, field):
    middle, step = {"valence": 0.5, "credibility": 0.6}[field], 0.02
    surface = surface_of(
        make_scenario_rows(intervention_fields=[field], intervention_values=[[middle - step, middle + step]])
    ).filter(pl.col("parameter") == f"events.announcement.{field}")
    for outcome in surface["outcome"].unique():
        rows = surface.filter(pl.col("outcome") == outcome)
        below, above = rows.filter(pl.col("kind") == "grid").sort("value")["share"]
        derivative = rows.filter(pl.col("kind") == "gradient")["derivative"][0]
        assert derivative == pytest.approx((above - below) / (2 * step), rel=0.05, abs=2e-5)


def test_gradients_of_timing_framing_and_ties_agree_with_differences(student, tables, make_scenario_rows):
    """In double precision and by small steps: of timing towards later, where the soft schedule is smooth."""
    inputs = prepare_rollout(**tables, scenario_rows=make_scenario_rows(), replicate=0, seed=5, max_timesteps=12)
    student = student.double()
    timeline, graph = inputs.timeline, inputs.graph
    unframed_VD = timeline.embedding_VD.flip(0)
    reach_V = torch.full((timeline.num_events,), 0.7)
    (found,) = outcome_gradients(student, inputs, timeline.exposure_VN, reach_V, unframed_VD)
    step, event = 1e-4, 0

    def slope(**changes):
        (changed,) = final_shares(student, replace(inputs, **changes))
        return (changed - found.share_O) / step

    later_V = torch.zeros(timeline.num_events, dtype=torch.float64)
    later_V[event] = step
    louder_VD = timeline.embedding_VD.double()
    louder_VD[event] += step * (louder_VD[event] - unframed_VD[event].double())
    stronger_E = graph.strength_E.double() * (1 + step * (graph.tie_type_E == 1))
    for derivative_O, difference_O in (
        (found.derivative_PVO[EVENT_FIELDS.index("at"), event], slope(timeline=replace(timeline, delay_V=later_V))),
        (
            found.derivative_PVO[EVENT_FIELDS.index("framing"), event],
            slope(timeline=replace(timeline, embedding_VD=louder_VD)),
        ),
        (found.tie_derivative_TO[1], slope(graph=replace(graph, strength_E=stronger_E))),
    ):
        assert np.abs(difference_O).max() > 1e-6
        np.testing.assert_allclose(derivative_O, difference_O, rtol=0.02, atol=1e-7)


def test_computing_timesteps_again_changes_no_derivative(surface_of, make_scenario_rows, monkeypatch):
    kept = surface_of(make_scenario_rows())
    monkeypatch.setattr("assets.simulation.gradients.AGENT_TIMESTEPS_KEPT", 0)
    assert surface_of(make_scenario_rows()).equals(kept)


def test_gradient_of_reach_has_the_sign_of_the_grid(surface_of, make_scenario_rows):
    surface = surface_of(
        make_scenario_rows(intervention_fields=["exposure.reach"], intervention_values=[[0.4, 1.0]])
    ).filter(pl.col("parameter") == "events.announcement.exposure.reach")
    compared = 0
    for outcome in surface["outcome"].unique():
        rows = surface.filter(pl.col("outcome") == outcome)
        below, above = rows.filter(pl.col("kind") == "grid").sort("value")["share"]
        if abs(above - below) > 2e-5:
            compared += 1
            derivative = rows.filter(pl.col("kind") == "gradient")["derivative"][0]
            slope = (above - below) / 0.6
            assert np.sign(derivative) == np.sign(slope)
            assert derivative == pytest.approx(slope, rel=0.5)
    assert compared, "the event moves no share enough to compare"


@pytest.mark.parametrize("field", ["at", "framing"])
def test_a_grid_over_a_field_without_values_to_try_is_refused(surface_of, make_scenario_rows, field):
    rows = make_scenario_rows(intervention_fields=[field], intervention_values=[[2.0]])
    with pytest.raises(ValueError, match=f"announcement has an intervention on '{field}'; fields: valence, .*reach"):
        surface_of(rows)


def test_no_events_no_rows(surface_of, make_scenario_rows):
    surface = surface_of(make_scenario_rows(has_events=False))
    assert surface.is_empty()


def test_an_event_after_the_end_has_zero_derivatives(surface_of, make_scenario_rows):
    surface = surface_of(make_scenario_rows(), max_timesteps=1)
    late = surface.filter((pl.col("kind") == "gradient") & pl.col("parameter").str.starts_with("events.story."))
    assert late.height
    assert (late["derivative"] == 0).all()


def test_large_societies_are_represented_by_spaced_runs(make_agents, make_scenario_rows, surface_of):
    agents = make_agents(3_000)
    part = part_of_society(agents, make_scenario_rows(), 1_000)
    assert part.height == 1_000
    ids = part["agent_id"].to_numpy()
    assert (np.diff(ids) == 1).sum() == 1_000 - 4
    assert ids[0] == 0
    assert ids[-1] == 2_999
    women = part_of_society(agents, make_scenario_rows(where="sex = 'female'"), 2_000)
    assert women["sex"].unique().to_list() == ["female"]
    assert surface_of(make_scenario_rows(), max_agents=50).height > 0


def test_models_keep_their_gradients_switched_on(surface_of, make_scenario_rows, student):
    surface_of(make_scenario_rows())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in student.parameters())
