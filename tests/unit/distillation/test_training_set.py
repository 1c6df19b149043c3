"""Traces as a training set."""

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
import torch

from assets.distillation.teacher_rollouts import TrainingSetError
from assets.distillation.training_set import TrainingSet, build_training_set, split_agents
from model.kernels.segments import listeners
from validation.channels import channel_names

if TYPE_CHECKING:
    from .conftest import Panel

STANCE = channel_names().index("identity_alignment")


def test_targets_stand_at_their_agent_and_timestep(panel: "Panel", training_set: TrainingSet) -> None:
    row = panel.traces.filter(
        (pl.col("scenario_id") == "campaign") & (pl.col("agent_id") == 11) & (pl.col("timestep") == 4)
    ).row(0, named=True)
    rollout = training_set.rollouts[0]
    assert rollout.scenario_id == "campaign"
    assert rollout.channels_TPK[4, 11, STANCE].item() == pytest.approx(row["channels"][STANCE])
    assert rollout.targets[0].first_draw_TPO[4, 11].tolist() == pytest.approx(row["option_probabilities"], abs=1e-6)
    assert rollout.conviction_TP[4, 11].item() == pytest.approx(row["conviction"])


def test_failed_answers_are_missing_and_others_are_not(training_set: TrainingSet) -> None:
    missing = training_set.rollouts[0].channels_TPK.isnan().any(2)
    assert missing.nonzero().tolist() == [[3, 7]]


def test_exposures_are_those_that_the_traces_record(panel: "Panel", training_set: TrainingSet) -> None:
    timeline = training_set.rollouts[0].timeline
    reached = panel.traces.filter(
        (pl.col("scenario_id") == "campaign") & (pl.col("timestep") == 2) & (pl.col("exposures").list.len() > 0)
    )["agent_id"]
    assert (timeline.start_V.tolist(), timeline.duration_V.tolist()) == ([2], [2])
    assert torch.nonzero(timeline.exposure_VN[0])[:, 0].tolist() == sorted(reached)
    assert training_set.rollouts[1].timeline.num_events == 0


def test_option_probabilities_are_averaged_over_draws(panel: "Panel") -> None:
    is_redrawn = (pl.col("scenario_id") == "quiet") & (pl.col("agent_id") == 0) & (pl.col("timestep") == 1)
    redraw = panel.traces.filter(is_redrawn).with_columns(
        pl.lit(1, dtype=pl.Int32).alias("draw"),
        pl.Series("option_probabilities", [[0.0, 0.0, 1.0]], dtype=pl.List(pl.Float64)),
    )
    traces = pl.concat([panel.traces, redraw])
    made = build_training_set(panel.agents, panel.ties, panel.media_sources, panel.scenarios, traces, 3)
    target = made.rollouts[1].targets[0]
    expected = (target.first_draw_TPO[1, 0] + torch.tensor([0.0, 0.0, 1.0])) / 2
    assert torch.allclose(target.probability_TPO[1, 0], expected)


def test_the_split_is_by_agent_disjoint_and_seeded(training_set: TrainingSet) -> None:
    parts = torch.stack([training_set.is_held_out_P, training_set.is_validation_P, training_set.is_training_P])
    assert (parts.sum(0) == 1).all()
    assert int(training_set.is_held_out_P.sum()) == round(0.2 * training_set.num_agents)
    assert torch.equal(split_agents(60, 3)[0], split_agents(60, 3)[0])
    assert not torch.equal(split_agents(60, 3)[0], split_agents(60, 4)[0])


def test_the_graph_is_that_of_the_panel(panel: "Panel") -> None:
    some = np.arange(0, 60, 2)
    traces = panel.traces.filter(pl.col("agent_id").is_in(some))
    made = build_training_set(panel.agents, panel.ties, panel.media_sources, panel.scenarios, traces, 3)
    assert made.agent_ids == some.tolist()
    pairs = set(
        zip(made.graph.src_E.tolist(), listeners(made.graph.offsets_N1, made.graph.num_ties).tolist(), strict=True)
    )
    expected = {(src // 2, dst // 2) for src, dst in panel.ties.select("src", "dst").rows() if src % 2 == dst % 2 == 0}
    assert pairs == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda traces: traces.clear(), "is empty"),
        (
            lambda traces: traces.with_columns(
                pl.when(pl.col("agent_id") > 5).then(pl.lit("other")).otherwise("model").alias("model")
            ),
            "mixes answers of 2 teachers",
        ),
        (lambda traces: traces.with_columns(pl.col("agent_id") + 5), "agents \\[60, 61, 62, 63, 64\\]"),
        (lambda traces: traces.filter(pl.col("agent_id") < 4), "at least 10"),
        (lambda traces: traces.with_columns(pl.lit("gone").alias("scenario_id")), "'gone'.*campaign, quiet"),
        (lambda traces: traces.with_columns(pl.lit("gone").alias("question_id")), "questions \\['gone'\\].*support"),
        (lambda traces: traces.with_columns(pl.lit(["gone"]).alias("exposures")), "events \\['gone'\\].*speech"),
    ],
)
def test_traces_that_do_not_fit_are_refused(panel: "Panel", change, message: str) -> None:
    with pytest.raises(TrainingSetError, match=message):
        build_training_set(panel.agents, panel.ties, panel.media_sources, panel.scenarios, change(panel.traces), 3)
