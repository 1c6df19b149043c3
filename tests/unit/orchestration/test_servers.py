"""`populace up`: loopback only, and a taken port is named before anything starts."""

import socket
from pathlib import Path

import pytest

from orchestration.servers import HOST, PortInUse, check_port, plan_servers
from orchestration.settings import Settings


def test_every_server_binds_to_loopback(tmp_path: Path) -> None:
    for server in plan_servers(Settings(home=tmp_path)):
        if server.port is not None:
            assert HOST == "127.0.0.1"
            assert HOST in server.command
        assert "0.0.0.0" not in server.command


def test_a_taken_port_is_named_with_the_variable_that_changes_it(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        dagster = plan_servers(Settings(home=tmp_path, dagster_port=port))[0]

        with pytest.raises(PortInUse, match="POPULACE_DAGSTER_PORT") as caught:
            check_port(dagster)

    assert str(port) in str(caught.value)
    check_port(dagster)
