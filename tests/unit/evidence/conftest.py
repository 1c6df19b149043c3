"""A small society made by hand, every table under its contract: what the evidence room reads."""

from collections.abc import Callable

import duckdb
import numpy as np
import polars as pl
import pytest

from assets.evidence.benchmarks import score_benchmarks
from assets.evidence.report_context import (
    EMBEDDED_STATEMENT,
    DataUse,
    GateOutcome,
    ReportContext,
    StudentRecord,
    TableVersion,
)
from assets.evidence.survey_calibration import survey_calibration
from assets.evidence.teacher_agreement import teacher_agreement
from validation.attributes import AGE_GROUP_BOUNDS, ATTRIBUTES, REGION_OF_STATE
from validation.channels import channel_names
from validation.contracts import CONTRACTS

OPTIONS = ("favor", "neither", "oppose")
SCORES = (1.0, 0.0, -1.0)
SCENARIOS = ("quiet", "reform")
NUM_RESPONDENTS, NUM_AGENTS, NUM_TIMESTEPS = 1200, 900, 4
PANEL = tuple(range(60))
MODELS = {
    "lsm": 0.03,
    "lsm_no_graph": 0.06,
    "lsm_simulated": 0.2,
    "persistence": 0.1,
    "demographic_regression": 0.12,
    "friedkin_johnsen": 0.14,
}


def schema_of(table: str) -> dict:
    return {name: column.dtype.type for name, column in CONTRACTS[table].columns.items()}


def under_contract(table: str, frame: pl.DataFrame) -> pl.DataFrame:
    return CONTRACTS[table].validate(frame.cast({k: v for k, v in schema_of(table).items() if k in frame.columns}))


def opinion(party: str, scenario: str, timestep: int) -> np.ndarray:
    """The law behind every made-up table: parties differ, and the reform moves everybody from timestep 1 on."""
    favor = {"democrat": 0.6, "independent": 0.45, "republican": 0.3}[party]
    favor += 0.03 * timestep if scenario == "reform" else 0.0
    return np.array([favor, 0.15, 0.85 - favor])


def attribute_columns(generator: np.random.Generator, size: int) -> dict:
    columns = {attribute.name: generator.choice(attribute.levels, size).tolist() for attribute in ATTRIBUTES}
    columns["region"] = [REGION_OF_STATE[state] for state in columns["state"]]
    return columns


def make_respondents(generator: np.random.Generator) -> pl.DataFrame:
    columns = attribute_columns(generator, NUM_RESPONDENTS)
    answers = [generator.choice(OPTIONS, p=opinion(party, "quiet", 0)) for party in columns["party"]]
    return under_contract(
        "survey_respondents",
        pl.DataFrame(
            {
                "respondent_id": [f"survey-{i}" for i in range(NUM_RESPONDENTS)],
                "survey": "survey",
                "wave": [2014] * 400 + [2016] * 800,
                "design_weight": generator.uniform(0.5, 2.0, NUM_RESPONDENTS),
                "age": [AGE_GROUP_BOUNDS[group][0] for group in columns["age_group"]],
                **columns,
                "item_tax_reform": answers,
            }
        ),
    )


def make_agents(respondents: pl.DataFrame) -> pl.DataFrame:
    donors = respondents.filter(pl.col("wave") == 2016).sample(NUM_AGENTS, with_replacement=True, seed=3)
    names = [attribute.name for attribute in ATTRIBUTES]
    return under_contract(
        "agents",
        donors.select("respondent_id", "age", *names)
        .with_columns(
            pl.Series("agent_id", np.arange(NUM_AGENTS)),
            pl.Series("household_id", np.arange(NUM_AGENTS) // 2),
            ("US-" + pl.col("state")).alias("geography"),
            pl.Series("imputed_attributes", [[]] * NUM_AGENTS, dtype=pl.List(pl.String)),
        )
        .select(list(schema_of("agents"))),
    )


def make_scenarios() -> pl.DataFrame:
    rows = []
    for scenario in SCENARIOS:
        shared = dict.fromkeys(schema_of("scenarios")) | {
            "scenario_id": scenario,
            "num_timesteps": NUM_TIMESTEPS - 1,
            "timestep_unit": "week",
            "baseline": "quiet" if scenario == "reform" else None,
            "content_hash": "0",
            "text_encoder": "none",
            "text_embedding": [0.0],
            "position": 0,
        }
        rows.append(
            shared
            | {
                "kind": "question",
                "name": "support",
                "text": "Do you favor the <script>alert('reform')</script> & its tax?",
                "options": list(OPTIONS),
                "option_scores": list(SCORES),
                "scale": "ordinal",
                "item": "tax_reform",
            }
        )
        if scenario == "reform":
            rows.append(shared | {"kind": "event", "name": "speech", "timestep": 1, "text": "A speech."})
    return under_contract("scenarios", pl.DataFrame(rows, schema=schema_of("scenarios")))


def make_traces(generator: np.random.Generator, agents: pl.DataFrame) -> pl.DataFrame:
    party = agents["party"].to_list()
    rows = []
    for scenario in SCENARIOS:
        for timestep in range(NUM_TIMESTEPS):
            for agent in PANEL:
                for draw in range(3 if (agent + timestep) % 6 == 0 else 1):
                    shares = generator.dirichlet(60 * opinion(party[agent], scenario, timestep))
                    rows.append(
                        dict.fromkeys(schema_of("reasoning_traces"))
                        | {
                            "custom_id": f"{scenario}-{timestep}-{agent}-{draw}",
                            "kind": "rollout",
                            "scenario_id": scenario,
                            "question_id": "support",
                            "agent_id": agent,
                            "timestep": timestep,
                            "draw": draw,
                            "repeat_group": f"{scenario}-{timestep}-{agent}",
                            "state_before": [],
                            "exposures": [],
                            "neighbour_ids": [],
                            "neighbour_statements": [],
                            "retrieved_memories": [],
                            "channels": [0.1] * len(channel_names()),
                            "option_probabilities": shares.tolist(),
                            "option": str(generator.choice(OPTIONS, p=shares)),
                            "conviction": 0.5,
                            "teacher": "embedded",
                            "model": "embedded-teacher",
                            "prompt_hash": "p",
                            "schema_hash": "s",
                            "seed": 1,
                            "prompt_tokens": 100,
                            "cached_tokens": 10,
                            "completion_tokens": 20,
                            "cost_usd": 0.0,
                            "latency_ms": 3.0,
                            "is_refusal": False,
                            "validation_status": "valid",
                        }
                    )
    return under_contract("reasoning_traces", pl.DataFrame(rows, schema=schema_of("reasoning_traces")))


def make_predictions(generator: np.random.Generator, traces: pl.DataFrame) -> pl.DataFrame:
    rows = []
    held_out = traces.filter((pl.col("draw") == 0) & (pl.col("agent_id") < 40))
    for row in held_out.iter_rows(named=True):
        truth = np.array(row["option_probabilities"])
        for model in (*MODELS, "uniform"):
            noisy = np.maximum(truth + generator.normal(0, MODELS.get(model, 0), 3), 0.01)
            predicted = np.full(3, 1 / 3) if model == "uniform" else noisy / noisy.sum()
            rows.append(
                {name: row[name] for name in ("scenario_id", "question_id", "agent_id", "timestep")}
                | {
                    "model": model,
                    "split": "agents",
                    "option_probabilities": predicted.tolist(),
                    "teacher_probabilities": truth.tolist(),
                    "model_version": 1,
                }
            )
    return under_contract("held_out_predictions", pl.DataFrame(rows, schema=schema_of("held_out_predictions")))


def make_outcomes(agents: pl.DataFrame) -> pl.DataFrame:
    segments = {"all": agents} | {
        f"{name}={level}": agents.filter(pl.col(name) == level)
        for name in ("party", "age_group", "race_ethnicity", "education")
        for level in agents[name].unique().sort()
    }
    rows = [
        {
            "scenario_id": scenario,
            "replicate": replicate,
            "engine": engine,
            "question_id": "support",
            "timestep": timestep,
            "segment": segment,
            "option": option,
            "share": float(share),
            "lower": max(0.0, float(share) - 0.02),
            "upper": min(1.0, float(share) + 0.02),
            "decision_share": float(share),
            "num_agents": len(members),
        }
        for scenario in SCENARIOS
        for replicate in range(2)
        for engine in ("lsm", "lpm_opinion")
        for timestep in range(NUM_TIMESTEPS)
        for segment, members in segments.items()
        for option, share in zip(
            OPTIONS,
            np.mean([opinion(p, scenario, timestep * (engine == "lsm")) for p in members["party"]], axis=0),
            strict=True,
        )
    ]
    return under_contract("outcomes", pl.DataFrame(rows, schema=schema_of("outcomes")))


def make_counterfactuals(agents: pl.DataFrame) -> pl.DataFrame:
    shared = {"scenario_id": "reform", "replicate": 0, "baseline_id": "quiet", "question_id": "support"}
    change = dict(zip(OPTIONS, (0.09, 0.0, -0.09), strict=True))
    channels = [0.0] * len(channel_names())
    rows = []
    for option, difference in change.items():
        for segment in ("all", "party=democrat", "party=republican"):
            rows.append(
                shared
                | {
                    "unit": "segment",
                    "segment": segment,
                    "option": option,
                    "difference": difference,
                    "lower": difference - 0.01,
                    "upper": difference + 0.01,
                    "channel_differences": channels,
                    "num_agents": 300,
                }
            )
        for agent in range(50):
            rows.append(
                shared
                | {
                    "unit": "agent",
                    "agent_id": agent,
                    "option": option,
                    "difference": difference,
                    "has_flipped": agent % 5 == 0,
                    "channel_differences": channels,
                    "num_agents": 1,
                }
            )
    assert len(agents) >= 50
    return under_contract("counterfactuals", pl.DataFrame(rows, schema=schema_of("counterfactuals")))


def make_margins(agents: pl.DataFrame) -> pl.DataFrame:
    rows = []
    for name in ("sex", "party"):
        shares = agents[name].value_counts(normalize=True, sort=False).sort(name)
        rows.extend(
            {
                "geography": "US",
                "margin": name,
                "level": level,
                "share": share,
                "count": share * 1e6,
                "source": "made by hand",
                "year": 2016,
            }
            for level, share in shares.iter_rows()
        )
    return under_contract("population_margins", pl.DataFrame(rows, schema=schema_of("population_margins")))


def make_small_tables() -> dict[str, pl.DataFrame]:
    """Tables that only the report reads."""
    partition = {"scenario_id": "reform", "replicate": 0}
    profiles = [
        partition
        | {
            "cluster": cluster,
            "size": 450,
            "share": 0.5,
            "silhouette": 0.3,
            "channel_centroid": np.linspace(-1, 1, len(channel_names())).tolist(),
            "option_probabilities": [0.5, 0.2, 0.3],
            "defining_attributes": ["party=democrat"],
            "exemplar_agents": [1, 2],
        }
        for cluster in range(2)
    ]
    slopes = {"grid": None, "gradient": 12.0, "finite_difference": 0.2}
    surface = [
        partition
        | {
            "kind": kind,
            "parameter": f"events.{field}",
            "value": value,
            "value_below": around[0],
            "value_above": around[1],
            "question_id": "support",
            "outcome": option,
            "share": 0.3 + 0.2 * value,
            "derivative": None if slopes[kind] is None else slopes[kind] * pull,
            "difference": 0.2 * (value - 0.5),
        }
        for option, pull in zip(OPTIONS, (1.0, 0.0, -1.0), strict=True)
        for field, kind, values, around in (
            ("speech.credibility", "grid", (0.2, 0.5, 0.8), (None, None)),
            ("speech.credibility", "gradient", (0.5,), (None, None)),
            ("speech.exposure.reach", "grid", (0.2, 0.5, 0.8), (None, None)),
            ("speech.exposure.reach", "gradient", (0.5,), (None, None)),
            ("speech.exposure.reach", "finite_difference", (0.5,), (0.4, 0.6)),
            ("speech.at", "gradient", (1.0,), (None, None)),
            ("speech.at", "finite_difference", (1.0,), (1.0, 2.0)),
            ("only.at", "gradient", (1.0,), (None, None)),
            ("only.at", "finite_difference", (1.0,), (1.0, 1.0)),
        )
        for value in values
    ]
    for row in surface:
        if row["kind"] == "gradient" and row["parameter"] == "events.speech.at" and row["outcome"] == "favor":
            row["derivative"] *= -1
        if row["value_below"] is not None and row["value_below"] == row["value_above"]:
            row["derivative"] = None
    statistics = [
        {"statistic": "clustering", "tie_type": "all_social", "value": 0.4, "chance_value": 0.01},
        {"statistic": "mean_degree", "tie_type": "all_social", "value": 4.0, "reference_value": 13.4},
    ]
    probe = {"axis": "latent_pc1", "target": "fairness", "r2": 0.4, "r2_permuted": 0.01}
    probe |= {"lower": 0.3, "upper": 0.5, "num_agents": 100, "model_version": 1}
    made = {
        "reasoning_profiles": profiles,
        "intervention_surface": surface,
        "graph_statistics": statistics,
        "axis_probes": [probe],
    }
    return {
        name: under_contract(
            name, pl.DataFrame([dict.fromkeys(schema_of(name)) | row for row in rows], schema=schema_of(name))
        )
        for name, rows in made.items()
    }


@pytest.fixture(scope="session")
def evidence_tables() -> dict[str, pl.DataFrame]:
    generator = np.random.default_rng(7)
    respondents = make_respondents(generator)
    agents = make_agents(respondents)
    traces = make_traces(generator, agents)
    dst = np.repeat(np.arange(NUM_AGENTS), 6)
    src = (dst + np.tile([1, 2, 3, NUM_AGENTS - 1, NUM_AGENTS - 2, NUM_AGENTS - 3], NUM_AGENTS)) % NUM_AGENTS
    kinds = np.tile(["household", "friend", "weak", "household", "friend", "weak"], NUM_AGENTS)
    tables = {
        "survey_respondents": respondents,
        "population_margins": make_margins(agents),
        "calibrated_respondents": under_contract(
            "calibrated_respondents",
            respondents.filter(pl.col("wave") == 2016).select(
                "respondent_id", "design_weight", (pl.col("design_weight") * 1000).alias("calibrated_weight")
            ),
        ),
        "agents": agents,
        "ties": under_contract(
            "ties", pl.DataFrame({"src": src, "dst": dst, "tie_type": kinds, "strength": np.full(len(dst), 0.5)})
        ),
        "scenarios": make_scenarios(),
        "reasoning_traces": traces,
        "held_out_predictions": make_predictions(generator, traces),
        "outcomes": make_outcomes(agents),
        "counterfactuals": make_counterfactuals(agents),
        **make_small_tables(),
    }
    tables["teacher_agreement"] = teacher_agreement(
        tables["held_out_predictions"], traces, agents, tables["scenarios"], seed=1
    )
    tables["survey_calibration"] = survey_calibration(
        tables["outcomes"],
        agents,
        respondents,
        tables["calibrated_respondents"],
        tables["population_margins"],
        tables["scenarios"],
        seed=1,
    )
    tables["benchmark_scores"] = score_benchmarks(agents, tables["ties"])
    return tables


@pytest.fixture(scope="session")
def ask(evidence_tables: dict[str, pl.DataFrame]) -> Callable[[str], pl.DataFrame]:
    """Answers SQL as `populace query` does: over tables by name, with run_id, without access to files."""
    connection = duckdb.connect(":memory:")
    for name, frame in evidence_tables.items():
        connection.register(name, frame.with_columns(pl.lit("run").alias("run_id")).to_arrow())
    connection.execute("SET enable_external_access = false")

    def query(sql: str) -> pl.DataFrame:
        answer = pl.from_arrow(connection.sql(sql).to_arrow_table())
        assert isinstance(answer, pl.DataFrame)
        return answer

    return query


@pytest.fixture(scope="session")
def report_context(evidence_tables: dict[str, pl.DataFrame]) -> ReportContext:
    return ReportContext(
        run_id="run-1",
        created="2026-11-23T14:00:00+00:00",
        recipe={"name": "smoke", "num_agents": NUM_AGENTS, "seed": 7},
        teacher="embedded",
        teacher_statement=EMBEDDED_STATEMENT,
        student=StudentRecord(
            version=1,
            alias=None,
            is_champion=False,
            verdict="The student failed a gate.",
            gates=(GateOutcome("log loss", 0.9, 0.5, False), GateOutcome("no collapse", 0.1, 0.5, True)),
        ),
        tables=tuple(TableVersion(name, 0, frame.height, "ab" * 32) for name, frame in evidence_tables.items()),
        data_uses=(DataUse("survey", "<b>A survey</b>", "An owner", "CC0", "Somebody 2016", "embedded", "cd" * 32),),
        package_versions={"polars": pl.__version__},
        seeds={"recipe": 7},
        commands=("populace run --recipe smoke",),
        links=(("Data Docs", "../data_docs/agents/index.html"),),
    )
