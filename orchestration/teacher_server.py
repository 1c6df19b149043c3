"""`populace teacher`: the embedded teacher for any OpenAI client, on loopback, and how well it is estimated."""

from collections.abc import Callable

import polars as pl
from rich.console import Console
from rich.table import Table

from orchestration.servers import HOST, Server, check_port
from orchestration.settings import Settings
from orchestration.table_store import TableStore

FOLDER = "teacher_server"
TABLE = "survey_respondents"
WIDEST_TABLE = 130
"""Columns of text that the tables of estimates need, whatever the terminal says."""


def serve_teacher(settings: Settings, port: int, tell: Callable[[str], None]) -> None:
    """Serves until SIGINT or SIGTERM; files and batches are kept under `POPULACE_HOME` and taken up again.

    Args:
        settings: where tables, data and state lie.
        port: port on loopback.
        tell: receives the lines that say how to point a client at the server.

    Raises:
        PortInUse: the port is taken; nothing was started.
    """
    check_port(Server("the teacher", port, "--port", []))
    import uvicorn
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from assets.traces.embedded_teacher.app import create_app
    from assets.traces.embedded_teacher.notes import notes_of
    from assets.traces.embedded_teacher.response_models import fit_response_models
    from assets.traces.scenario_files import read_scenarios
    from assets.traces.scenario_table import scenarios_table

    respondents, origin = find_respondents(settings)
    notes = notes_of(scenarios_table(read_scenarios(settings.scenarios_dir)))
    app = create_app(fit_response_models(respondents), settings.root / FOLDER, notes=notes)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    tell(f"{app.state.teacher.model}: estimated on {origin}. It is a statistical stand-in, not an LLM.")
    tell(f"POPULACE_TEACHER_BASE_URL=http://{HOST}:{port}/v1")
    tell(f"POPULACE_TEACHER_MODEL={app.state.teacher.model}")
    tell("Ctrl-C ends it.")
    config = uvicorn.Config(app, host=HOST, port=port, log_level="warning", timeout_graceful_shutdown=5)
    try:
        uvicorn.Server(config).run()
    except KeyboardInterrupt:
        tell("The teacher has ended.")


def find_respondents(settings: Settings) -> tuple[pl.DataFrame, str]:
    """The respondents of the last run, or those of the data at hand where there was none; and which they are."""
    store = TableStore(settings.tables_dir)
    if store.exists(TABLE):
        return store.read(TABLE), f"table {TABLE} of {settings.root}"
    from assets.population.surveys import load_respondents
    from assets.sources.catalogue import open_catalogue

    loaded = load_respondents(open_catalogue(settings)).frame
    surveys = ", ".join(loaded["survey"].unique().sort().to_list())
    return loaded, f"{surveys} (no run has left a table {TABLE} yet)"


def print_estimates(settings: Settings, console: Console) -> None:
    """Shows how well the response models predict held-out respondents, and the estimated constants estimated again."""
    from assets.sources.catalogue import open_catalogue
    from assets.traces.embedded_teacher.estimation import PANEL, estimate_constants
    from assets.traces.embedded_teacher.held_out_fit import score_response_models

    console.width = max(console.width, WIDEST_TABLE)
    respondents, origin = find_respondents(settings)
    fit = Table("item", "survey", "held out", "log loss", "marginal", "gain (95 %)", title=f"estimated on {origin}")
    for row in score_response_models(respondents).iter_rows(named=True):
        gain = f"{row['gain']:+.4f} ({row['lower']:+.4f} to {row['upper']:+.4f})"
        losses = (f"{row['log_loss']:.4f}", f"{row['marginal_log_loss']:.4f}")
        fit.add_row(row["item"], row["survey"], f"{row['num_held_out']:,}", *losses, gain)
    console.print(fit)
    catalogue = open_catalogue(settings)
    people = catalogue.resolve(PANEL).load()["yearid"] if catalogue.is_available(PANEL) else None
    constants = Table("constant", "of", "stored", "estimated now", "respondents")
    for each in estimate_constants(respondents, people):
        now = "data not at hand" if each.estimated is None else f"{each.estimated:.2f}"
        constants.add_row(each.name, each.key, f"{each.stored:.2f}", now, f"{each.num_respondents:,}")
    console.print(constants)
