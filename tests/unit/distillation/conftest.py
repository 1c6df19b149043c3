"""A small society with a teacher of a known law, so that what a student must learn is known.

The law: a hidden stance starts from party and a personal part; an event adds its push to whoever it reaches; agents
move towards the mean stance of those they hear. The channel identity_alignment is the stance, answers are read from it.
"""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pytest

from assets.distillation.distil import Distilled, distil
from assets.distillation.schedule import TrainingSettings
from assets.distillation.training_set import TrainingSet, build_training_set
from validation.attributes import ATTRIBUTES
from validation.channels import channel_names
from validation.contracts import CONTRACTS

NUM_AGENTS = 60
NUM_STEPS = 5
TEXT_DIM = 64
SHORT_STEPS = TrainingSettings(travel=0.2)
"""So few rollouts make few steps; at the usual travel these would be too long."""
STANCE_CHANNEL = channel_names().index("identity_alignment")


@dataclass(frozen=True)
class Panel:
    """The tables of the small society."""

    agents: pl.DataFrame
    ties: pl.DataFrame
    media_sources: pl.DataFrame
    scenarios: pl.DataFrame
    traces: pl.DataFrame

    def training_set(self, seed: int = 3) -> TrainingSet:
        """The training set that these tables make."""
        return build_training_set(self.agents, self.ties, self.media_sources, self.scenarios, self.traces, seed)

    def of_its_own_question(self, num_timesteps: int) -> TrainingSet:
        """The panel's two scenarios, of which the quiet one asks something else and ends earlier."""
        is_quiet = pl.col("scenario_id") == "quiet"
        other = pl.col("text_embedding").list.reverse()
        scenarios = self.scenarios.with_columns(
            pl.when(is_quiet).then(pl.lit("other")).otherwise("name").alias("name"),
            pl.when(is_quiet).then(other).otherwise("text_embedding").alias("text_embedding"),
            pl.when(is_quiet).then(num_timesteps).otherwise("num_timesteps").cast(pl.Int32).alias("num_timesteps"),
        )
        traces = self.traces.filter(~is_quiet | (pl.col("timestep") <= num_timesteps)).with_columns(
            pl.when(is_quiet).then(pl.lit("other")).otherwise("question_id").alias("question_id")
        )
        return replace(self, scenarios=scenarios, traces=traces).training_set()


@pytest.fixture(scope="session")
def panel() -> Panel:
    """Sixty agents, two scenarios (one with an event) and six timesteps."""
    rng = np.random.default_rng(5)
    agents = _agents(rng)
    ties = _ties(rng)
    scenarios = _scenarios(rng)
    traces = pl.concat([_traces(agents, ties, scenario_id, rng) for scenario_id in ("campaign", "quiet")])
    for name, frame in (("agents", agents), ("ties", ties), ("scenarios", scenarios), ("reasoning_traces", traces)):
        CONTRACTS[name].validate(frame)
    media_sources = pl.DataFrame(schema={name: column.dtype.type for name, column in _columns("media_sources").items()})
    return Panel(agents, ties, media_sources, scenarios, traces)


@pytest.fixture(scope="session")
def training_set(panel: Panel) -> TrainingSet:
    """The panel's training set; nothing may change it."""
    return panel.training_set()


def _columns(table: str) -> dict:
    return CONTRACTS[table].columns


def _schema(table: str) -> dict:
    return {name: column.dtype.type for name, column in _columns(table).items()}


def _agents(rng: np.random.Generator) -> pl.DataFrame:
    levels = {item.name: rng.choice(np.array(item.levels), NUM_AGENTS).tolist() for item in ATTRIBUTES}
    return pl.DataFrame(
        {
            "agent_id": range(NUM_AGENTS),
            "household_id": range(NUM_AGENTS),
            "respondent_id": [f"r{number}" for number in range(NUM_AGENTS)],
            "geography": ["US-NY"] * NUM_AGENTS,
            "age": [40] * NUM_AGENTS,
            **levels,
            "imputed_attributes": [[] for _ in range(NUM_AGENTS)],
        },
        schema=_schema("agents"),
    )


def _ties(rng: np.random.Generator) -> pl.DataFrame:
    pairs = {(int(a), int(b)) for a, b in rng.integers(0, NUM_AGENTS, (3 * NUM_AGENTS, 2)) if a < b}
    both = sorted({*pairs, *((b, a) for a, b in pairs)})
    return pl.DataFrame(
        {
            "src": [src for src, _ in both],
            "dst": [dst for _, dst in both],
            "tie_type": ["friend"] * len(both),
            "strength": [0.8] * len(both),
        },
        schema=_schema("ties"),
    ).sort("dst", "src")


def _scenarios(rng: np.random.Generator) -> pl.DataFrame:
    def text() -> list[float]:
        vector = rng.normal(size=TEXT_DIM)
        return (vector / np.linalg.norm(vector)).tolist()

    question_text, option_texts = text(), [text() for _ in range(3)]
    rows = []
    for scenario_id in ("campaign", "quiet"):
        shared = {
            **dict.fromkeys(_columns("scenarios")),
            "scenario_id": scenario_id,
            "num_timesteps": NUM_STEPS,
            "timestep_unit": "week",
            "content_hash": scenario_id,
            "text_encoder": "random",
            "text_embedding": text(),
            "text": scenario_id,
            "baseline": "quiet" if scenario_id == "campaign" else None,
        }
        question = {
            "kind": "question",
            "name": "support",
            "position": 0,
            "options": ["for", "neither", "against"],
            "option_scores": [1.0, 0.0, -1.0],
            "scale": "ordinal",
            "text_embedding": question_text,
            "option_embeddings": option_texts,
        }
        rows.append({**shared, **question})
        if scenario_id == "campaign":
            event = {
                "kind": "event",
                "name": "speech",
                "position": 0,
                "timestep": 2,
                "duration": 2,
                "source_type": "expert",
                "channel": "broadcast",
                "valence": 0.8,
                "credibility": 0.7,
                "reach": 0.7,
            }
            rows.append({**shared, **event})
    return pl.DataFrame(rows, schema=_schema("scenarios"))


def teacher_probabilities(stance: np.ndarray) -> np.ndarray:
    """The law's answers: options at 1, 0 and −1, nearer ones likelier; shape [..., 3]."""
    logits = -3.0 * (stance[..., None] - np.array([1.0, 0.0, -1.0])) ** 2
    weight = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weight / weight.sum(axis=-1, keepdims=True)


def _traces(agents: pl.DataFrame, ties: pl.DataFrame, scenario_id: str, rng: np.random.Generator) -> pl.DataFrame:
    party = agents["party"].replace_strict({"democrat": 0.6, "independent": 0.0, "republican": -0.6}).to_numpy()
    stance = np.clip(party + np.random.default_rng(17).normal(0, 0.25, NUM_AGENTS), -0.9, 0.9)
    hears = np.zeros((NUM_AGENTS, NUM_AGENTS))
    hears[ties["dst"].to_numpy(), ties["src"].to_numpy()] = 1.0
    degree = hears.sum(axis=1)
    is_reached = np.random.default_rng(23).random(NUM_AGENTS) < 0.7
    rows = []
    for timestep in range(NUM_STEPS + 1):
        is_exposed = is_reached & (scenario_id == "campaign") & (timestep in (2, 3))
        if timestep:
            heard = np.where(degree > 0, hears @ stance / np.maximum(degree, 1), stance)
            stance = np.clip(stance + 0.3 * (heard - stance) + 0.25 * is_exposed, -0.95, 0.95)
        channels = np.clip(rng.normal(0, 0.02, (NUM_AGENTS, len(channel_names()))), -1, 1)
        channels[:, STANCE_CHANNEL] = stance
        probabilities = teacher_probabilities(stance)
        for agent in range(NUM_AGENTS):
            key = f"{scenario_id}/{agent}/{timestep}"
            has_failed = agent == 7 and timestep == 3
            answer = {
                "channels": channels[agent].tolist(),
                "option_probabilities": probabilities[agent].tolist(),
                "conviction": abs(float(stance[agent])),
                "private_stance": float(stance[agent]),
                "public_stance": float(stance[agent]),
                "memory_salience": 0.5 if is_exposed[agent] else 0.2,
            }
            rows.append(
                {
                    **dict.fromkeys(_columns("reasoning_traces")),
                    "custom_id": key,
                    "kind": "rollout",
                    "scenario_id": scenario_id,
                    "question_id": "support",
                    "agent_id": agent,
                    "timestep": timestep,
                    "draw": 0,
                    "repeat_group": key,
                    "state_before": [],
                    "exposures": ["speech"] if is_exposed[agent] else [],
                    "neighbour_ids": [],
                    "neighbour_statements": [],
                    "retrieved_memories": [],
                    **(dict.fromkeys(answer) if has_failed else answer),
                    "teacher": "law",
                    "model": "known-law",
                    "prompt_hash": "none",
                    "schema_hash": "none",
                    "seed": 0,
                    "prompt_tokens": 0,
                    "cached_tokens": 0,
                    "completion_tokens": 0,
                    "cost_usd": 0.0,
                    "latency_ms": 0.0,
                    "is_refusal": False,
                    "validation_status": "failed" if has_failed else "valid",
                }
            )
    return pl.DataFrame(rows, schema=_schema("reasoning_traces"))


@pytest.fixture(scope="session")
def distilled(panel: Panel) -> Distilled:
    """A student of the known law with everything found out about it; nothing may change it."""
    tables = (panel.agents, panel.ties, panel.media_sources, panel.scenarios, panel.traces)
    return distil(*tables, epochs=60, seed=3, settings=SHORT_STEPS)
