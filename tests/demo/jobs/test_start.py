"""A service that cannot start says why, and leaves the folder free."""

import os
import sqlite3
from pathlib import Path

import pytest

from demo.jobs.launch import ServiceOptions, running
from demo.server.guard import LOOPBACK
from llm.errors import ServiceError
from vlm.service.engines.engine import Slot
from vlm.service.supervisor import lock_root
from vlm.service.trainable_models import TrainableModels


def options(root: Path) -> ServiceOptions:
    return ServiceOptions(root, TrainableModels({}, frozenset()), (Slot("cpu", "cpu", 1),), "token", LOOPBACK)


def test_a_database_of_a_newer_version_is_refused_and_unchanged(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "service.db") as database:
        database.execute("CREATE TABLE jobs(id TEXT)")
        database.execute("PRAGMA user_version = 99")
    for _ in range(2):
        with pytest.raises(ServiceError, match="newer Eyegraft .*version 99"), running(options(tmp_path)):
            raise AssertionError("it runs")
    with sqlite3.connect(tmp_path / "service.db") as database:
        assert database.execute("SELECT name FROM sqlite_schema").fetchall() == [("jobs",)]
    os.close(lock_root(tmp_path))


def test_a_second_service_is_refused_by_name(tmp_path: Path) -> None:
    held = lock_root(tmp_path)
    with pytest.raises(ServiceError, match=f"process {os.getpid()}"), running(options(tmp_path)):
        raise AssertionError("it runs")
    os.close(held)
