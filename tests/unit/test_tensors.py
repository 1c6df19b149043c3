"""Tables to tensors."""

import numpy as np
import polars as pl
import pytest
import torch

from assets.tensors import (
    MODEL_ATTRIBUTES,
    agents_to_tensor,
    attribute_levels,
    exposure_mask,
    induced_ties,
    scenario_to_timeline,
    ties_to_graph,
)
from model.lsm.inputs import NEVER
from validation.contracts import CONTRACTS
from validation.events import SOURCE_TYPES
from validation.exposure import exposed_agents


def _table(name: str, rows: list[dict]) -> pl.DataFrame:
    columns = CONTRACTS[name].columns
    empty = dict.fromkeys(columns)
    return pl.DataFrame(
        [{**empty, **row} for row in rows], schema={key: column.dtype.type for key, column in columns.items()}
    )


@pytest.fixture
def agents() -> pl.DataFrame:
    """Four agents: agent i has the level i (modulo) of every attribute."""
    return pl.DataFrame(
        {
            "agent_id": [0, 1, 2, 3],
            "household_id": [0, 0, 1, 2],
            "age": [20, 35, 50, 71],
            "state": ["NY"] * 4,
            **{item.name: [item.levels[i % len(item.levels)] for i in range(4)] for item in MODEL_ATTRIBUTES},
        }
    )


@pytest.fixture
def ties() -> pl.DataFrame:
    """0 ↔ 2, 3 → 2, a silent tie, and a media tie from source 1 to agent 3."""
    return _table(
        "ties",
        [
            {"src": 3, "dst": 2, "tie_type": "weak", "strength": 0.2},
            {"src": 0, "dst": 2, "tie_type": "friend", "strength": 0.5},
            {"src": 2, "dst": 0, "tie_type": "friend", "strength": 0.5},
            {"src": 1, "dst": 0, "tie_type": "weak", "strength": 0.0},
            {"src": 1, "dst": 3, "tie_type": "media", "strength": 1.0},
        ],
    )


@pytest.fixture
def media_sources() -> pl.DataFrame:
    """Source 1 is a local newspaper."""
    source = {"source_id": 1, "name": "paper", "source_type": "local_newspaper", "reach": 1.0}
    return _table("media_sources", [{**source, "audience": "age > 0", "num_followers": 1}])


@pytest.fixture
def scenario() -> pl.DataFrame:
    """One question, a broadcast and a newspaper event, and a trigger."""
    shared = {"scenario_id": "s", "num_timesteps": 9, "timestep_unit": "week", "text_embedding": [0.1, 0.2]}
    event = {"duration": 2, "source_type": "expert", "valence": 0.5, "credibility": 0.4, "reach": 1.0}
    return _table(
        "scenarios",
        [
            {
                **shared,
                "kind": "trigger",
                "name": "late",
                "position": 0,
                **event,
                "channel": "broadcast",
                "trigger_question": "q",
                "trigger_option": "no",
                "share_above": 0.6,
                "rearm_below": 0.25,
                "hold_for": 2,
            },
            {**shared, "kind": "event", "name": "b", "position": 1, "timestep": 4, **event, "channel": "broadcast"},
            {
                **shared,
                "kind": "event",
                "name": "a",
                "position": 0,
                "timestep": 1,
                **event,
                "channel": "local_newspaper",
            },
            {
                **shared,
                "kind": "question",
                "name": "q",
                "position": 0,
                "options": ["yes", "no"],
                "option_scores": [1.0, -1.0],
                "scale": "nominal",
                "option_embeddings": [[0.3, 0.4], [0.5, 0.6]],
            },
        ],
    )


def test_codes_are_positions_of_levels(agents: pl.DataFrame) -> None:
    expected = [[row % levels for levels in attribute_levels()] for row in range(4)]
    assert agents_to_tensor(agents).tolist() == expected
    assert "state" not in [item.name for item in MODEL_ATTRIBUTES]


def test_an_unknown_level_is_named_with_the_allowed_ones(agents: pl.DataFrame) -> None:
    strange = agents.with_columns(pl.lit("whig").alias("party"))
    with pytest.raises(ValueError, match=r"party.*whig.*democrat, independent, republican"):
        agents_to_tensor(strange)


def test_graph_holds_social_ties_by_listener(ties: pl.DataFrame) -> None:
    graph = ties_to_graph(ties, 4)
    assert graph.offsets_N1.tolist() == [0, 1, 1, 3, 3]
    assert graph.src_E.tolist() == [2, 0, 3]
    assert graph.tie_type_E.tolist() == [1, 1, 3]
    assert graph.strength_E.tolist() == pytest.approx([0.5, 0.5, 0.2])


def test_ties_of_a_larger_society_are_refused(ties: pl.DataFrame) -> None:
    with pytest.raises(ValueError, match="agent 3, but the society has 3 agents"):
        ties_to_graph(ties, 3)


def test_a_society_without_ties_has_an_empty_graph(ties: pl.DataFrame) -> None:
    assert ties_to_graph(ties.clear(), 4).num_ties == 0


def test_induced_ties_are_renumbered_and_leave_others_out(ties: pl.DataFrame) -> None:
    part = induced_ties(ties, np.array([2, 0]))
    assert part.select("src", "dst").rows() == [(1, 0), (0, 1)]


def test_a_scenario_becomes_events_in_order_then_triggers(
    scenario: pl.DataFrame, agents: pl.DataFrame, ties: pl.DataFrame, media_sources: pl.DataFrame
) -> None:
    timeline, questions, triggers, num_timesteps = scenario_to_timeline(
        scenario, agents, ties, media_sources, max_timesteps=5, seed=1
    )
    assert num_timesteps == 5
    assert timeline.start_V.tolist() == [1, 4, NEVER]
    assert timeline.duration_V.tolist() == [2, 2, 2]
    assert timeline.source_type_V.tolist() == [SOURCE_TYPES.index("expert")] * 3
    assert timeline.exposure_VN.tolist() == [[False, False, False, True], [True] * 4, [True] * 4]
    assert [question.question_id for question in questions] == ["q"]
    (trigger,) = triggers
    assert (trigger.event_index, trigger.question_index, trigger.option_index) == (2, 0, 1)
    assert (trigger.share_above, trigger.rearms_at, trigger.hold_for) == (0.6, 0.25, 2)


def test_a_quiet_scenario_has_an_empty_timeline_of_the_texts_length(
    scenario: pl.DataFrame, agents: pl.DataFrame, ties: pl.DataFrame, media_sources: pl.DataFrame
) -> None:
    quiet = scenario.filter(pl.col("kind") == "question")
    timeline, _, triggers, _ = scenario_to_timeline(quiet, agents, ties, media_sources, max_timesteps=5, seed=1)
    assert timeline.embedding_VD.shape == (0, 2)
    assert triggers == []


def test_rows_of_two_scenarios_are_refused(
    scenario: pl.DataFrame, agents: pl.DataFrame, ties: pl.DataFrame, media_sources: pl.DataFrame
) -> None:
    both = pl.concat([scenario, scenario.with_columns(pl.lit("t").alias("scenario_id"))])
    with pytest.raises(ValueError, match="found 2: s, t"):
        scenario_to_timeline(both, agents, ties, media_sources, max_timesteps=5, seed=1)


def test_a_trigger_on_an_unknown_option_is_refused(
    scenario: pl.DataFrame, agents: pl.DataFrame, ties: pl.DataFrame, media_sources: pl.DataFrame
) -> None:
    broken = scenario.with_columns(pl.lit("maybe").alias("trigger_option"))
    with pytest.raises(ValueError, match=r"'maybe' of question 'q'.*yes, no"):
        scenario_to_timeline(broken, agents, ties, media_sources, max_timesteps=5, seed=1)


def test_exposure_is_the_rule_shared_with_elicitation(
    scenario: pl.DataFrame, agents: pl.DataFrame, ties: pl.DataFrame, media_sources: pl.DataFrame
) -> None:
    events = scenario.filter(pl.col("kind") != "question").with_columns(pl.lit(0.5).alias("reach"))
    mask = exposure_mask(events, agents, ties, media_sources, seed=4)
    for row, event in zip(mask, events.iter_rows(named=True), strict=True):
        assert row.tolist() == exposed_agents(event, agents, ties, media_sources, 4).tolist()
    assert mask.dtype == torch.bool
