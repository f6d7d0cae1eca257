"""A service without API whose training is fake: `python -m tests.vlm.service.fake_service ROOT ENGINE`."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import vlm.service.attempts.verdict as verdict
import vlm.service.supervisor as supervisor
from tests.vlm.service import fake_trainer
from vlm.service.engines.engine import Engine, Slot, Start
from vlm.service.engines.local import LocalEngine
from vlm.service.engines.slurm import SlurmEngine
from vlm.service.layout import Layout
from vlm.service.store.database import Database
from vlm.service.store.job_table import JobChanges, jobs_in, move
from vlm.service.store.rows import Attempt, Job
from vlm.service.store.states import State

PATH = str(Path(__file__).parents[3])  # where the wrapper finds the packages
SLOTS = (Slot("cpu-0", "cpu", 0), Slot("cpu-1", "cpu", 0))


def build(
    root: Path,
    *engines: str,
    slots: Callable[[bool], tuple[Slot, ...]] = lambda _: SLOTS,
    grace_s: float = supervisor.GRACE_S,
) -> tuple[Database, supervisor.Supervisor]:
    """The store and supervisor of a folder; jobs that name no engine run on the first."""
    names = engines or ("local",)
    layout = Layout(root)
    database = Database(layout.database)

    def start_of(job: Job, attempt: Attempt) -> Start:
        command = command_of(job, layout.run(job.id))
        return Start(attempt, layout.attempt(attempt), command, command, {"PYTHONPATH": PATH}, root, 1)

    def validate() -> None:
        for job in jobs_in(database, {State.VALIDATING}):
            changes: JobChanges = {"recipe": "fake", "engine": job.engine or names[0]}
            move(database, job.id, {State.VALIDATING}, State.QUEUED, **changes)

    def wake() -> None:
        looking.wake()

    local = LocalEngine(layout.attempt, slots, wake)
    both: dict[str, Engine] = {"local": local, "slurm": SlurmEngine(layout.attempt)}
    known = {name: both[name] for name in names}
    looking = supervisor.Supervisor(database, layout, known, start_of, validate, grace_s)
    return database, looking


def command_of(job: Job, run: Path) -> tuple[str, ...]:
    """The fake trainer, or training itself where the request has a recipe."""
    request = job.request
    if "recipe" in request:
        return (sys.executable, "-m", "vlm.app", "train", request["recipe"], f"out={run}", *request["more"])
    return (sys.executable, fake_trainer.__file__, str(run), str(request["steps"]), str(request["seconds"]))


if __name__ == "__main__":
    here = Path(sys.argv[1])
    held = supervisor.lock_root(here)
    supervisor.PAUSE_S = 0.02
    verdict.MOST_STALLED = 100  # the tests of kills kill more often than a machine does
    build(here, *sys.argv[2:])[1].run(threading.Event())
