"""A pytest plugin that records the lines that each test and fixture runs, and their time.

`EYEGRAFT_TRACE=FOLDER pytest -p tests.mutate.tracing`: each worker leaves `FOLDER/<worker>.json` beside coverage's
files. A fixture's lines count for every test that uses it, not only for the first, which happens to make it. Processes
that a test starts are watched as well; what one runs counts for the test.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coverage
import pytest

PACKAGES = ("llm", "vlm", "data_tools", "demo")
SETTINGS = """[run]
data_file = {folder}/coverage
parallel = true
include =
{include}
context = ${{EYEGRAFT_CONTEXT}}
sigterm = true
"""


class Tracer:
    """Coverage of one pytest process, in contexts: `t<n>` for a test, `f<n>` for a fixture, with the worker's name."""

    def __init__(self, folder: Path, worker: str, root: Path) -> None:
        self.worker, self.folder = worker, folder
        self.contexts: dict[str, str] = {}  # "t <node>" or "f <fixture>": its context
        self.seconds: dict[str, float] = {}
        self.fixtures: dict[str, list[str]] = {}  # of each test
        include = [f"{root}/{package}/*" for package in PACKAGES]
        settings = folder / f"{worker}.cfg"
        settings.write_text(
            SETTINGS.format(folder=folder, include="\n".join(f"    {pattern}" for pattern in include)), encoding="utf-8"
        )
        os.environ["EYEGRAFT_CONTEXT"] = ""
        self.coverage = coverage.Coverage(
            data_file=str(folder / "coverage"), data_suffix=worker, config_file=False, include=include
        )
        self.coverage.start()
        os.environ["COVERAGE_PROCESS_START"] = str(settings)

    def switch(self, key: str) -> None:
        """Lines that run from here on belong to this test or fixture."""
        context = self.contexts.setdefault(key, f"{self.worker}.{len(self.contexts)}") if key else ""
        os.environ["EYEGRAFT_CONTEXT"] = context
        self.coverage.switch_context(context)

    def spent(self, key: str, seconds: float) -> None:
        """Add to the cost of a test or fixture."""
        self.seconds[key] = self.seconds.get(key, 0.0) + seconds

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """One test with its fixtures."""
        definitions: dict[str, Any] = item._fixtureinfo.name2fixturedefs if _has_fixtures(item) else {}
        self.fixtures[item.nodeid] = [_named(each[-1]) for each in definitions.values()]
        self.switch(f"t {item.nodeid}")
        result = yield
        self.switch("")
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Iterator[None]:
        """One fixture; those that it needs were made before."""
        key, before = f"f {_named(fixturedef)}", os.environ["EYEGRAFT_CONTEXT"]
        began = time.perf_counter()
        self.switch(key)
        try:
            return (yield)
        finally:
            self.spent(key, time.perf_counter() - began)
            os.environ["EYEGRAFT_CONTEXT"] = before
            self.coverage.switch_context(before)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """The time of a test without its fixtures."""
        if report.when == "call":
            self.spent(f"t {report.nodeid}", report.duration)

    def pytest_unconfigure(self) -> None:
        """Write the results."""
        self.coverage.stop()
        self.coverage.save()
        document = {"contexts": self.contexts, "seconds": self.seconds, "fixtures": self.fixtures}
        (self.folder / f"{self.worker}.json").write_text(json.dumps(document), encoding="utf-8")


def _has_fixtures(item: pytest.Item) -> bool:
    return getattr(item, "_fixtureinfo", None) is not None


def _named(fixture: Any) -> str:
    return f"{fixture.baseid}::{fixture.argname}"


def pytest_configure(config: pytest.Config) -> None:
    """Register the tracer, in a worker or in a pytest process without workers."""
    if getattr(config.option, "numprocesses", None):
        return  # the process that distributes tests runs none
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    folder = Path(os.environ["EYEGRAFT_TRACE"])
    folder.mkdir(parents=True, exist_ok=True)
    config.pluginmanager.register(Tracer(folder, worker, Path(config.rootpath)), "tracer")
