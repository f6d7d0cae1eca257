"""A process that tries mutants in a copy of the tree: `python -m tests.mutate.trial PACKAGE...`, started in that copy.

It reads a JSON line for each mutant and answers with one. Packages are imported once; a fork for each mutant imports
our modules, with the mutant's source, and runs the chosen tests until one fails. The source is written into the copy,
so that processes that a test starts use it too.
"""

import contextlib
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MEMORY = 48 * 2**30  # bytes of address space; DeepSpeed takes 26 GB, and a mutant might allocate without end
MARK = "EYEGRAFT_MUTANT"  # marks the environment of started processes, to find those that are left running
FAILED = 70  # exit status: a test failed
BROKEN = 71  # exit status: pytest could not run the tests


class Recorder:
    """A pytest plugin that records the first failure and counts passed tests."""

    def __init__(self) -> None:
        self.passed = 0
        self.failure: dict[str, str] = {}

    def pytest_collectreport(self, report: Any) -> None:
        """A test file that cannot be imported."""
        if report.failed:
            self._keep(report.nodeid, "collect", str(report.longrepr))

    def pytest_runtest_logreport(self, report: Any) -> None:
        """One phase of one test."""
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            self._keep(report.nodeid, report.when, crash.message if crash else str(report.longrepr))
        elif report.when == "call":
            self.passed += 1

    def _keep(self, test: str, when: str, message: str) -> None:
        lines = message.strip().splitlines() or [""]
        line = lines[0] if when != "collect" else lines[-1]
        self.failure = self.failure or {"test": test, "when": when, "message": line[:200]}


def main() -> None:
    """Answer every line of standard input."""
    sys.path.insert(0, str(Path.cwd()))
    for name in sys.argv[1:]:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    answers = os.fdopen(os.dup(1), "w")
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(tried(json.loads(line))), file=answers, flush=True)


def tried(task: dict[str, Any]) -> dict[str, Any]:
    """The result of a task, which has `path`, the mutant's `source`, `tests`, `limit` in seconds and `name`."""
    path = Path(task["path"])
    before = path.read_text(encoding="utf-8")
    scratch = Path.cwd().parent / f"{Path.cwd().name}-tmp"
    scratch.mkdir(exist_ok=True)
    began = time.perf_counter()
    try:
        _write(path, task["source"])
        status = _in_a_fork(task, scratch)
    finally:
        _write(path, before)
    seconds = round(time.perf_counter() - began, 1)
    report = scratch / "report.json"
    found = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}
    shutil.rmtree(scratch, ignore_errors=True)
    return {"name": task["name"], "status": _word(status, found), "seconds": seconds} | found


def _word(status: int | None, found: dict[str, Any]) -> str:
    if status is None:
        return "timeout"
    if status == 0:
        return "survived"
    return "killed" if found.get("failure") else "crashed"


_clock = int(time.time())


def _write(path: Path, text: str) -> None:
    """Write with a new modification time in seconds, by which, with the length, Python finds compiled files stale."""
    global _clock
    _clock += 1
    path.write_text(text, encoding="utf-8")
    os.utime(path, (_clock, _clock))


def _in_a_fork(task: dict[str, Any], scratch: Path) -> int | None:
    """The exit status of the tests, which run in a child process; None after the time limit."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(_run_tests(task, scratch))
        finally:
            os._exit(BROKEN)  # the child must not return into its parent's loop
    try:
        status = _waited(child, task["limit"])
    finally:
        _end_what_is_left(child, task["name"])
    return status


def _waited(child: int, limit: float) -> int | None:
    end = time.monotonic() + limit
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _end_what_is_left(child: int, name: str) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    for number in _marked(f"{MARK}={name}".encode()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def _marked(words: bytes) -> Iterator[int]:
    """Processes with this entry in their environment."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if words in (entry / "environ").read_bytes().split(b"\0"):
                yield int(entry.name)


def _run_tests(task: dict[str, Any], scratch: Path) -> int:
    os.setsid()
    os.environ[MARK] = task["name"]
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    log = os.open(scratch / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number in (1, 2):
        os.dup2(log, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    import pytest

    recorder = Recorder()
    options = ["-x", "-p", "no:cacheprovider", "-p", "no:xdist", f"--basetemp={scratch / 'files'}"]
    status = pytest.main([*options, *task["tests"]], plugins=[recorder])
    report = {"passed": recorder.passed, "failure": recorder.failure}
    (scratch / "report.json").write_text(json.dumps(report), encoding="utf-8")
    return {0: 0, 1: FAILED}.get(int(status), FAILED if recorder.failure else BROKEN)


if __name__ == "__main__":
    main()
