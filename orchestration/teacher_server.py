"""`populace teacher serve`: the embedded teacher for any OpenAI client, on loopback, until interrupted."""

from collections.abc import Callable

import polars as pl

from orchestration.servers import HOST, Server, check_port
from orchestration.settings import Settings
from orchestration.table_store import TableStore

FOLDER = "teacher_server"
TABLE = "survey_respondents"


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
    from assets.traces.embedded_teacher.response_models import fit_response_models

    respondents, origin = find_respondents(settings)
    app = create_app(fit_response_models(respondents), settings.root / FOLDER)
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
