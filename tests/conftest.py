"""What every test runs under: one thread a worker, no hub, no network, the same generated examples each time."""

import os

# Before torch is imported anywhere: two workers on two cores must not fight over four threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["EYEGRAFT_LANG"] = "en"  # also on a machine whose locale is Chinese
os.environ.pop("EYEGRAFT_DTYPE", None)
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # processes that tests start would compile all they import

import gc
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import settings

from llm.activity import compiler_off
from llm.log import log_to_console, logger
from tests.plots import draw_each_kind_once

settings.register_profile("ours", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ours")

IMPORTING = ExitStack()  # of what lasts until the tests are collected
# Files that take 30 s of CPU and more, by these seconds. A file belongs to one worker.
LONGEST = (
    "tests/docs/test_commands.py",  # 100
    "tests/parallel/test_parallel.py",  # 75, in three processes
    "tests/demo/jobs/test_openai_client.py",  # 60
    "tests/parallel/test_launch.py",  # 55, two processes at a time
    "tests/evaluators/test_evaluators.py",  # 45
    "tests/demo/pages/test_browser_faults.py",  # 40
    "tests/demo/job_pages/test_browser_road.py",
    "tests/demo/jobs/test_moves.py",  # 22
)
LOCAL = ("127.0.0.1", "::1", "localhost", "")


def pytest_configure() -> None:
    """No garbage is collected while modules are imported and tests collected: what these make stays."""
    gc.disable()
    IMPORTING.enter_context(compiler_off())


def pytest_collection_finish() -> None:
    """Collect garbage again, but never among these million objects."""
    IMPORTING.close()
    draw_each_kind_once()
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files of LONGEST begin: a long file that begins last leaves the other worker without work until it ends."""
    places = {file: place for place, file in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(LONGEST)))


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A test that reaches for another machine fails at once, with the address."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in LOCAL:
            raise AssertionError(f"a test reached for the network: {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    yield


@pytest.fixture(autouse=True)
def messages_on_the_console() -> Iterator[None]:
    """What library code logs is shown as under the command, for tests that read standard output."""
    with log_to_console():
        logger.propagate = True  # to pytest's caplog
        yield
