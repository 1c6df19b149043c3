"""Progress of a run in the terminal, from Dagster's own events: one line per step, with time and rows."""

import logging
import time
from collections.abc import Callable

import dagster as dg
from rich.console import Console

_console = Console(stderr=True, highlight=False)
_listener: Callable[[logging.LogRecord], None] | None = None


class StepProgress:
    """Prints one line when a step ends, and the current step's messages in a status line while it runs."""

    def __init__(self, console: Console, num_steps: int) -> None:
        self.console = console
        self.num_steps = num_steps
        self.num_done = 0
        self._started: dict[str, float] = {}
        self._num_rows: dict[str, dict[str, int]] = {}
        self._status = console.status("starting")

    def __enter__(self) -> "StepProgress":
        """Starts listening to the progress logger."""
        global _listener
        _listener = self.on_record
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stops listening."""
        global _listener
        _listener = None
        self._status.stop()

    def on_record(self, record: logging.LogRecord) -> None:
        """Handles one log record of Dagster."""
        meta = getattr(record, "dagster_meta", {})
        event, step = meta.get("dagster_event"), meta.get("step_key")
        if event is None:
            if step and record.levelno >= logging.INFO:
                self._say(step, meta.get("orig_message", ""), record.levelno)
        elif event.event_type_value == "STEP_START" and step:
            self._started[step] = time.monotonic()
            self._status.update(f"[bold]{step}[/bold] …")
        elif event.event_type_value == "ASSET_MATERIALIZATION" and step:
            rows = event.materialization.metadata.get("num_rows_written")
            asset = event.materialization.asset_key.path[-1]
            self._num_rows.setdefault(step, {})[asset] = rows.value if rows else 0
        elif event.event_type_value in ("STEP_SUCCESS", "STEP_FAILURE") and step:
            self._finish(step, event.event_type_value == "STEP_SUCCESS")

    def _say(self, step: str, message: str, level: int) -> None:
        if level >= logging.WARNING:
            self.console.print(f"  [yellow]![/yellow] {step}: {message}")
        elif self.console.is_terminal:
            self._status.update(f"[bold]{step}[/bold] {message}")

    def _finish(self, step: str, has_succeeded: bool) -> None:
        self.num_done += 1
        seconds = time.monotonic() - self._started.pop(step, time.monotonic())
        mark = "[green]✓[/green]" if has_succeeded else "[red]✗[/red]"
        num_rows = sum(self._num_rows.get(step, {}).values())
        rows = f"{num_rows:>12,} rows" if num_rows else ""
        self.console.print(
            f"{mark} {self.num_done:>3}/{self.num_steps} {step:<44} {seconds:7.1f} s {rows}", soft_wrap=True
        )


class _Forward(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if _listener is not None:
            _listener(record)
        elif record.levelno >= logging.WARNING:
            _console.print(record.getMessage())


@dg.logger(config_schema={}, description="Feeds the terminal's progress; only warnings where none listens.")
def progress_logger(_: dg.InitLoggerContext) -> logging.Logger:
    """The logger that jobs use instead of Dagster's verbose console."""
    logger = logging.Logger("populace.progress", logging.DEBUG)
    logger.addHandler(_Forward())
    return logger
