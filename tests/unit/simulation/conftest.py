"""Small tables that the simulation room reads: agents, scenario rows and trajectories made by hand."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
import torch

from assets.tensors import attribute_levels
from model.lsm.config import LSMConfig
from model.lsm.lsm import LSM
from validation.attributes import AGE_GROUP_BOUNDS, ATTRIBUTES, REGION_OF_STATE, SOCIAL_TIE_TYPES
from validation.channels import channel_names
from validation.contracts import CONTRACTS

OPTIONS = ("support", "oppose", "unsure")
TEXT_DIM = 8


def _schema(table: str) -> dict:
    return {name: column.dtype.type for name, column in CONTRACTS[table].columns.items()}


@pytest.fixture
def make_agents() -> Callable[..., pl.DataFrame]:
    def make(num_agents: int, *, num_donors: int | None = None, seed: int = 1) -> pl.DataFrame:
        generator = np.random.default_rng(seed)
        columns = {attribute.name: generator.choice(attribute.levels, num_agents) for attribute in ATTRIBUTES}
        columns["region"] = [REGION_OF_STATE[state] for state in columns["state"]]
        frame = pl.DataFrame(
            {
                "agent_id": np.arange(num_agents),
                "household_id": np.arange(num_agents),
                "respondent_id": [f"survey-2016-{i % (num_donors or num_agents)}" for i in range(num_agents)],
                "geography": [f"US-{state}" for state in columns["state"]],
                "age": [AGE_GROUP_BOUNDS[group][0] for group in columns["age_group"]],
                **columns,
                "imputed_attributes": [[] for _ in range(num_agents)],
            },
            schema=_schema("agents"),
        )
        return CONTRACTS["agents"].validate(frame)

    return make


@pytest.fixture
def make_question_rows() -> Callable[..., pl.DataFrame]:
    def make(scenario_id: str = "charge", options: tuple[str, ...] = OPTIONS, baseline: str | None = None):
        row = dict.fromkeys(_schema("scenarios")) | {
            "scenario_id": scenario_id,
            "kind": "question",
            "name": "support",
            "position": 0,
            "text": "Do you support it?",
            "options": list(options),
            "option_scores": np.linspace(1, -1, len(options)).tolist(),
            "scale": "nominal",
            "num_timesteps": 2,
            "timestep_unit": "week",
            "baseline": baseline,
            "content_hash": "0",
            "text_encoder": "none",
            "text_embedding": [0.0],
        }
        return pl.DataFrame([row], schema=_schema("scenarios"))

    return make


@pytest.fixture
def make_trajectories() -> Callable[..., pl.DataFrame]:
    """Rows of one partition from probabilities given as an array over timestep, agent and option."""

    def make(
        probability_TNO: np.ndarray,
        *,
        scenario_id: str = "charge",
        replicate: int = 0,
        engine: str = "lsm",
        channels_NK: np.ndarray | None = None,
        options: tuple[str, ...] = OPTIONS,
    ) -> pl.DataFrame:
        num_timesteps, num_agents, _ = probability_TNO.shape
        channels_NK = np.zeros((num_agents, len(channel_names()))) if channels_NK is None else channels_NK
        rows = [
            {
                "scenario_id": scenario_id,
                "replicate": replicate,
                "engine": engine,
                "model_version": 1,
                "agent_id": agent,
                "timestep": timestep,
                "question_id": "support",
                "channels": channels_NK[agent].tolist(),
                "latent_summary": [0.0, 0.0, 0.0],
                "conviction": 0.5,
                "option_probabilities": probability_TNO[timestep, agent].tolist(),
                "decision": options[int(probability_TNO[timestep, agent].argmax())],
                "expression": [0.0],
            }
            for timestep in range(num_timesteps)
            for agent in range(num_agents)
        ]
        return CONTRACTS["trajectories"].validate(pl.DataFrame(rows, schema=_schema("trajectories")))

    return make


@pytest.fixture
def student() -> LSM:
    """A small student with random weights, large enough that events and peers matter."""
    torch.manual_seed(11)
    model = LSM(
        LSMConfig(
            attribute_levels=attribute_levels(), text_dim=TEXT_DIM, num_channels=len(channel_names()), hidden_dim=16
        )
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.0)
    return model


@pytest.fixture
def make_ties() -> Callable[..., pl.DataFrame]:
    """Random social ties, sorted by the agent that hears, and one media source that even agents follow."""

    def make(num_agents: int, *, ties_per_agent: int = 4, seed: int = 2) -> pl.DataFrame:
        generator = np.random.default_rng(seed)
        dst_E = np.repeat(np.arange(num_agents), ties_per_agent)
        src_E = (dst_E + generator.integers(1, num_agents, len(dst_E))) % num_agents
        social = pl.DataFrame(
            {
                "src": src_E,
                "dst": dst_E,
                "tie_type": generator.choice(SOCIAL_TIE_TYPES, len(dst_E)),
                "strength": generator.uniform(0.1, 1.0, len(dst_E)),
            },
            schema=_schema("ties"),
        ).unique(["src", "dst", "tie_type"])
        followers = np.arange(0, num_agents, 2)
        media = pl.DataFrame(
            {"src": 0 * followers, "dst": followers, "tie_type": "media", "strength": 1.0}, schema=_schema("ties")
        )
        return CONTRACTS["ties"].validate(pl.concat([social, media]).sort("dst", "src", "tie_type"))

    return make


@pytest.fixture
def media_sources() -> pl.DataFrame:
    row = {
        "source_id": 0,
        "name": "the gazette",
        "source_type": "local_newspaper",
        "reach": 0.5,
        "audience": "age >= 18",
        "num_followers": 1,
    }
    return pl.DataFrame([row], schema=_schema("media_sources"))


@pytest.fixture
def make_scenario_rows() -> Callable[..., pl.DataFrame]:
    """A scenario with a broadcast at timestep 1, a newspaper story at 2 and a trigger that fires as soon as it may."""

    def make(
        scenario_id: str = "charge", *, has_events: bool = True, where: str | None = None, **event
    ) -> pl.DataFrame:
        generator = np.random.default_rng(11)

        def text() -> list[float]:
            vector = generator.normal(size=TEXT_DIM)
            return (vector / np.linalg.norm(vector)).tolist()

        shared = {
            "scenario_id": scenario_id,
            "num_timesteps": 4,
            "timestep_unit": "week",
            "population_where": where,
            "baseline": None if scenario_id == "status-quo" else "status-quo",
            "content_hash": "0",
            "text_encoder": "none",
            "position": 0,
        }
        question = {
            "kind": "question",
            "name": "support",
            "text": "Do you support it?",
            "options": list(OPTIONS),
            "option_scores": [1.0, -1.0, 0.0],
            "scale": "nominal",
            "text_embedding": text(),
            "option_embeddings": [text() for _ in OPTIONS],
        }
        message = {
            "text": "It is announced.",
            "source_type": "government",
            "source_name": "city hall",
            "framing": "order",
            "valence": 0.5,
            "credibility": 0.6,
            "reach": 0.7,
            "duration": 2,
        }
        announcement = message | {
            "kind": "event",
            "name": "announcement",
            "timestep": 1,
            "channel": "broadcast",
            "text_embedding": text(),
            "unframed_embedding": text(),
            "intervention_fields": ["credibility", "exposure.reach"],
            "intervention_values": [[0.2, 0.9], [0.3, 0.7, 1.0]],
        }
        story = message | {
            "kind": "event",
            "name": "story",
            "position": 1,
            "timestep": 2,
            "channel": "local_newspaper",
            "valence": -0.8,
            "framing": None,
            "text_embedding": text(),
        }
        backlash = message | {
            "kind": "trigger",
            "name": "backlash",
            "channel": "broadcast",
            "text_embedding": text(),
            "trigger_question": "support",
            "trigger_option": "oppose",
            "share_above": 0.0,
            "hold_for": 2,
        }
        parts = [question, announcement | event, story, backlash] if has_events else [question]
        rows = [dict.fromkeys(_schema("scenarios")) | shared | part for part in parts]
        return CONTRACTS["scenarios"].validate(pl.DataFrame(rows, schema=_schema("scenarios")))

    return make
