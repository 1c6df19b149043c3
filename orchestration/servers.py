"""`populace up`: the Dagster web server and daemon and the MLflow UI, on loopback, ended together."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from orchestration.settings import PROJECT_ROOT, Settings

HOST = "127.0.0.1"
STOP_SECONDS = 15.0


class PortInUse(RuntimeError):
    """A server's port is taken."""


@dataclass(frozen=True)
class Server:
    """One process to start: what it is called, where it listens (None for the daemon), how it is started."""

    name: str
    port: int | None
    variable: str
    command: list[str]


def serve(settings: Settings) -> None:
    """Starts the servers and waits until one ends or the user interrupts; then ends them all.

    Raises:
        PortInUse: a port is taken; nothing was started.
    """
    servers = plan_servers(settings)
    for server in servers:
        if server.port is not None:
            check_port(server)
    initialise_instance(settings)
    processes = [
        subprocess.Popen(server.command, cwd=PROJECT_ROOT, start_new_session=True, env=dict(os.environ))
        for server in servers
    ]
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for server in servers:
        if server.port is not None:
            print(f"{server.name}: http://{HOST}:{server.port}")
    print(f"validation report: {settings.reports_dir / 'latest.html'}")
    print("Ctrl-C ends all.", flush=True)
    try:
        while all(process.poll() is None for process in processes):
            time.sleep(0.5)
    except KeyboardInterrupt:
        pass
    finally:
        _stop(processes)


def plan_servers(settings: Settings) -> list[Server]:
    """The three processes, all bound to loopback."""
    bin_dir = Path(sys.executable).parent
    workspace = ["-w", str(PROJECT_ROOT / "workspace.yaml")]
    return [
        Server(
            "Dagster",
            settings.dagster_port,
            "POPULACE_DAGSTER_PORT",
            [_program("dagster-webserver", bin_dir), "-h", HOST, "-p", str(settings.dagster_port), *workspace],
        ),
        Server("Dagster daemon", None, "", [_program("dagster-daemon", bin_dir), "run", *workspace]),
        Server(
            "MLflow",
            settings.mlflow_port,
            "POPULACE_MLFLOW_PORT",
            [
                _program("mlflow", bin_dir),
                "server",
                "--host",
                HOST,
                "--port",
                str(settings.mlflow_port),
                "--backend-store-uri",
                settings.mlflow_tracking_uri,
                "--artifacts-destination",
                settings.mlflow_artifacts_dir.as_uri(),
                "--workers",
                "1",
            ],
        ),
    ]


def check_port(server: Server) -> None:
    """Raises PortInUse when something listens on the server's port already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, server.port or 0))
        except OSError as error:
            raise PortInUse(
                f"Port {server.port} of {HOST}, for {server.name}, is in use ({error.strerror}). Allowed: a free port. "
                f"End the other program or set {server.variable} to another port; nothing was started."
            ) from error


def initialise_instance(settings: Settings) -> None:
    """Creates Dagster's databases once, before several processes open them together."""
    import dagster as dg

    with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        instance.get_runs(limit=1)


def _program(name: str, bin_dir: Path) -> str:
    beside = bin_dir / name
    return str(beside) if beside.exists() else shutil.which(name) or name


def _stop(processes: list[subprocess.Popen]) -> None:
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
    deadline = time.monotonic() + STOP_SECONDS
    for process in processes:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
