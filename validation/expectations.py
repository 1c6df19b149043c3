"""Great Expectations suites of the two tables that everything rests on: teacher answers and agents.

Contracts say what a row may be; expectations say what a whole table should look like (few refusals, no collapse onto a
single answer) and leave Data Docs that people can read. Importing Great Expectations takes seconds, so only
`run_expectations` does.

    ExpectationsUnavailable   no suite is declared for the table, or its columns cannot be prepared
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from validation.attributes import ATTRIBUTES
from validation.channels import channel_names
from validation.contracts import CONTRACTS

MAX_REFUSAL_SHARE = 0.10
"""Largest share of refusals in a scenario: beyond it, who refuses shapes the answers more than what they say."""

MAX_FAILED_SHARE = 0.05
"""Largest share of answers in a scenario that fail validation."""

MAX_MODAL_SHARE = 0.97
"""Largest share of a scenario's answers on one option before the teacher counts as collapsed onto it."""


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
class Expected:
    """One expectation by the name Great Expectations gives its class, with its arguments."""

    kind: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Suite:
    """Expectations over one flat frame: the table's scalar columns, or a summary of it."""

    name: str
    frame: pl.DataFrame
    expected: tuple[Expected, ...]


def run_expectations(table_name: str, frame: pl.DataFrame, docs_dir: Path) -> ExpectationOutcome:
    """Checks a table against its suites and builds Data Docs of the result.

    The site lies in `docs_dir/<table_name>`, so that tables checked at the same time do not touch each other's pages.
    Nothing is sent anywhere: the usage statistics of Great Expectations are switched off.

    Args:
        table_name: reasoning_traces or agents.
        frame: rows of the table, with or without `run_id`.
        docs_dir: folder of all Data Docs; made when absent.

    Raises:
        ExpectationsUnavailable: there is no suite for the table, or a column that it needs is missing.
    """
    suites = suites_of(table_name, frame)
    site_dir = docs_dir.absolute() / table_name
    site_dir.mkdir(parents=True, exist_ok=True)
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    _configure(context, site_dir)
    results = [result for suite in suites for result in _run_suite(gx, context, suite)]
    context.build_data_docs(site_names=["populace"])
    return ExpectationOutcome(
        table=table_name,
        success=all(result.success for result in results),
        num_expectations=len(results),
        failed=tuple(_explain(result) for result in results if not result.success),
        docs_path=site_dir / "index.html",
    )


def suites_of(table_name: str, frame: pl.DataFrame) -> tuple[Suite, ...]:
    """The suites of a table, with the frames that they look at.

    Raises:
        ExpectationsUnavailable: there is no suite for the table, or a column that it needs is missing.
    """
    builders = {"reasoning_traces": _trace_suites, "agents": _agent_suites}
    if table_name not in builders:
        raise ExpectationsUnavailable(
            f"No expectations are declared for table {table_name!r}. Tables with a suite: {', '.join(builders)}. "
            "The contract of the table is checked at every write all the same."
        )
    missing = [name for name in CONTRACTS[table_name].columns if name not in frame.columns]
    if missing:
        raise ExpectationsUnavailable(
            f"Table {table_name} lacks the columns {', '.join(missing)}; found {', '.join(frame.columns)}. "
            "Pass the whole table as it lies in the store."
        )
    return builders[table_name](frame.drop("run_id", strict=False))


def _trace_suites(traces: pl.DataFrame) -> tuple[Suite, ...]:
    rows = traces.select(~pl.selectors.nested()).with_columns(
        traces["option_probabilities"].list.sum().alias("option_probability_sum"),
        traces["channels"].list.len().alias("num_channels"),
        traces["channels"].list.min().alias("lowest_channel"),
        traces["channels"].list.max().alias("highest_channel"),
    )
    is_answer = ~pl.col("is_refusal") & (pl.col("validation_status") != "failed")
    answers = pl.col("option").filter(is_answer)
    by_question = traces.group_by("scenario_id", "question_id", "model", maintain_order=True).agg(
        pl.len().cast(pl.Int64).alias("num_answers"),
        pl.col("is_refusal").mean().alias("refusal_share"),
        (pl.col("validation_status") == "failed").mean().alias("failed_share"),
        (answers.drop_nulls().mode().first() == answers).mean().alias("modal_share"),
    )
    fractions = ("conviction", "attention_events", "attention_peers", "attention_memory", "memory_salience")
    return (
        Suite(
            "reasoning_traces",
            rows,
            (
                _expected("ExpectTableColumnsToMatchSet", column_set=rows.columns, exact_match=True),
                _expected("ExpectTableRowCountToBeBetween", min_value=1),
                _expected("ExpectCompoundColumnsToBeUnique", column_list=list(CONTRACTS["reasoning_traces"].key)),
                *(
                    _expected("ExpectColumnValuesToNotBeNull", column=name)
                    for name in ("custom_id", "teacher", "model")
                ),
                *(_between(name, 0, 1) for name in fractions),
                *(_between(name, -1, 1) for name in ("private_stance", "public_stance")),
                *(_between(name, -1, 1) for name in ("lowest_channel", "highest_channel")),
                _between("option_probability_sum", 0.999, 1.001),
                _between("num_channels", len(channel_names()), len(channel_names())),
                _between("timestep", 0, None),
                _between("cost_usd", 0, None),
                _expected(
                    "ExpectColumnValuesToBeInSet",
                    column="validation_status",
                    value_set=["valid", "repaired", "failed"],
                ),
            ),
        ),
        Suite(
            "reasoning_traces_by_question",
            by_question,
            (
                _between("num_answers", 1, None),
                _between("refusal_share", 0, MAX_REFUSAL_SHARE),
                _between("failed_share", 0, MAX_FAILED_SHARE),
                _between("modal_share", 0, MAX_MODAL_SHARE),
            ),
        ),
    )


def _agent_suites(agents: pl.DataFrame) -> tuple[Suite, ...]:
    rows = agents.select(~pl.selectors.nested())
    names = [attribute.name for attribute in ATTRIBUTES]
    return (
        Suite(
            "agents",
            rows,
            (
                _expected("ExpectTableColumnsToMatchSet", column_set=rows.columns, exact_match=True),
                _expected("ExpectTableRowCountToBeBetween", min_value=1),
                _expected("ExpectColumnValuesToBeUnique", column="agent_id"),
                _between("agent_id", 0, len(agents) - 1),
                _between("household_id", 0, len(agents) - 1),
                _between("age", 18, 110),
                *(
                    _expected("ExpectColumnValuesToNotBeNull", column=name)
                    for name in ("agent_id", "household_id", "respondent_id", "geography", "age", *names)
                ),
                *(
                    _expected("ExpectColumnValuesToBeInSet", column=attribute.name, value_set=list(attribute.levels))
                    for attribute in ATTRIBUTES
                ),
            ),
        ),
    )


def _expected(kind: str, **arguments: Any) -> Expected:
    return Expected(kind, arguments)


def _between(column: str, lowest: float | None, highest: float | None) -> Expected:
    return _expected("ExpectColumnValuesToBeBetween", column=column, min_value=lowest, max_value=highest)


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
        gx.Checkpoint(name=suite.name, validation_definitions=[definition], result_format={"result_format": "SUMMARY"})
    )
    outcome = checkpoint.run(batch_parameters={"dataframe": suite.frame.to_pandas()})
    return [result for run in outcome.run_results.values() for result in run.results]


def _explain(result: Any) -> str:
    config, found = result.expectation_config, result.result or {}
    arguments = ", ".join(f"{name}={value}" for name, value in config.kwargs.items() if name != "batch_id")
    observed = found.get("observed_value", found.get("partial_unexpected_list"))
    if observed is None:
        observed = result.exception_info
    return f"{config.type}({arguments}): found {str(observed)[:200]}"
