"""Great Expectations suites: sound tables pass, unsound ones fail by name, and Data Docs are left behind."""

import re
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from orchestration.freshness import CHECKED_TABLES
from validation.attributes import ATTRIBUTES, REGION_OF_STATE
from validation.channels import channel_names
from validation.contracts import CONTRACTS
from validation.expectations import ExpectationsUnavailable, check_tables, run_expectations, suites_of

OPTIONS = ("favor", "oppose")


def schema_of(table: str) -> dict:
    return {name: column.dtype.type for name, column in CONTRACTS[table].columns.items()}


@pytest.fixture(scope="module")
def agents() -> pl.DataFrame:
    generator = np.random.default_rng(1)
    columns = {attribute.name: generator.choice(attribute.levels, 50).tolist() for attribute in ATTRIBUTES}
    columns["region"] = [REGION_OF_STATE[state] for state in columns["state"]]
    frame = pl.DataFrame(
        {
            "agent_id": range(50),
            "household_id": [i // 2 for i in range(50)],
            "respondent_id": [f"r{i}" for i in range(50)],
            "geography": "US-NY",
            "age": 40,
            **columns,
            "imputed_attributes": [[]] * 50,
        },
        schema_overrides=schema_of("agents"),
    ).cast(schema_of("agents"))
    return CONTRACTS["agents"].validate(frame)


@pytest.fixture(scope="module")
def traces() -> pl.DataFrame:
    rows = [
        dict.fromkeys(schema_of("reasoning_traces"))
        | {
            "custom_id": f"id-{agent}",
            "kind": "rollout",
            "scenario_id": "reform",
            "question_id": "support",
            "agent_id": agent,
            "timestep": 0,
            "draw": 0,
            "repeat_group": f"group-{agent}",
            "state_before": [],
            "exposures": [],
            "neighbour_ids": [],
            "neighbour_statements": [],
            "retrieved_memories": [],
            "channels": [0.0] * len(channel_names()),
            "option_probabilities": [0.5, 0.5],
            "option": OPTIONS[agent % 2],
            "conviction": 0.5,
            "teacher": "embedded",
            "model": "embedded-teacher",
            "prompt_hash": "p",
            "schema_hash": "s",
            "seed": 1,
            "prompt_tokens": 1,
            "cached_tokens": 0,
            "completion_tokens": 1,
            "cost_usd": 0.0,
            "latency_ms": 1.0,
            "is_refusal": False,
            "validation_status": "valid",
        }
        for agent in range(40)
    ]
    return CONTRACTS["reasoning_traces"].validate(pl.DataFrame(rows, schema=schema_of("reasoning_traces")))


def test_importing_the_module_does_not_import_great_expectations():
    code = "import sys, validation.expectations; sys.exit('great_expectations' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_table_without_a_suite_is_refused():
    with pytest.raises(ExpectationsUnavailable, match=r"for table 'nonsense'.*agents"):
        suites_of("nonsense", pl.DataFrame())


@pytest.mark.parametrize("table", sorted(CONTRACTS))
def test_every_contract_has_a_suite_that_states_its_key_nulls_levels_and_ranges(table):
    contract = CONTRACTS[table]
    frame = pl.DataFrame(schema=contract.polars_schema())
    (suite, *_) = suites_of(table, frame)
    stated = {(each.kind, str(each.arguments.get("column", ""))) for each in suite.expected}

    for name, column in contract.columns.items():
        if name not in suite.frame.columns:
            continue
        if not column.nullable:
            assert ("ExpectColumnValuesToNotBeNull", name) in stated
        for check in column.checks:
            kind = "InSet" if "allowed_values" in (check.statistics or {}) else "Between"
            assert (f"ExpectColumnValuesToBe{kind}", name) in stated, f"{table}.{name}: {check.name}"
    assert any("Unique" in kind for kind, _ in stated) or not set(contract.key) <= set(suite.frame.columns)


def test_ids_of_a_thinned_table_may_reach_the_size_of_the_whole(agents):
    def highest(suites):
        found = [each.arguments for each in suites[0].expected if each.arguments.get("column") == "agent_id"]
        return [arguments["max_value"] for arguments in found if arguments.get("max_value") is not None]

    assert highest(suites_of("agents", agents.gather_every(5), num_rows=agents.height))[-1] == 49
    assert highest(suites_of("agents", agents))[-1] == 49


def test_every_table_that_evidence_is_made_from_is_checked():
    groups = {CONTRACTS[name].group for name in CHECKED_TABLES}

    assert {"survey_respondents", "agents", "ties", "reasoning_traces", "trajectories"} <= set(CHECKED_TABLES)
    assert groups == {contract.group for contract in CONTRACTS.values()} - {"evidence"}


@pytest.mark.slow
def test_data_docs_load_nothing_from_the_network(agents, tmp_path):
    index = run_expectations("agents", agents, tmp_path).docs_path

    pages = list(index.parent.rglob("*.html"))
    assert len(pages) >= 3
    for page in pages:
        loaded = re.findall(
            r"<(?:link|script|img)[^>]*(?:href|src)=[\"']https?://[^>]*", page.read_text(encoding="utf-8")
        )
        assert loaded == []
        local = re.findall(
            r"(?:href|src)=[\"'](?!https?:|data:|mailto:|javascript:|#)([^\"'#?]+)", page.read_text("utf-8")
        )
        assert [link for link in local if not (page.parent / link).exists()] == []
    for page in pages:
        assert page == index or 'index.html">All results' in page.read_text("utf-8")


@pytest.mark.slow
def test_the_index_of_data_docs_lists_every_result_with_its_status_and_needs_no_script(agents, traces, tmp_path):
    broken = agents.with_columns(age=pl.lit(7, pl.Int32))
    results = check_tables({"agents": broken, "reasoning_traces": traces}, tmp_path)

    text = (tmp_path / "index.html").read_text("utf-8")
    rows = re.findall(r'<tr><td>(\w+)</td><td><a href="([^"]+)">([a-z_]+)</a>', text)
    failed = {result.suite for result in results if not result.has_passed}
    assert {(suite, status) for status, _, suite in rows} == {
        (result.suite, "Failed" if result.suite in failed else "Succeeded") for result in results
    }
    assert rows[0][0] == "Failed"
    assert rows[-1][0] == "Succeeded"
    assert {tmp_path / address for _, address, _ in rows} == set((tmp_path / "validations").rglob("*.html"))
    assert "<script" not in text


@pytest.mark.slow
def test_several_tables_are_checked_in_one_site_and_failures_are_named(agents, traces, tmp_path):
    broken = agents.with_columns(age=pl.lit(7, pl.Int32))
    results = check_tables({"agents": broken, "reasoning_traces": traces}, tmp_path)
    failed = [result for result in results if not result.has_passed]

    assert {result.table for result in results} == {"agents", "reasoning_traces"}
    assert [(result.table, result.column) for result in failed] == [("agents", "age")]
    assert (tmp_path / "index.html").is_file()


def test_a_table_without_its_columns_is_refused(agents):
    with pytest.raises(ExpectationsUnavailable, match="party"):
        suites_of("agents", agents.drop("party"))


@pytest.mark.slow
def test_sound_tables_pass_and_leave_data_docs(agents, traces, tmp_path):
    for name, frame in (("agents", agents), ("reasoning_traces", traces)):
        outcome = run_expectations(name, frame.with_columns(run_id=pl.lit("run")), tmp_path)
        assert outcome.failed == ()
        assert outcome.success
        assert outcome.num_expectations > 10
        assert outcome.docs_path.read_text(encoding="utf-8").count(name)


@pytest.mark.slow
def test_collapse_and_refusals_are_named(traces, tmp_path):
    collapsed = traces.with_columns(pl.lit("favor").alias("option"))
    outcome = run_expectations("reasoning_traces", collapsed, tmp_path)
    assert not outcome.success
    assert any("collapse_onto_one_option" in line for line in outcome.failed)
    refusing = traces.with_columns((pl.col("agent_id") < 10).alias("is_refusal"))
    outcome = run_expectations("reasoning_traces", refusing, tmp_path)
    assert [line for line in outcome.failed if "refusals" in line] == list(outcome.failed)


@pytest.mark.slow
def test_duplicates_nulls_and_unknown_levels_are_named(agents, tmp_path):
    broken = agents.with_columns(
        pl.when(pl.col("agent_id") == 3).then(2).otherwise(pl.col("agent_id")).alias("agent_id"),
        pl.when(pl.col("agent_id") == 5).then(pl.lit("whig")).otherwise(pl.col("party")).alias("party"),
        pl.when(pl.col("agent_id") == 6).then(None).otherwise(pl.col("age")).alias("age"),
    )
    failed = " ".join(run_expectations("agents", broken, tmp_path).failed)
    assert "expect_column_values_to_be_unique" in failed
    assert "whig" in failed
    assert "expect_column_values_to_not_be_null(column=age" in failed
