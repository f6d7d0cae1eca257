"""A process that tries mutants in a copy of the tree: `python -m tests.mutate.trial PACKAGE...`, started in that copy.

It reads a JSON line for each mutant and answers with one. The packages are imported once; a fork per mutant
imports ours, with the fault in, and runs the chosen tests until one fails. The fault is in the copy's file, so that
processes that a test starts have it as well.
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

MEMORY = 48 * 2**30  # bytes of addresses: DeepSpeed takes 26 GB of them; a fault may ask for more than there is
MARK = "EYEGRAFT_MUTANT"  # by which processes that a trial left running are found
FAILED = 70  # the exit status of a run in which a test failed
BROKEN = 71  # of one that pytest could not run


class Recorder:
    """A plugin of pytest that keeps the first failure, and counts what passed."""

    def __init__(self) -> None:
        self.passed = 0
        self.failure: dict[str, str] = {}

    def pytest_collectreport(self, report: Any) -> None:
        """A module that cannot be imported any more."""
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
    """Answer until standard input ends."""
    sys.path.insert(0, str(Path.cwd()))
    for name in sys.argv[1:]:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    answers = os.fdopen(os.dup(1), "w")
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(tried(json.loads(line))), file=answers, flush=True)


def tried(task: dict[str, Any]) -> dict[str, Any]:
    """What became of one task: `path`, `source` with the fault, `tests`, `limit` in seconds, `name`."""
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
    """Each time with a new second of change: Python recognises compiled files by that and by the length."""
    global _clock
    _clock += 1
    path.write_text(text, encoding="utf-8")
    os.utime(path, (_clock, _clock))


def _in_a_fork(task: dict[str, Any], scratch: Path) -> int | None:
    """The exit status of the tests in a child of their own; None when they took longer than the limit."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(_run_tests(task, scratch))
        finally:
            os._exit(BROKEN)  # never back into the loop of its parent
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
    """Processes that were started with these words in their environment."""
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
