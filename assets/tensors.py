"""Tables to tensors: how agents, ties and scenarios become what the engines read, in training and simulation alike.

One rule per table, so that a student meets in a simulation exactly what it was trained on; nothing reads the store.

Legend: N agents, A attributes, E ties, V events, O options, D text dimensions.
"""

from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from model.lsm.inputs import NEVER, Question, SocialGraph, Timeline, Trigger, empty_timeline
from validation.attributes import ATTRIBUTES, SOCIAL_TIE_TYPES
from validation.events import SOURCE_TYPES
from validation.exposure import exposed_agents

MODEL_ATTRIBUTES = tuple(attribute for attribute in ATTRIBUTES if attribute.name != "state")
"""What the engines know of an agent. The state of residence is left out: a panel of a few hundred agents holds most of
its 51 levels too rarely to learn from, and the region stays in."""


def attribute_levels() -> tuple[int, ...]:
    """Number of levels of each attribute, in the order of the attribute codes."""
    return tuple(len(attribute.levels) for attribute in MODEL_ATTRIBUTES)


def agents_to_tensor(agents: pl.DataFrame) -> Tensor:
    """The agents' attribute codes, int64 [N, A], in the order of the rows.

    A code is the position of the level in `validation.attributes`.

    Raises:
        ValueError: an attribute is missing, or holds null or a value that is no level.
    """
    columns = []
    for attribute in MODEL_ATTRIBUTES:
        if attribute.name not in agents.columns:
            raise ValueError(
                f"agents has no column {attribute.name}; found {', '.join(agents.columns)}. Pass rows of `agents`."
            )
        code_of = {level: code for code, level in enumerate(attribute.levels)}
        codes = agents[attribute.name].replace_strict(code_of, default=None, return_dtype=pl.Int64)
        if codes.null_count():
            strange = agents[attribute.name].filter(codes.is_null()).unique(maintain_order=True).head(5).to_list()
            raise ValueError(
                f"agents.{attribute.name} holds {strange}; levels: {', '.join(attribute.levels)}. "
                "Harmonise the survey's codebook with validation.attributes."
            )
        columns.append(torch.from_numpy(codes.to_numpy().copy()))
    return torch.stack(columns, dim=1)


def ties_to_graph(ties: pl.DataFrame, num_agents: int) -> SocialGraph:
    """The social ties as the engines read them: a destination-sorted CSR with int32 speakers and uint8 types.

    Rows of the table are in that order already, so that nothing is sorted again.

    Media ties carry events, not expressions, and ties of strength zero carry nothing: both are left out.

    Args:
        ties: rows of `ties` whose ends are positions 0…num_agents−1.
        num_agents: agents of the society, with or without ties.

    Raises:
        ValueError: an end of a tie is no agent.
    """
    social = ties.filter(pl.col("tie_type").is_in(SOCIAL_TIE_TYPES) & (pl.col("strength") > 0))
    src_E, dst_E = (social[end].to_numpy() for end in ("src", "dst"))
    code_E = social["tie_type"].cast(pl.Enum(SOCIAL_TIE_TYPES)).to_physical().cast(pl.UInt8).to_numpy()
    strength_E = social["strength"].to_numpy().astype(np.float32)
    highest = max((int(end_E.max()) for end_E in (src_E, dst_E) if len(end_E)), default=-1)
    if highest >= num_agents:
        raise ValueError(
            f"ties name agent {highest}, but the society has {num_agents} agents (0…{num_agents - 1}). "
            "Pass ties of the same society; use `induced_ties` for a part of it."
        )
    if not _is_sorted(dst_E, src_E):
        order_E = np.lexsort((code_E, src_E, dst_E))
        src_E, dst_E, code_E, strength_E = (column[order_E] for column in (src_E, dst_E, code_E, strength_E))
    offsets_N1 = np.concatenate([[0], np.cumsum(np.bincount(dst_E, minlength=num_agents))]).astype(np.int64)
    return SocialGraph(
        offsets_N1=torch.from_numpy(offsets_N1),
        src_E=torch.from_numpy(src_E.astype(np.int32)),
        tie_type_E=torch.from_numpy(code_E.copy()),
        strength_E=torch.from_numpy(strength_E),
    )


def _is_sorted(dst_E: np.ndarray, src_E: np.ndarray) -> bool:
    """Whether ties come in the order of dst and then src, as the table stores them, each pair once."""
    step_E = np.diff(dst_E)
    return bool(((step_E > 0) | ((step_E == 0) & (np.diff(src_E) > 0))).all())


def induced_ties(ties: pl.DataFrame, agent_ids: np.ndarray) -> pl.DataFrame:
    """The social ties among some agents, their ends renumbered to the agents' positions in `agent_ids`.

    Args:
        ties: rows of `ties`.
        agent_ids: different agent ids, in the order the part of the society is to have.
    """
    position = pl.DataFrame(
        {"agent_id": agent_ids.astype(np.int32), "position": np.arange(len(agent_ids), dtype=np.int32)}
    )
    return (
        ties.with_columns(pl.col("src", "dst").cast(pl.Int32))
        .filter(pl.col("tie_type").is_in(SOCIAL_TIE_TYPES))
        .join(position.rename({"agent_id": "src", "position": "new_src"}), on="src", how="inner")
        .join(position.rename({"agent_id": "dst", "position": "new_dst"}), on="dst", how="inner")
        .select(pl.col("new_src").alias("src"), pl.col("new_dst").alias("dst"), "tie_type", "strength")
        .sort("dst", "src", "tie_type")
    )


def exposure_mask(
    events: pl.DataFrame, agents: pl.DataFrame, ties: pl.DataFrame, media_sources: pl.DataFrame, seed: int
) -> Tensor:
    """Whom each event reaches, bool [V, N]: predicate, followers of the channel, and reach.

    Args:
        events: rows of `scenarios` of kind event or trigger.
        agents: rows of `agents`, any part of the population, in the order wanted.
        ties: rows of `ties`, ends in agent ids.
        media_sources: rows of `media_sources`.
        seed: seed of the replicate; the same for a scenario and its baseline.
    """
    masks = [exposed_agents(event, agents, ties, media_sources, seed) for event in events.iter_rows(named=True)]
    if not masks:
        return torch.zeros(0, agents.height, dtype=torch.bool)
    return torch.from_numpy(np.stack(masks))


def scenario_to_timeline(
    scenario_rows: pl.DataFrame,
    agents: pl.DataFrame,
    ties: pl.DataFrame,
    media_sources: pl.DataFrame,
    max_timesteps: int,
    seed: int,
) -> tuple[Timeline, list[Question], list[Trigger], int]:
    """A scenario as a rollout reads it.

    Args:
        scenario_rows: the rows of one scenario.
        agents: agents of the rollout, in its order.
        ties: rows of `ties`, ends in agent ids; only media ties matter here.
        media_sources: rows of `media_sources`.
        max_timesteps: cap on the timesteps that the scenario asks for.
        seed: seed of the replicate, which fixes whom events reach.

    Returns:
        Events in file order followed by trigger events that have not begun; questions; triggers; timesteps to simulate
        after the initial state.

    Raises:
        ValueError: rows of several scenarios, or a trigger that watches an unknown question or option.
    """
    scenario_id = single_scenario_id(scenario_rows)
    question_rows = scenario_rows.filter(pl.col("kind") == "question").sort("position")
    trigger_rows = scenario_rows.filter(pl.col("kind") == "trigger").sort("position")
    events = pl.concat([scenario_rows.filter(pl.col("kind") == "event").sort("position"), trigger_rows])
    questions = [row_to_question(row) for row in question_rows.iter_rows(named=True)]
    exposure_VN = exposure_mask(events, agents, ties, media_sources, seed)
    start_V = events["timestep"].cast(pl.Int64).fill_null(NEVER).to_list()
    text_dim = len(scenario_rows["text_embedding"][0])
    timeline = events_to_timeline(events, start_V, events["duration"].to_list(), exposure_VN, text_dim)
    first_trigger = events.height - trigger_rows.height
    options_of = {row["name"]: row["options"] for row in question_rows.iter_rows(named=True)}
    triggers = [
        _row_to_trigger(row, first_trigger + number, options_of, scenario_id)
        for number, row in enumerate(trigger_rows.iter_rows(named=True))
    ]
    return timeline, questions, triggers, min(int(scenario_rows["num_timesteps"][0]), max_timesteps)


def events_to_timeline(
    events: pl.DataFrame, start_V: list[int], duration_V: list[int], exposure_VN: Tensor, text_dim: int
) -> Timeline:
    """Event rows with their times and audiences as a timeline, in the order of the rows.

    Args:
        events: rows of `scenarios` of kind event or trigger.
        start_V: first active timestep, or NEVER.
        duration_V: timesteps for which each stays active.
        exposure_VN: whom each reaches.
        text_dim: length of the text embeddings, known also where there is no event.
    """
    if events.is_empty():
        return empty_timeline(exposure_VN.shape[1], text_dim)
    source_code = {source_type: code for code, source_type in enumerate(SOURCE_TYPES)}
    return Timeline(
        embedding_VD=torch.tensor(events["text_embedding"].to_list(), dtype=torch.float32),
        valence_V=torch.tensor(events["valence"].to_list(), dtype=torch.float32),
        credibility_V=torch.tensor(events["credibility"].to_list(), dtype=torch.float32),
        source_type_V=torch.tensor([source_code[name] for name in events["source_type"]], dtype=torch.int64),
        start_V=torch.tensor(start_V, dtype=torch.int64),
        duration_V=torch.tensor(duration_V, dtype=torch.int64),
        exposure_VN=exposure_VN,
    )


def row_to_question(row: dict[str, Any]) -> Question:
    """A question row of `scenarios` as the readout reads it."""
    return Question(
        question_id=row["name"],
        embedding_D=torch.tensor(row["text_embedding"], dtype=torch.float32),
        option_embeddings_OD=torch.tensor(row["option_embeddings"], dtype=torch.float32),
        option_scores_O=torch.tensor(row["option_scores"], dtype=torch.float32),
        is_ordinal=row["scale"] == "ordinal",
    )


def single_scenario_id(scenario_rows: pl.DataFrame) -> str:
    """The scenario that the rows belong to.

    Raises:
        ValueError: the rows belong to none or to several.
    """
    scenario_ids = scenario_rows["scenario_id"].unique().sort().to_list()
    if len(scenario_ids) != 1:
        raise ValueError(
            f"Expected the rows of one scenario, found {len(scenario_ids)}: {', '.join(scenario_ids) or 'none'}. "
            "Filter the scenarios table by scenario_id."
        )
    return scenario_ids[0]


def _row_to_trigger(
    row: dict[str, Any], event_index: int, options_of: dict[str, list[str]], scenario_id: str
) -> Trigger:
    question, option = row["trigger_question"], row["trigger_option"]
    if option not in options_of.get(question, []):
        allowed = "; ".join(f"{name}: {', '.join(options)}" for name, options in options_of.items())
        raise ValueError(
            f"Trigger {row['name']} of scenario {scenario_id} watches option {option!r} of question {question!r}; "
            f"the scenario has {allowed}. Correct the scenario file."
        )
    return Trigger(
        event_index=event_index,
        question_index=list(options_of).index(question),
        option_index=options_of[question].index(option),
        share_above=float(row["share_above"]),
        hold_for=int(row["hold_for"]),
        rearm_below=row["rearm_below"],
    )
