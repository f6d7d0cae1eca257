"""A plugin of pytest that records which lines of the core each test and each fixture runs, and what they cost.

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
    """One pytest process under coverage, in contexts: `t<n>` of a test, `f<n>` of a fixture, each with a worker."""

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
        """What runs from here on counts for this test or fixture."""
        context = self.contexts.setdefault(key, f"{self.worker}.{len(self.contexts)}") if key else ""
        os.environ["EYEGRAFT_CONTEXT"] = context
        self.coverage.switch_context(context)

    def spent(self, key: str, seconds: float) -> None:
        """Add to a test's or fixture's cost."""
        self.seconds[key] = self.seconds.get(key, 0.0) + seconds

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """One test, from its fixtures to their end."""
        definitions: dict[str, Any] = item._fixtureinfo.name2fixturedefs if _has_fixtures(item) else {}
        self.fixtures[item.nodeid] = [_named(each[-1]) for each in definitions.values()]
        self.switch(f"t {item.nodeid}")
        result = yield
        self.switch("")
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Iterator[None]:
        """One fixture is made; what it needs was made before."""
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
        """The time of a test's own."""
        if report.when == "call":
            self.spent(f"t {report.nodeid}", report.duration)

    def pytest_unconfigure(self) -> None:
        """Leave what was found."""
        self.coverage.stop()
        self.coverage.save()
        document = {"contexts": self.contexts, "seconds": self.seconds, "fixtures": self.fixtures}
        (self.folder / f"{self.worker}.json").write_text(json.dumps(document), encoding="utf-8")


def _has_fixtures(item: pytest.Item) -> bool:
    return getattr(item, "_fixtureinfo", None) is not None


def _named(fixture: Any) -> str:
    return f"{fixture.baseid}::{fixture.argname}"


def pytest_configure(config: pytest.Config) -> None:
    """Begin, in a worker or in a pytest without workers."""
    if getattr(config.option, "numprocesses", None):
        return  # the process that hands tests out runs none
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    folder = Path(os.environ["EYEGRAFT_TRACE"])
    folder.mkdir(parents=True, exist_ok=True)
    config.pluginmanager.register(Tracer(folder, worker, Path(config.rootpath)), "tracer")
