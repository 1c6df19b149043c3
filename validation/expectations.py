"""Great Expectations over the tables: what their contracts state, and what a whole table should look like beyond that.

Rules that a contract states are generated from it (`contract_suites.py`). Added here are rules about whole tables:
those of `trace_quality.yaml` on teachers' answers, and dense ids. The results become Data Docs that need no network.
Importing Great Expectations takes seconds, so only the functions that run suites do.

    ExpectationsUnavailable   no suite is declared for the table, or its columns cannot be prepared
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from validation.channels import channel_names
from validation.contract_suites import Suite, contract_suite, expected, expected_between
from validation.contracts import CONTRACTS
from validation.data_docs import make_offline
from validation.trace_quality import GROUP, load_rules, measure_quality


class ExpectationsUnavailable(ValueError):
    """The table has no suite, or lacks columns that its suite needs."""


@dataclass(frozen=True)
class ExpectationOutcome:
    """What a suite found: one line per failed expectation, and where the Data Docs start."""

    table: str
    success: bool
    num_expectations: int
    failed: tuple[str, ...]
    docs_path: Path


@dataclass(frozen=True)
class ExpectationResult:
    """What one expectation found in one suite; `observed` is a short text."""

    table: str
    suite: str
    expectation: str
    column: str
    has_passed: bool
    observed: str
    num_rows: int


def run_expectations(
    table_name: str, frame: pl.DataFrame, docs_dir: Path, questions: pl.DataFrame | None = None
) -> ExpectationOutcome:
    """Checks a table against its suites and builds Data Docs of the result.

    The site lies in `docs_dir/<table_name>`, so that tables checked at the same time do not touch each other's pages.
    Nothing is sent anywhere: the usage statistics of Great Expectations are switched off.

    Args:
        table_name: reasoning_traces or agents.
        frame: rows of the table, with or without `run_id`.
        docs_dir: folder of all Data Docs; made when absent.
        questions: for reasoning_traces, see `trace_quality.measure_quality`.

    Raises:
        ExpectationsUnavailable: there is no suite for the table, or a column that it needs is missing.
    """
    suites = suites_of(table_name, frame, questions)
    site_dir = docs_dir.absolute() / table_name
    results = [result for _, found in _run_suites(suites, site_dir) for result in found]
    return ExpectationOutcome(
        table=table_name,
        success=all(result.success for result in results),
        num_expectations=len(results),
        failed=tuple(_explain(result) for result in results if not result.success),
        docs_path=site_dir / "index.html",
    )


def check_tables(
    tables: Mapping[str, pl.DataFrame],
    site_dir: Path,
    sizes: Mapping[str, int] | None = None,
    questions: pl.DataFrame | None = None,
) -> list[ExpectationResult]:
    """Runs the suites of several tables in one context and builds one site of Data Docs.

    Args:
        tables: rows by table name; tables without rows are left out by the caller.
        site_dir: folder of the site; its index.html is the start page.
        sizes: rows of the whole tables, where `tables` holds thinned ones.
        questions: for reasoning_traces, see `trace_quality.measure_quality`; its rules on options are left
            unmeasured without them.

    Raises:
        ExpectationsUnavailable: a column that a suite needs is missing.
    """
    whole = sizes or {}
    suites = [
        (name, suite)
        for name, frame in tables.items()
        for suite in suites_of(name, frame, questions, num_rows=whole.get(name))
    ]
    table_of = {suite.name: name for name, suite in suites}
    return [
        ExpectationResult(
            table=table_of[suite.name],
            suite=suite.name,
            expectation=str(result.expectation_config.type),
            column=_column_of(result.expectation_config.kwargs),
            has_passed=bool(result.success),
            observed=_observed(result),
            num_rows=suite.frame.height,
        )
        for suite, found in _run_suites([suite for _, suite in suites], site_dir.absolute())
        for result in found
    ]


def suites_of(
    table_name: str, frame: pl.DataFrame, questions: pl.DataFrame | None = None, num_rows: int | None = None
) -> tuple[Suite, ...]:
    """The suites of a table, with the frames that they look at.

    Args:
        table_name: table under contract.
        frame: its rows, or every k-th of them, with or without `run_id`.
        questions: for reasoning_traces, see `trace_quality.measure_quality`.
        num_rows: rows of the whole table; those of `frame` when not given.

    Raises:
        ExpectationsUnavailable: no contract has that name, or a column that the suite needs is missing.
    """
    if table_name not in CONTRACTS:
        raise ExpectationsUnavailable(
            f"No expectations are declared for table {table_name!r}. Tables with a suite: {', '.join(CONTRACTS)}."
        )
    needed = [name for name, column in CONTRACTS[table_name].columns.items() if column.required]
    missing = [name for name in needed if name not in frame.columns]
    if missing:
        raise ExpectationsUnavailable(
            f"Table {table_name} lacks the columns {', '.join(missing)}; found {', '.join(frame.columns)}. "
            "Pass the whole table as it lies in the store."
        )
    rows = frame.drop("run_id", strict=False)
    if table_name == "agents":
        return _agent_suites(rows, num_rows or len(rows))
    return _trace_suites(rows, questions) if table_name == "reasoning_traces" else (contract_suite(table_name, frame),)


def _trace_suites(traces: pl.DataFrame, questions: pl.DataFrame | None) -> tuple[Suite, ...]:
    generated = contract_suite("reasoning_traces", traces)
    rows = generated.frame.with_columns(
        traces["channels"].list.len().alias("num_channels"),
        traces["channels"].list.min().alias("lowest_channel"),
        traces["channels"].list.max().alias("highest_channel"),
    )
    return (
        Suite(
            "reasoning_traces",
            rows,
            (
                *generated.expected,
                expected("ExpectTableColumnsToMatchSet", column_set=rows.columns, exact_match=True),
                *(expected_between(name, -1, 1) for name in ("lowest_channel", "highest_channel")),
                expected_between("num_channels", len(channel_names()), len(channel_names())),
                expected_between("timestep", 0, None),
            ),
        ),
        *quality_suites(traces, questions),
    )


def quality_suites(traces: pl.DataFrame, questions: pl.DataFrame | None = None) -> tuple[Suite, ...]:
    """The rules of `trace_quality.yaml` as two suites, over the groups that each rule judges: warnings and blocks.

    Args:
        traces: rows of `reasoning_traces`.
        questions: see `trace_quality.measure_quality`.
    """
    measures = measure_quality(traces, questions)
    judged = measures.with_columns(
        pl.when((pl.col("num_answers") >= rule.fewest) & ~pl.col("teacher").is_in(list(rule.except_teachers)))
        .then(pl.col(rule.measure))
        .alias(rule.name)
        for rule in load_rules()
    ).select(*GROUP, "num_answers", *(rule.name for rule in load_rules()))
    warn = [expected_between(rule.name, rule.warn_below, rule.warn_above) for rule in load_rules() if rule.warns]
    block = [expected_between(rule.name, rule.block_below, rule.block_above) for rule in load_rules() if rule.blocks]
    several = expected_between("num_answers", 1, None)
    return (
        Suite("reasoning_traces_by_question", judged, (several, *warn)),
        Suite("reasoning_traces_blocking", judged, (several, *block)),
    )


def _agent_suites(agents: pl.DataFrame, num_agents: int) -> tuple[Suite, ...]:
    generated = contract_suite("agents", agents)
    return (
        Suite(
            "agents",
            generated.frame,
            (
                *generated.expected,
                expected("ExpectTableColumnsToMatchSet", column_set=generated.frame.columns, exact_match=True),
                expected_between("agent_id", 0, num_agents - 1),
                expected_between("household_id", 0, num_agents - 1),
            ),
        ),
    )


def _run_suites(suites: Sequence[Suite], site_dir: Path) -> list[tuple[Suite, list[Any]]]:
    """Results of every suite; the site is rebuilt and made to need no network."""
    site_dir.mkdir(parents=True, exist_ok=True)
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    _configure(context, site_dir)
    found = [(suite, _run_suite(gx, context, suite)) for suite in suites]
    context.build_data_docs(site_names=["populace"])
    make_offline(site_dir)
    return found


def _configure(context: Any, site_dir: Path) -> None:
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    context.add_data_docs_site(
        site_name="populace",
        site_config={
            "class_name": "SiteBuilder",
            "show_how_to_buttons": False,
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(site_dir)},
        },
    )


def _run_suite(gx: Any, context: Any, suite: Suite) -> list[Any]:
    asset = context.data_sources.add_pandas(f"{suite.name}_rows").add_dataframe_asset(suite.name)
    batch = asset.add_batch_definition_whole_dataframe("current version")
    expectations = [getattr(gx.expectations, each.kind)(**each.arguments) for each in suite.expected]
    registered = context.suites.add(gx.ExpectationSuite(name=suite.name, expectations=expectations))
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(name=suite.name, data=batch, suite=registered)
    )
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(name=suite.name, validation_definitions=[definition], result_format={"result_format": "BASIC"})
    )
    outcome = checkpoint.run(batch_parameters={"dataframe": suite.frame.to_pandas()})
    return [result for run in outcome.run_results.values() for result in run.results]


def _explain(result: Any) -> str:
    config = result.expectation_config
    arguments = ", ".join(f"{name}={value}" for name, value in config.kwargs.items() if name != "batch_id")
    return f"{config.type}({arguments}): found {_observed(result)}"


def _observed(result: Any) -> str:
    found = result.result or {}
    observed = found.get("observed_value", found.get("partial_unexpected_list"))
    if observed is None:
        observed = result.exception_info
    return str(observed)[:200]


def _column_of(arguments: Mapping[str, Any]) -> str:
    return str(arguments.get("column") or ", ".join(arguments.get("column_list", ())) or "(whole table)")
