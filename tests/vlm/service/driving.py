"""What the tests of jobs do: submit, wait for a state, read what was written, kill.

Every wait is for a state, with a limit that only a broken service reaches.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.vlm.service import fake_trainer
from tests.vlm.service.slurm_cluster import SlurmCluster
from vlm.service.attempts.process_identity import living_process
from vlm.service.engines.slurm import RANK
from vlm.service.layout import Layout
from vlm.service.store.attempt_table import living_attempts
from vlm.service.store.database import Database
from vlm.service.store.event_table import list_events
from vlm.service.store.job_table import NewJob, find_job, submit
from vlm.service.store.rows import Attempt, Job
from vlm.service.store.states import FINAL, State
from vlm.service.supervisor import Supervisor

WAIT_S = 480.0


def add(database: Database, steps: int = 5, seconds: float = 0.01, processes: int = 1, engine: str = "") -> str:
    """Submit a job of the fake trainer."""
    new = NewJob({"steps": steps, "seconds": seconds}, "base", {}, "file-1", engine=engine, processes=processes)
    return submit(database, new)[0].id


def job_of(database: Database, name: str) -> Job:
    """A job that there is."""
    job = find_job(database, name)
    assert job is not None
    return job


def tick_until(supervisor: Supervisor, done: Callable[[], object], what: str) -> None:
    """Tick until something is so."""
    until = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < until, f"waited for {WAIT_S:g} s until {what}"
        supervisor.tick()
        time.sleep(0.02)


def wait_for(supervisor: Supervisor, database: Database, name: str, *states: State) -> Job:
    """Tick until the job is in one of the states."""

    def arrived() -> bool:
        state = job_of(database, name).state
        assert state in states or state not in FINAL, f"{name} is {state}: {messages(database, name)}"
        return state in states

    tick_until(supervisor, arrived, f"{name} is {states}")
    return job_of(database, name)


def hold(root: Path, name: str) -> Path:
    """Keep a job before its last step until the file is deleted."""
    file = Layout(root).job(name) / fake_trainer.HOLD
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    return file


def messages(database: Database, name: str) -> list[str]:
    """What has happened to a job, oldest first."""
    return [event.message for event in list_events(database, name, 1000, after=0)[0] if event.kind == "message"]


def seen_losses(database: Database, name: str) -> list[int]:
    """The losses among a job's events."""
    events, _ = list_events(database, name, 1000, after=0)
    return [int(event.data["loss"]) for event in events if event.kind == "metrics"]


def written_losses(root: Path, name: str) -> list[int]:
    """The losses in a job's run folder."""
    lines = (Layout(root).run(name) / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def start_service(root: Path, *engines: str) -> "subprocess.Popen[bytes]":
    """A service without API, in a process of its own."""
    return subprocess.Popen([sys.executable, "-m", "tests.vlm.service.fake_service", str(root), *engines])


def kill_one(
    root: Path,
    database: Database,
    service: "subprocess.Popen[bytes]",
    cluster: SlurmCluster | None,
    chance: random.Random,
) -> str:
    """Kill the service, a wrapper, a trainer or a daemon of Slurm; which it was, empty where there was none."""
    victim = chance.choice(["service", "wrapper", "trainer", *(["slurmctld", "slurmd"] if cluster else [])])
    if cluster is not None and victim.startswith("slurm"):
        cluster.kill(victim)
        time.sleep(chance.uniform(0, 0.5))
        cluster.start(victim)
        return victim
    if victim == "service":
        service.kill()
        service.wait()
        return victim
    living = living_attempts(database)
    if not living:
        return ""
    attempt = chance.choice(living)
    killed = kill_trainer(root, attempt.job) if victim == "trainer" else kill_wrapper(root, attempt)
    return victim if killed else ""


def kill_wrapper(root: Path, attempt: Attempt) -> bool:
    """Kill an attempt's wrapper; returns whether there was one."""
    pid = living_process(Layout(root).attempt(attempt))
    with suppress(ProcessLookupError):
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            return True
    return False


def _words(process: Path) -> list[bytes]:
    """The command of a process, without the option that some are started with and others not."""
    return [word for word in (process / "cmdline").read_bytes().split(b"\0") if word != b"-P"]


def signal_rank(root: Path, name: str, number: int) -> bool:
    """Send a signal to the process around the trainer of a Slurm job; returns whether there was one."""
    folder = str(Layout(root).job(name)).encode()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = _words(process)
            if words[1:3] == [b"-m", RANK.encode()] and words[3].startswith(folder):
                os.kill(int(process.name), number)
                return True
    return False


def kill_trainer(root: Path, name: str) -> bool:
    """Kill the process that trains in the job's run folder; returns whether there was one."""
    run = str(Layout(root).run(name)).encode()
    programs = [[b"-m", b"vlm.app"], [fake_trainer.__file__.encode(), run]]
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = _words(folder)
            if words[1:3] in programs and {run, b"out=" + run} & set(words):
                os.kill(int(folder.name), signal.SIGKILL)
                return True
    return False
