"""The promises of conftest: no test leaves this machine, and long files begin."""

import os
import socket
from types import SimpleNamespace

import pytest

from tests.conftest import LONGEST, pytest_collection_modifyitems
from tests.docs.blocks import ROOT


def test_a_connection_to_the_network_raises() -> None:
    with pytest.raises(AssertionError, match="reached for the network"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)  # TEST-NET-1: routed nowhere


def test_a_connection_to_localhost_is_allowed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass


def test_the_hub_is_off() -> None:
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_long_files_begin_and_others_keep_their_order() -> None:
    assert [file for file in LONGEST if not (ROOT / file).exists()] == []
    names = [
        "tests/a.py::one",
        f"{LONGEST[1]}::two[x::y]",
        "tests/a.py::three",
        f"{LONGEST[0]}::four",
        "tests/b.py::five",
    ]
    items = [SimpleNamespace(nodeid=name) for name in names]
    pytest_collection_modifyitems(items)
    assert [item.nodeid for item in items] == [names[place] for place in (3, 1, 0, 2, 4)]
