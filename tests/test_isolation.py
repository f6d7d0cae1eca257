"""The promise of conftest: no test leaves this machine."""

import os
import socket

import pytest


def test_a_connection_to_the_network_raises() -> None:
    with pytest.raises(AssertionError, match="reached for the network"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)  # TEST-NET-1: routed nowhere


def test_a_connection_to_localhost_is_allowed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass


def test_the_hub_is_off() -> None:
    assert os.environ["HF_HUB_OFFLINE"] == "1"
