"""The `populace` command. Heavy imports happen inside the commands, so that `--help` answers at once."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="populace",
    help="Simulated human populations with a lineage: from real surveys to evidence.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
scenario_app = typer.Typer(help="Validate, add and list scenario files.", no_args_is_help=True)
app.add_typer(scenario_app, name="scenario")
teacher_app = typer.Typer(
    help="Serve the embedded teacher to any OpenAI client; estimate it again.", no_args_is_help=True
)
app.add_typer(teacher_app, name="teacher")
traces_app = typer.Typer(help="What teachers are asked, what it costs, what they answered.", no_args_is_help=True)
app.add_typer(traces_app, name="traces")
population_app = typer.Typer(help="Plan and build populations larger than memory.", no_args_is_help=True)
app.add_typer(population_app, name="population")
society_app = typer.Typer(
    help="Targets of the social graph, recorded networks, and fitting ties.", no_args_is_help=True
)
app.add_typer(society_app, name="society")

OUR_PACKAGES = ("orchestration", "assets", "model", "validation")
RecipeOption = Annotated[str | None, typer.Option("--recipe", help="smoke, laptop or full; default POPULACE_RECIPE.")]


@app.command()
def run(
    recipe: RecipeOption = None,
    force: Annotated[bool, typer.Option("--force", help="Make everything again, even what is fresh.")] = False,
    select: Annotated[
        str | None, typer.Option(help="Assets or groups joined by commas, made with all they need; default everything.")
    ] = None,
) -> None:
    """Run the lineage, from surveys to the validation report; what is fresh is used again."""
    settings = _settings(recipe)
    console = _console()
    from orchestration.lineage_run import run_lineage
    from orchestration.run_summary import print_run_summary

    chosen = None if select is None else [name.strip() for name in select.split(",") if name.strip()]
    runs = run_lineage(settings, console=console, force=force, select=chosen)
    console.print("[bold]Everything is fresh; nothing was made again.[/bold]" if not runs else "")
    if chosen is None:
        print_run_summary(settings)


@app.command()
def sweep(
    scenarios: Annotated[list[str] | None, typer.Argument(help="Scenario ids; all when none is given.")] = None,
    recipe: RecipeOption = None,
    processes: Annotated[
        int | None,
        typer.Option("--processes", min=1, help="Processes per rollout; default POPULACE_ROLLOUT_PROCESSES, else 1."),
    ] = None,
) -> None:
    """Simulate scenarios in every replicate with the registered student; nothing is elicited or trained."""
    if processes is not None:
        os.environ["POPULACE_ROLLOUT_PROCESSES"] = str(processes)
    settings = _settings(recipe)
    from orchestration.lineage_run import run_sweep
    from orchestration.run_summary import print_decision_shares

    run_sweep(settings, scenarios or [], console=_console())
    print_decision_shares(settings)


@app.command()
def ablate(recipe: RecipeOption = None) -> None:
    """Train students without each part, or with one that is off, and compare them with the registered one."""
    settings = _settings(recipe)
    from orchestration.lineage_run import run_ablations
    from orchestration.table_store import TableStore

    run_ablations(settings, console=_console())
    columns = ["part", "metric", "whole_value", "without_value", "difference", "lower", "upper"]
    for row in TableStore(settings.tables_dir).read("ablations").select(columns).iter_rows(named=True):
        typer.echo(
            f"{row['part']:12} {row['metric']:14} {row['whole_value']:.4f} → {row['without_value']:.4f}  "
            f"{row['difference']:+.4f} ({row['lower']:+.4f} … {row['upper']:+.4f})"
        )


@scenario_app.command("validate")
def scenario_validate(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Files; the whole scenario folder when none is given.")
    ] = None,
) -> None:
    """Check scenario files; every mistake is named with its file, line and field."""
    from assets.traces.scenario_files import read_scenario, read_scenarios

    scenarios = [read_scenario(path) for path in files] if files else read_scenarios(_settings().scenarios_dir)
    for scenario in scenarios:
        typer.echo(f"valid: {scenario.id} ({len(scenario.events)} events, {len(scenario.triggers)} triggers)")


@scenario_app.command("add")
def scenario_add(
    file: Annotated[Path, typer.Argument(help="A scenario file.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a scenario of the same id.")] = False,
) -> None:
    """Validate a scenario file and put it into the scenario folder, where the sensor finds it."""
    from assets.traces.scenario_files import add_scenario

    settings = _settings()
    target = add_scenario(file, settings.scenarios_dir, force=force)
    typer.echo(f"added: {target}\nSimulate it with: populace sweep {target.stem}")


@scenario_app.command("list")
def scenario_list() -> None:
    """List the scenarios with their question, events and baseline."""
    from rich.table import Table

    from assets.traces.scenario_files import read_scenarios

    table = Table("scenario", "question", "timesteps", "events", "triggers", "baseline")
    for scenario in read_scenarios(_settings().scenarios_dir):
        table.add_row(
            scenario.id,
            ", ".join(question.id for question in scenario.questions),
            f"{scenario.timesteps.count} × {scenario.timesteps.unit}",
            str(len(scenario.events)),
            str(len(scenario.triggers)),
            scenario.baseline or "—",
        )
    _console(stderr=False).print(table)


@traces_app.command("estimate")
def traces_estimate(recipe: RecipeOption = None) -> None:
    """Say how many requests, tokens and dollars an elicitation would take, before anything is sent."""
    settings = _settings(recipe, is_prepared=False)
    from orchestration.traces_commands import print_estimate

    print_estimate(settings, _console(stderr=False))


@traces_app.command("ledger")
def traces_ledger() -> None:
    """Say what was bought, what failed and why, and which batches are still at the server."""
    from orchestration.traces_commands import print_ledger

    print_ledger(_settings(is_prepared=False), _console(stderr=False))


@traces_app.command("export")
def traces_export(
    target: Annotated[Path, typer.Argument(help="Input file of the Batch API to write (.jsonl).")],
    recipe: RecipeOption = None,
) -> None:
    """Write what the plan of the last run asks next as a batch to run by hand; import its output, then export again."""
    settings = _settings(recipe)
    from orchestration.outside_batches import write_out

    typer.echo(write_out(settings, target))


@traces_app.command("import")
def traces_import(
    files: Annotated[
        list[Path], typer.Argument(help="Answer files (.parquet, .csv, Batch API .jsonl), persona texts.")
    ],
    codebook: Annotated[Path | None, typer.Option("--codebook", help="YAML that says what the files mean.")] = None,
    requests: Annotated[
        Path | None, typer.Option("--requests", help="The exported file whose batch gave these .jsonl files.")
    ] = None,
) -> None:
    """Keep answers that exist: recorded ones by a codebook, or those of a batch that was exported from our plan."""
    if (codebook is None) == (requests is None):
        raise typer.BadParameter("Give either --codebook (recorded answers) or --requests (a batch of our own plan).")
    settings = _settings()
    if codebook is None:
        assert requests is not None
        from orchestration.outside_batches import bring_in

        typer.echo(bring_in(settings, requests, files))
        return
    from orchestration.recorded_import import import_answers

    imported, has_changed = import_answers(settings, codebook, files)
    answers = imported.answers
    failed = answers.filter(answers["validation_status"] == "failed").height
    typer.echo(
        f"{answers.height:,} answers of {answers['model'].n_unique()} models to {answers['question_id'].n_unique()} "
        f"questions; {failed:,} could not be read, {answers['is_refusal'].sum():,} of them refusals; "
        f"{answers['human_option'].count():,} stand beside the respondent's own answer."
    )
    typer.echo("Imported; populace run puts them into reasoning_traces." if has_changed else "Nothing has changed.")


@teacher_app.command("serve")
def teacher_serve(
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port on 127.0.0.1.")] = 8100,
) -> None:
    """Serve the embedded teacher (not an LLM) on loopback: chat completions, embeddings, files, batches."""
    settings = _settings()
    from orchestration.teacher_server import serve_teacher

    serve_teacher(settings, port, typer.echo)


@teacher_app.command("estimate")
def teacher_estimate() -> None:
    """Show the embedded teacher's fit on held-out respondents, and estimate its estimated constants again."""
    settings = _settings()
    from orchestration.teacher_server import print_estimates

    print_estimates(settings, _console(stderr=False))


AgentsOption = Annotated[int, typer.Option("--agents", min=1, help="Agents of the whole population.")]
MemoryOption = Annotated[float, typer.Option("--memory-gb", min=1, help="Cap on the memory of the building process.")]
SeedOption = Annotated[int | None, typer.Option("--seed", min=0, help="Seed; default that of the recipe.")]


@population_app.command("plan")
def population_plan(agents: AgentsOption = 151_000_000, memory_gb: MemoryOption = 8.0, seed: SeedOption = None) -> None:
    """Say into which shards a population of this size falls, and what building it is expected to take."""
    settings = _settings()
    from orchestration.scale import make_plan, print_plan

    print_plan(make_plan(settings, agents, seed)[0], memory_gb, _console(stderr=False))


@population_app.command("build")
def population_build(
    agents: AgentsOption = 151_000_000,
    states: Annotated[str | None, typer.Option(help="Postal codes joined by commas; default all states.")] = None,
    memory_gb: MemoryOption = 8.0,
    name: Annotated[
        str, typer.Option(help="Folder under POPULACE_HOME/populations; a stopped build goes on.")
    ] = "sharded",
    seed: SeedOption = None,
) -> None:
    """Build agents and ties shard after shard under a memory cap, then check the margins of their union."""
    settings = _settings()
    from orchestration.scale import build, make_plan

    plan, margins = make_plan(settings, agents, seed)
    chosen = states.upper().split(",") if states else None
    build(settings, plan, margins, chosen, memory_gb, name, _console(stderr=False))


@society_app.command("targets")
def society_targets() -> None:
    """List what the graph has to be like, with sources, beside what the last run's graph is."""
    settings = _settings()
    from orchestration.scale import print_targets

    print_targets(settings, _console(stderr=False))


@society_app.command("recorded")
def society_recorded(
    measure: Annotated[bool, typer.Option(help="Measure the records of the data mirror anew.")] = False,
    write: Annotated[bool, typer.Option(help="Measure, and keep the numbers for runs without a mirror.")] = False,
) -> None:
    """Show statistics of recorded contact and friendship networks."""
    settings = _settings()
    from orchestration.scale import print_recorded

    print_recorded(settings, is_measured=measure, is_written=write, console=_console(stderr=False))


@society_app.command("fit")
def society_fit(
    rounds: Annotated[int, typer.Option(min=1, help="Graphs to form on the way.")] = 15,
    out: Annotated[Path | None, typer.Option(help="File for the rules; without it nothing is kept.")] = None,
) -> None:
    """Set the rules of tie formation so that the graph meets its targets."""
    settings = _settings()
    from orchestration.scale import fit

    fit(settings, rounds, out, _console(stderr=False))


@app.command()
def diff(
    scenario: Annotated[str, typer.Argument(help="A simulated scenario.")],
    other: Annotated[str, typer.Argument(help="The scenario to compare it with; both must ask the same question.")],
    replicate: Annotated[int, typer.Option("--replicate", help="Replicate of both.")] = 0,
) -> None:
    """Compare two simulated scenarios agent by agent: shares, segments, flipped decisions, channels that moved."""
    from orchestration.simulated import print_difference

    print_difference(_settings(is_prepared=False), scenario, other, replicate)


@app.command()
def narrate(
    scenario: Annotated[str, typer.Argument(help="A simulated scenario.")],
    agent: Annotated[int, typer.Argument(help="Number of the agent.")],
    replicate: Annotated[int, typer.Option("--replicate", help="Replicate.")] = 0,
) -> None:
    """Tell one agent's way through a scenario in words, from its stored states."""
    from orchestration.simulated import tell_story

    typer.echo(tell_story(_settings(is_prepared=False), scenario, agent, replicate))


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help='For example "select * from outcomes limit 5".')],
    output: Annotated[str, typer.Option("--format", help="table, csv or json.")] = "table",
    max_rows: Annotated[int, typer.Option("--max-rows", help="Rows shown as a table; csv and json give all.")] = 40,
) -> None:
    """Answer DuckDB SQL over every table, by name."""
    import polars as pl

    from orchestration.query import run_query
    from orchestration.table_store import TableStore

    if output not in ("table", "csv", "json"):
        raise typer.BadParameter(f"--format {output} is not known; allowed: table, csv, json.")
    frame = run_query(TableStore(_settings(is_prepared=False).tables_dir), sql)
    if output == "csv":
        nested = pl.selectors.nested()
        flat = frame.with_columns(nested.map_elements(lambda value: str(value.to_list()), return_dtype=pl.String))
        typer.echo(flat.write_csv(), nl=False)
    elif output == "json":
        typer.echo(frame.write_json())
    else:
        with pl.Config(
            tbl_rows=max_rows,
            tbl_cols=-1,
            tbl_width_chars=200,
            fmt_str_lengths=60,
            tbl_hide_dataframe_shape=True,
            tbl_hide_column_data_types=True,
        ):
            typer.echo(f"{frame}\n{frame.height:,} rows")


@app.command()
def report(
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build the report again from the current tables.")] = False,
    pdf: Annotated[bool, typer.Option("--pdf", help="Write the report as a PDF too, beside the page.")] = False,
) -> None:
    """Say where the validation report of the last run is, or build it again, as a PDF too."""
    settings = _settings()
    from orchestration.records import Records

    if rebuild:
        from orchestration.lineage_run import rebuild_report

        rebuild_report(settings, console=_console())
    record = Records(settings.records_dir).read("validation_report")
    if not record:
        raise ValueError("There is no report yet. Run `populace run` first.")
    typer.echo(record["path"])
    if pdf:
        from assets.evidence.report_pdf import write_pdf
        from orchestration.recipes import find_recipe

        typer.echo(write_pdf(settings, find_recipe(settings.recipe), record["run_id"]))


@app.command()
def doctor() -> None:
    """Say which Python, torch device, data sources, teacher and stores are in use, and what is wrong with them."""
    settings = _settings(is_prepared=False)
    from orchestration.doctor import examine

    findings = examine(settings)
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        typer.echo(f"{'ok ' if finding.is_fine else 'BAD'} {finding.subject:<{width}}  {finding.value}")
    if not all(finding.is_fine for finding in findings):
        raise typer.Exit(1)


@app.command()
def up() -> None:
    """Start the Dagster web server and daemon and the MLflow UI, on loopback, until interrupted."""
    settings = _settings()
    from orchestration.servers import serve

    serve(settings)


def _settings(recipe: str | None = None, *, is_prepared: bool = True):
    """Settings of this command, with the home folder ready; a recipe given on the command line wins."""
    if recipe:
        os.environ["POPULACE_RECIPE"] = recipe
    from orchestration.recipes import find_recipe
    from orchestration.settings import Settings, prepare_home

    settings = Settings()
    find_recipe(settings.recipe)
    if is_prepared:
        prepare_home(settings)
    return settings


def _console(*, stderr: bool = True):
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def main() -> None:
    """Entry point: errors of ours end in one message and exit code 1; anything else keeps its traceback."""
    try:
        app()
    except Exception as error:
        if not type(error).__module__.startswith(OUR_PACKAGES) and not isinstance(error, ValueError):
            raise
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
