"""Jobs over kills: of the service, of wrappers, of trainers, at random instants; each ends once, with its losses."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from llm.errors import ServiceError
from tests.vlm.service.driving import (
    WAIT_S,
    add,
    hold,
    job_of,
    kill_one,
    kill_trainer,
    messages,
    seen_losses,
    signal_rank,
    start_service,
    tick_until,
    wait_for,
    written_losses,
)
from tests.vlm.service.fake_service import build
from tests.vlm.service.fake_trainer import DEAF, losses
from tests.vlm.service.slurm_cluster import SlurmCluster
from vlm.service import supervisor as module
from vlm.service.attempts.verdict import MOST_STALLED
from vlm.service.layout import Layout
from vlm.service.requests import UnknownJobError, cancel, pause, resume
from vlm.service.store.attempt_table import attempts_of, leased_slots, living_attempts
from vlm.service.store.database import Database
from vlm.service.store.event_table import list_checkpoints
from vlm.service.store.job_table import NewJob, StateConflictError, list_jobs, submit
from vlm.service.store.rows import Job
from vlm.service.store.states import State
from vlm.service.supervisor import lock_root

STEPS = 60


def test_a_job_runs_to_its_end(tmp_path: Path, engine: str) -> None:
    database, supervisor = build(tmp_path, engine)
    name = add(database, steps=7)
    job = wait_for(supervisor, database, name, State.SUCCEEDED)
    assert job.finished_at is not None and job.error is None
    assert seen_losses(database, name) == losses(7) == written_losses(tmp_path, name)
    assert [one.step for one in list_checkpoints(database, name)] == [7, 6, 3]
    assert not leased_slots(database) and not living_attempts(database)
    said = messages(database, name)
    assert said[0] == "Created fine-tuning job" and said[-1] == "The job has successfully completed"


def test_the_end_of_an_attempt_is_seen_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at the next look, which would be in ten minutes."""
    monkeypatch.setattr(module, "PAUSE_S", 600.0)
    database, supervisor = build(tmp_path)
    name, stop = add(database, steps=3), threading.Event()
    thread = threading.Thread(target=supervisor.run, args=[stop])
    thread.start()
    try:
        until = time.monotonic() + 60
        while job_of(database, name).state is not State.SUCCEEDED:
            assert time.monotonic() < until, job_of(database, name)
            time.sleep(0.02)
    finally:
        stop.set()
        supervisor.wake()
        thread.join()


def test_paused_and_resumed_is_the_same_run(tmp_path: Path, engine: str) -> None:
    database, supervisor = build(tmp_path, engine)
    name = add(database, steps=STEPS)
    held = hold(tmp_path, name)
    for _ in range(2):
        wait_for(supervisor, database, name, State.RUNNING)
        assert pause(database, name).state is State.PAUSING  # at once: the trainer may not have begun
        with pytest.raises(StateConflictError, match="Wait until it is paused"):
            resume(database, name)
        wait_for(supervisor, database, name, State.PAUSED)
        assert pause(database, name).state is State.PAUSED and not leased_slots(database)
        assert resume(database, name).state is State.QUEUED
    held.unlink()
    wait_for(supervisor, database, name, State.SUCCEEDED)
    assert len(attempts_of(database, name)) == 3
    assert seen_losses(database, name) == losses(STEPS) == written_losses(tmp_path, name)


def test_cancelled_jobs_save_and_stay_so(tmp_path: Path, engine: str) -> None:
    database, supervisor = build(tmp_path, engine)
    running, waiting = add(database, steps=STEPS), add(database)
    for name in (running, waiting):
        hold(tmp_path, name)
    # A signal before the trainer has begun ends it without a checkpoint.
    tick_until(supervisor, lambda: seen_losses(database, running), "the first job trains")
    assert cancel(database, running).state is State.CANCELLING
    assert cancel(database, waiting).state in (State.CANCELLED, State.CANCELLING)
    for name in (running, waiting):
        wait_for(supervisor, database, name, State.CANCELLED)
    assert list_checkpoints(database, running)
    for refused in (pause, resume):
        with pytest.raises(StateConflictError, match="is cancelled"):
            refused(database, running)
    assert cancel(database, running).state is State.CANCELLED
    with pytest.raises(UnknownJobError, match="ftjob-none"):
        cancel(database, "ftjob-none")


@pytest.mark.parametrize(("ask", "end"), [(cancel, State.CANCELLED), (pause, State.PAUSED)])
def test_a_job_whose_training_does_not_stop_is_killed(
    tmp_path: Path, engine: str, ask: Callable[[Database, str], Job], end: State
) -> None:
    """A paused one goes on from its last checkpoint."""
    database, supervisor = build(tmp_path, engine, grace_s=0.5)
    name = add(database, steps=5)
    held, deaf = hold(tmp_path, name), Layout(tmp_path).job(name) / DEAF
    deaf.touch()
    tick_until(supervisor, lambda: list_checkpoints(database, name), "it has saved")
    ask(database, name)
    began = time.monotonic()
    wait_for(supervisor, database, name, end)
    assert time.monotonic() - began > 0.5
    assert messages(database, name)[-1] == (
        f"Fine-tuning job {end}. Training did not stop by itself and was killed; its last checkpoint is of step 3"
    )
    assert not kill_trainer(tmp_path, name), "nothing of it is alive"
    assert not living_attempts(database) and not leased_slots(database)
    if end is State.PAUSED:
        held.unlink()
        resume(database, name)
        wait_for(supervisor, database, name, State.SUCCEEDED)
        assert seen_losses(database, name) == losses(5) == written_losses(tmp_path, name)


@pytest.mark.usefixtures("slurm")
def test_a_rank_that_hangs_itself_is_killed_by_slurm(tmp_path: Path) -> None:
    """The process around the trainer looks for no file any more, as on a machine whose shared disk hangs."""
    database, supervisor = build(tmp_path, "slurm", grace_s=0.5)
    name = add(database, steps=5)
    hold(tmp_path, name)
    (Layout(tmp_path).job(name) / DEAF).touch()
    tick_until(supervisor, lambda: list_checkpoints(database, name), "it has saved")
    assert signal_rank(tmp_path, name, signal.SIGSTOP)
    cancel(database, name)
    wait_for(supervisor, database, name, State.CANCELLED)
    tick_until(supervisor, lambda: not signal_rank(tmp_path, name, 0), "the rank has ended")
    assert not kill_trainer(tmp_path, name), "and the trainer with it"


def test_a_failure_tells_the_error_of_training(tmp_path: Path, engine: str) -> None:
    database, supervisor = build(tmp_path, engine)
    name = submit(database, NewJob({"steps": "many", "seconds": 0}, "base", {}, "file-1"))[0].id
    job = wait_for(supervisor, database, name, State.FAILED)
    assert job.error is not None and job.error.code == "training_failed"
    assert "exit code 1" in job.error.message or "Error" in job.error.message


def test_attempts_without_progress_end(tmp_path: Path, engine: str) -> None:
    """A trainer that is killed before each checkpoint, as one that runs out of memory."""
    database, supervisor = build(tmp_path, engine)
    name = add(database, steps=50, seconds=30.0)
    for _ in range(MOST_STALLED):
        wait_for(supervisor, database, name, State.RUNNING)
        tick_until(supervisor, lambda: kill_trainer(tmp_path, name), "the trainer has begun")
        wait_for(supervisor, database, name, State.QUEUED, State.STARTING, State.FAILED)
    job = wait_for(supervisor, database, name, State.FAILED)
    assert job.error is not None and job.error.code == "interrupted" and "out of memory" in job.error.message
    assert len(attempts_of(database, name)) == MOST_STALLED


def test_one_service_a_folder(tmp_path: Path) -> None:
    held = lock_root(tmp_path)
    with pytest.raises(ServiceError, match=f"process {os.getpid()}"):
        lock_root(tmp_path)
    os.close(held)
    os.close(lock_root(tmp_path))


def test_kills_at_random_instants(tmp_path: Path, engine: str, cluster: SlurmCluster | None) -> None:
    """Eight kills over four jobs."""
    kill_and_check(tmp_path, engine, cluster, seed=1, kills=8, jobs=4)


def kill_and_check(root: Path, engine: str, cluster: SlurmCluster | None, seed: int, kills: int, jobs: int) -> None:
    """SIGKILL the service, wrappers, trainers and Slurm's daemons at random instants, while some jobs are paused.

    While kills are left there are so many jobs that have not ended: those that end are replaced.
    """
    chance = random.Random(seed)
    database = Database(Layout(root).database)
    service = start_service(root, engine)
    names, done = list[str](), 0
    until = time.monotonic() + WAIT_S
    try:
        while (alive := [job.id for job in list_jobs(database, 100)[0] if not job.is_final]) or done < kills:
            assert time.monotonic() < until, f"{done} kills, {alive}"
            if service.poll() is not None:
                service = start_service(root, engine)
            if done < kills and len(alive) < jobs:
                names.append(add(database, steps=STEPS, seconds=0.03))
                continue
            if cluster is not None:
                cluster.heal()
            time.sleep(chance.uniform(0, 0.6))
            if done < kills:
                done += bool(kill_one(root, database, service, cluster, chance))
            act_on_one(database, names, chance, pausing=done < kills)
    finally:
        service.kill()
        service.wait()
    for name in names:
        check_end(root, database, name)
    assert not leased_slots(database) and not living_attempts(database)


def check_end(root: Path, database: Database, name: str) -> None:
    """A job has succeeded once, with the losses of an uninterrupted run."""
    job = job_of(database, name)
    assert job.state is State.SUCCEEDED, (job.error, messages(database, name))
    assert not (Layout(root).run(name) / "DOUBLED").exists()
    assert written_losses(root, name) == losses(STEPS) == seen_losses(database, name)
    assert sum("successfully" in message for message in messages(database, name)) == 1


def act_on_one(database: Database, names: list[str], chance: random.Random, pausing: bool) -> None:
    """Pause a job now and then, and resume those that are paused."""
    for name in names:
        with suppress(StateConflictError):
            if job_of(database, name).state is State.PAUSED:
                resume(database, name)
            elif pausing and chance.random() < 0.05:
                pause(database, name)
