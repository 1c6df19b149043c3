"""Counterfactuals against effects planted by hand."""

import numpy as np
import polars as pl
import pytest

from assets.simulation.counterfactuals import compare_scenarios
from validation.channels import channel_names
from validation.contracts import CONTRACTS


@pytest.fixture
def shifted(make_trajectories):
    """A scenario that moves 0.2 from oppose to support for even agents, and raises the first channel for all."""
    before_TNO = np.tile(np.array([0.35, 0.45, 0.2]), (2, 120, 1))
    after_TNO = before_TNO.copy()
    after_TNO[1, ::2] += np.array([0.2, -0.2, 0.0])
    channels_NK = np.zeros((120, len(channel_names())))
    raised_NK = channels_NK.copy()
    raised_NK[:, 0] = 0.3
    return (
        make_trajectories(after_TNO, channels_NK=raised_NK),
        make_trajectories(before_TNO, scenario_id="status-quo", channels_NK=channels_NK),
    )


def test_effects_per_agent_and_per_segment(shifted, make_agents, make_question_rows):
    rows = compare_scenarios(*shifted, make_agents(120), make_question_rows())
    CONTRACTS["counterfactuals"].validate(rows)
    agents = rows.filter((pl.col("unit") == "agent") & (pl.col("option") == "support")).sort("agent_id")
    assert agents["agent_id"].to_list() == list(range(120))
    np.testing.assert_allclose(agents["difference"], np.where(np.arange(120) % 2 == 0, 0.2, 0.0), atol=1e-6)
    assert agents["has_flipped"].to_list() == [agent % 2 == 0 for agent in range(120)]
    assert agents["channel_differences"][0].to_list() == pytest.approx([0.3] + [0.0] * (len(channel_names()) - 1))
    everybody = rows.row(by_predicate=(pl.col("segment") == "all") & (pl.col("option") == "support"), named=True)
    assert everybody["difference"] == pytest.approx(0.1, abs=1e-6)
    assert everybody["lower"] < 0.1 < everybody["upper"]
    assert everybody["upper"] - everybody["difference"] == pytest.approx(1.959964 * 0.1 / np.sqrt(119), rel=1e-3)
    assert everybody["has_flipped"] is None
    assert everybody["channel_differences"][0] == pytest.approx(0.3)


def test_final_timesteps_alone_give_the_same(shifted, make_agents, make_question_rows):
    whole = compare_scenarios(*shifted, make_agents(120), make_question_rows())
    finals = [frame.filter(pl.col("timestep") == 1).sample(fraction=1.0, shuffle=True, seed=2) for frame in shifted]
    assert compare_scenarios(*finals, make_agents(120), make_question_rows()).equals(whole)


def test_shorter_scenarios_meet_at_the_last_common_timestep(shifted, make_agents, make_question_rows):
    ours, theirs = shifted
    early = compare_scenarios(ours, theirs.filter(pl.col("timestep") == 0), make_agents(120), make_question_rows())
    assert early["difference"].abs().max() == 0.0


def test_only_agents_of_both_populations_count(shifted, make_agents, make_question_rows):
    ours, theirs = shifted
    rows = compare_scenarios(ours.filter(pl.col("agent_id") < 40), theirs, make_agents(120), make_question_rows())
    assert rows.filter(pl.col("segment") == "all")["num_agents"].unique().to_list() == [40]


def test_the_mechanistic_engine_is_not_mixed_in(shifted, make_agents, make_question_rows):
    ours, theirs = shifted
    mixed = pl.concat([ours, ours.with_columns(engine=pl.lit("lpm_opinion"))])
    rows = compare_scenarios(mixed, theirs, make_agents(120), make_question_rows())
    assert rows.equals(compare_scenarios(ours, theirs, make_agents(120), make_question_rows()))


def test_other_replicates_are_refused(shifted, make_agents, make_question_rows):
    ours, theirs = shifted
    with pytest.raises(ValueError, match="same replicate"):
        compare_scenarios(
            ours, theirs.with_columns(replicate=pl.lit(1, pl.Int32)), make_agents(120), make_question_rows()
        )


def test_a_baseline_that_asks_something_else_is_refused(shifted, make_agents, make_question_rows):
    ours, theirs = shifted
    with pytest.raises(ValueError, match="share no question"):
        compare_scenarios(
            ours, theirs.with_columns(question_id=pl.lit("other")), make_agents(120), make_question_rows()
        )
