"""The one loop that moves jobs: gate, queue, attempts, verdicts. What it knows is in the store and in the folders."""

import fcntl
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from llm.errors import ServiceError
from llm.log import logger
from vlm.service.engines.engine import Engine
from vlm.service.follow import Followers
from vlm.service.layout import Layout
from vlm.service.reconcile import engine_of, reconcile
from vlm.service.results import results
from vlm.service.schedule import StartOf, schedule, submit
from vlm.service.store.attempt_table import living_attempts
from vlm.service.store.database import Database
from vlm.service.store.event_table import troubles_noted
from vlm.service.store.job_table import JobChanges, find_job
from vlm.service.store.rows import Job
from vlm.service.store.states import State

PAUSE_S = 1.0
GRACE_S = 120.0
"""In which a step is finished and a checkpoint of some tens of GB is saved."""


class Supervisor:
    """Calls `tick` about once a second; it may be killed at any instant and go on in another process."""

    def __init__(
        self,
        database: Database,
        layout: Layout,
        engines: Mapping[str, Engine],
        start_of: StartOf,
        validate: Callable[[], None],
        grace_s: float = GRACE_S,
    ) -> None:
        """`start_of` makes the command of an attempt; `validate` moves jobs from validating to queued or failed.

        `grace_s`: seconds in which the training of a paused or cancelled job must stop before it is killed.
        """
        self._database, self._layout, self._engines = database, layout, engines
        self._start_of, self._validate, self._grace_s = start_of, validate, grace_s
        self._followers = Followers(database, layout)
        self._wake = threading.Event()

    def tick(self) -> None:
        """Look at everything once."""
        self._submit_again()
        self._followers.follow(attempt.job for attempt in living_attempts(self._database))
        reconcile(self._database, self._layout, self._engines, self._results, self._grace_s)
        self._validate()
        schedule(self._database, self._layout, self._engines, self._start_of)

    def run(self, stop: threading.Event) -> None:
        """Tick until `stop` is set. A disk that refuses is logged once, and tried again."""
        last = ""
        while not stop.is_set():
            self._wake.clear()
            try:
                self.tick()
            except (ServiceError, OSError) as error:
                if str(error) != last:
                    logger.warning(f"the supervisor: {error}")
                last = str(error)
            self._wake.wait(PAUSE_S)

    def wake(self) -> None:
        """Tick at once: something was submitted or asked for."""
        self._wake.set()

    def _results(self, job: Job) -> JobChanges:
        self._followers.read(job.id)
        return results(self._database, self._layout, job)

    def _submit_again(self) -> None:
        """Submit attempts whose engine was not asked, or did not answer, before the service ended."""
        for attempt in living_attempts(self._database):
            job = find_job(self._database, attempt.job)
            if attempt.native_id or job is None or job.state in (State.PAUSING, State.CANCELLING):
                continue  # one that is to stop does not begin
            with troubles_noted(self._database, job.id):
                engine = engine_of(self._engines, self._layout, attempt.engine)
                submit(self._database, engine, attempt, self._start_of(job, attempt))


def lock_root(root: Path) -> int:
    """Lock the service's folder for this process, until the returned descriptor is closed.

    Raises ServiceError naming the service that has it.
    """
    path = root / "service.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.pread(descriptor, 200, 0).decode(errors="replace") or "another process"
        os.close(descriptor)
        raise ServiceError(
            f"{root}: a service runs there already: {owner}. Stop it, or choose another --root"
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"process {os.getpid()} on {os.uname().nodename}".encode(), 0)
    return descriptor
