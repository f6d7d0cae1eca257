"""What may break below a job: its disk, slots, engine, clock, folders. Each is named; nothing is lost or run twice."""

import itertools
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from llm.errors import ServiceError
from tests.vlm.service.driving import (
    WAIT_S,
    add,
    hold,
    job_of,
    messages,
    seen_losses,
    start_service,
    tick_until,
    wait_for,
    written_losses,
)
from tests.vlm.service.fake_service import build
from tests.vlm.service.fake_trainer import FAIL, losses
from tests.vlm.service.slurm_cluster import SlurmCluster
from vlm.service.attempts.exit_record import NAME as EXIT
from vlm.service.attempts.exit_record import close_attempt
from vlm.service.attempts.job_lock import take_lock
from vlm.service.attempts.process_identity import NAME as IDENTITY
from vlm.service.attempts.process_identity import identify
from vlm.service.attempts.wrapper import LOG, START
from vlm.service.engines.engine import Slot, Start
from vlm.service.engines.slurm import SlurmEngine
from vlm.service.engines.start_file import write_start
from vlm.service.file_storage import FileStorage, FileTooLargeError
from vlm.service.gate import Gate
from vlm.service.gate_record import ANSWER, GateAnswer, GateQuestion, write_answer
from vlm.service.layout import Layout
from vlm.service.requests import cancel, pause, resume
from vlm.service.slots import LiveSlots, find_slots
from vlm.service.store.attempt_table import attempts_of, leased_slots, living_attempts
from vlm.service.store.database import Database
from vlm.service.store.job_table import NewJob, list_jobs, submit
from vlm.service.store.rows import Attempt
from vlm.service.store.states import State
from vlm.service.supervisor import Supervisor

STEPS = 30


def check_exact(root: Path, database: Database, name: str, attempts: int) -> None:
    """The job has succeeded once, as an uninterrupted one."""
    assert seen_losses(database, name) == losses(STEPS) == written_losses(root, name)
    assert len(attempts_of(database, name)) == attempts and not (Layout(root).run(name) / "DOUBLED").exists()
    assert not living_attempts(database) and not leased_slots(database)


def trains(supervisor: Supervisor, database: Database, name: str, steps: int = 4) -> None:
    """Wait until the job has a checkpoint."""
    tick_until(supervisor, lambda: len(seen_losses(database, name)) >= steps, f"{name} trains")


# The disk -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """A file that takes all that is left of a disk."""
    file = folder / "ballast"
    with file.open("wb", buffering=0) as stream:
        for size in (1 << 16, 1 << 8, 1):
            try:
                while True:
                    stream.write(b"\0" * size)
            except OSError:
                continue
    return file


def test_a_full_disk_pauses_and_loses_nothing(small_disk: Path, engine: str) -> None:
    database, supervisor = build(small_disk, engine)
    name, other = (add(database, steps=STEPS) for _ in range(2))
    held, held_too = hold(small_disk, name), hold(small_disk, other)
    for one in (name, other):
        trains(supervisor, database, one, STEPS - 1)
    ballast = fill(small_disk)
    with pytest.raises(ServiceError, match="full"):
        for _ in range(100):  # until no page of its files is left
            add(database)
    with pytest.raises(FileTooLargeError, match="nearly full"):
        FileStorage(database, Layout(small_disk), 1 << 20, 1 << 20).add([b"{}"], "a.jsonl", "fine-tune")
    with pytest.raises(ServiceError, match="full"):
        cancel(database, name)
    held.unlink()
    for _ in range(20):
        with_no_room(supervisor)
    assert job_of(database, name).state is State.RUNNING  # its wrapper waits with the verdict
    ballast.unlink()
    wait_for(supervisor, database, name, State.PAUSED)
    assert "the disk refused" in messages(database, name)[-1] and "resume it" in messages(database, name)[-1]
    resume(database, name)
    held_too.unlink()
    wait_for(supervisor, database, name, State.SUCCEEDED)
    wait_for(supervisor, database, other, State.SUCCEEDED)
    check_exact(small_disk, database, name, attempts=2)
    check_exact(small_disk, database, other, attempts=1)


def with_no_room(supervisor: Supervisor) -> None:
    """Tick as `Supervisor.run` does."""
    try:
        supervisor.tick()
    except (ServiceError, OSError) as error:
        assert "full" in str(error) or "No space" in str(error)
    time.sleep(0.05)


def test_a_database_without_room_is_named(tmp_path: Path) -> None:
    """As on a full disk, where none can be mounted."""
    database, supervisor = build(tmp_path)
    name = add(database)
    with database.transaction() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
    database.rows(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(ServiceError, match="database or disk is full"):
        for _ in range(500):
            add(database)
    database.rows("PRAGMA max_page_count = 100000")
    jobs, _ = list_jobs(database, 1000)
    assert jobs[-1].id == name
    for job in jobs:
        if job.id != name:
            cancel(database, job.id)
    wait_for(supervisor, database, name, State.SUCCEEDED)


# Slots ----------------------------------------------------------------------------------------------------------------


def test_a_slot_that_disappears_moves_its_job(tmp_path: Path) -> None:
    slots = [Slot("GPU-a", "card", 1), Slot("GPU-b", "card", 1)]
    database, supervisor = build(tmp_path, slots=lambda _: tuple(slots))
    first, second, both = (add(database, steps=STEPS, processes=number) for number in (1, 1, 2))
    held = [hold(tmp_path, name) for name in (first, second)]
    for name in (first, second):
        trains(supervisor, database, name)
    slots.pop()
    (Layout(tmp_path).job(second) / FAIL).touch()
    wait_for(supervisor, database, second, State.QUEUED)
    assert "the slot GPU-b has disappeared" in " ".join(messages(database, second))
    small = add(database, steps=STEPS)  # is not held back by the job that no slots are enough for
    for file in held:
        file.unlink()
    for name in (first, second, small):
        wait_for(supervisor, database, name, State.SUCCEEDED)
    assert [attempt.slots for attempt in attempts_of(database, second)] == [("GPU-b",), ("GPU-a",)]
    assert messages(database, both)[-1] == "the job waits for 2 slots, and local has 1. Add cards, or cancel the job"
    slots.append(Slot("GPU-c", "card", 1))
    wait_for(supervisor, database, both, State.SUCCEEDED)
    for name, attempts in ((first, 1), (second, 2), (small, 1), (both, 1)):
        check_exact(tmp_path, database, name, attempts)


def test_jobs_start_on_slots_in_which_they_fit(tmp_path: Path) -> None:
    """A large job waits for the one large slot; those after it that fit the small one start there, the others wait."""
    slots = (Slot("GPU-large", "card", 80), Slot("GPU-small", "card", 24))
    database, supervisor = build(tmp_path, slots=lambda _: slots)
    sizes = {"first": 10, "second": 10, "large": 60, "medium": 30, "small": 24, "pair": 24, "wide": 60}
    names = {what: add(database, steps=STEPS, processes=2 if what in ("pair", "wide") else 1) for what in sizes}
    held = {what: hold(tmp_path, name) for what, name in names.items()}
    for what, size in sizes.items():
        with database.transaction() as connection:
            connection.execute("UPDATE jobs SET planned_bytes = ? WHERE id = ?", (size, names[what]))

    def running() -> set[str]:
        return {what for what, name in names.items() if job_of(database, name).state is State.RUNNING}

    def slot(what: str) -> tuple[str, ...]:
        return attempts_of(database, names[what])[0].slots

    tick_until(supervisor, lambda: running() == {"first", "second"}, "two run")
    assert (slot("first"), slot("second")) == (("GPU-small",), ("GPU-large",)), "the smallest that is free"
    held["first"].unlink()
    tick_until(supervisor, lambda: running() == {"second", "small"}, "the small one overtakes")
    for _ in range(3):
        supervisor.tick()
    assert "waits for 2 slots of 0.0 GiB, and local has too few" in messages(database, names["wide"])[-1]
    held["second"].unlink()
    tick_until(supervisor, lambda: running() == {"large", "small"}, "the large one has its slot")
    for what in ("large", "small", "medium"):
        held[what].unlink()
    tick_until(supervisor, lambda: running() == {"pair"}, "both slots are free for the pair")
    assert (slot("large"), slot("medium")) == (("GPU-large",), ("GPU-large",))
    held["pair"].unlink()
    wait_for(supervisor, database, names["pair"], State.SUCCEEDED)
    assert job_of(database, names["wide"]).state is State.QUEUED


def test_a_later_service_without_the_slot_keeps_the_job(tmp_path: Path) -> None:
    database, supervisor = build(tmp_path, slots=lambda _: (Slot("GPU-a", "card", 1),))
    name = add(database, steps=STEPS)
    held = hold(tmp_path, name)
    trains(supervisor, database, name)
    database.close()
    database, supervisor = build(tmp_path, slots=lambda _: (Slot("GPU-b", "card", 1),))
    other = add(database, steps=STEPS)
    wait_for(supervisor, database, other, State.SUCCEEDED)
    assert job_of(database, name).state is State.RUNNING
    held.unlink()
    wait_for(supervisor, database, name, State.SUCCEEDED)
    check_exact(tmp_path, database, name, attempts=1)


def test_cards_are_looked_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, listed = tmp_path / "nvidia-smi", tmp_path / "listed"
    program.write_text(f"#!/bin/sh\ncat {listed}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    listed.write_text("GPU-a, 1000\nGPU-b, 2000\n")
    slots = LiveSlots(find_slots())
    assert [slot.name for slot in slots(False)] == ["GPU-a", "GPU-b"]
    listed.write_text("GPU-b, 2000\n")
    assert [slot.name for slot in slots(True)] == ["GPU-b"]
    listed.unlink()  # the driver fails: there is no slot, and the CPUs are none
    assert slots(True) == ()


# Engines --------------------------------------------------------------------------------------------------------------


def test_a_service_without_the_engine_of_a_job(tmp_path: Path, slurm: SlurmCluster) -> None:
    database, supervisor = build(tmp_path, "slurm")
    names = ends, stopped, paused = [add(database, steps=STEPS) for _ in range(3)]
    held = [hold(tmp_path, name) for name in names]
    for name in names:
        trains(supervisor, database, name)
    waits, never = add(database, steps=STEPS), add(database, steps=STEPS)
    supervisor.tick()  # they are in Slurm's queue, or begin
    database.close()
    database, supervisor = build(tmp_path, "local")
    own = add(database, steps=STEPS)
    wait_for(supervisor, database, own, State.SUCCEEDED)
    said = "this service runs without the engine slurm"
    assert all(any(said in message for message in messages(database, name)) for name in (ends, waits))
    held[0].unlink()
    cancel(database, stopped)
    pause(database, paused)
    cancel(database, never)
    for name, state in ((ends, "succeeded"), (stopped, "cancelled"), (paused, "paused")):
        wait_for(supervisor, database, name, State(state))
    wait_for(supervisor, database, never, State.CANCELLED, State.SUCCEEDED)
    resume(database, paused, engine="local")
    held[2].unlink()
    wait_for(supervisor, database, paused, State.SUCCEEDED)
    assert [attempt.engine for attempt in attempts_of(database, paused)] == ["slurm", "local"]
    wait_for(supervisor, database, waits, State.SUCCEEDED)
    for name, attempts in ((ends, 1), (paused, 2), (waits, 1), (own, 1)):
        check_exact(tmp_path, database, name, attempts)


def test_a_wrapper_that_comes_late_does_not_start(tmp_path: Path) -> None:
    """Its attempt was given up: the machine was busy, or the engine away."""
    folder, started = tmp_path / "job" / "attempt-1", tmp_path / "started"
    attempt = Attempt("job", 1, "local", (), 0, 0)
    write_start(Start(attempt, folder, ("touch", str(started)), (), {}, tmp_path, 1))
    lock = take_lock(folder.parent)
    assert lock is not None and not close_attempt(folder, attempt.name)  # something of it is alive
    os.close(lock)
    assert close_attempt(folder, attempt.name)
    command = [sys.executable, "-m", "vlm.service.attempts.wrapper", str(folder)]
    subprocess.run(command, check=True)
    assert not started.exists()
    (folder / EXIT).unlink()
    subprocess.run(command, check=True)
    assert started.exists()


def test_a_job_that_slurm_wrongly_holds_for_running_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm's controller was killed just after it heard of the end. Its programs are scripts here."""
    attempts = [Attempt(name, 1, "slurm", (), 0, 0) for name in ("dead", "alive", "elsewhere")]
    for attempt in attempts:
        (tmp_path / attempt.job).mkdir()
    with subprocess.Popen(["sleep", "1000"]) as ended:
        dead = identify(ended.pid)
        ended.kill()
    own = identify(os.getpid())
    assert dead is not None and own is not None
    for attempt, one in zip(attempts, (dead, own, replace(dead, boot="another")), strict=True):
        (tmp_path / attempt.job / IDENTITY).write_text(json.dumps(asdict(one)))
    lines = "\n".join(f"ey-{attempt.name}|RUNNING|None|node" for attempt in attempts)
    for name, text in (("squeue", f"echo '{lines}'"), ("scancel", f'echo "$@" >> {tmp_path}/cancelled')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    found = SlurmEngine(lambda attempt: tmp_path / attempt.job).poll(attempts)
    assert {state.life for state in found.values()} == {"running"}, "until Slurm has ended it"
    assert (tmp_path / "cancelled").read_text() == "--name=ey-dead-1\n"


# The clock ------------------------------------------------------------------------------------------------------------


def test_a_clock_that_jumps_both_ways(tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real, jumps = time.time, itertools.cycle([0.0, 4e7, -4e7, 40.0, -3e9 / 2])
    monkeypatch.setattr(time, "time", lambda: max(1.0, real() + next(jumps)))  # another one at every look
    database, supervisor = build(tmp_path, engine)
    names = [add(database, steps=STEPS) for _ in range(3)]
    held = hold(tmp_path, names[0])
    wait_for(supervisor, database, names[0], State.RUNNING)
    pause(database, names[0])
    wait_for(supervisor, database, names[0], State.PAUSED)
    resume(database, names[0])
    held.unlink()
    for name in names:
        wait_for(supervisor, database, name, State.SUCCEEDED)
    assert [job.id for job in list_jobs(database, 10)[0]] == names[::-1]
    for name, attempts in zip(names, (2, 1, 1), strict=True):
        check_exact(tmp_path, database, name, attempts)
        assert messages(database, name)[0] == "Created fine-tuning job"


# Folders --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deleted", ["run", "job"])
def test_a_folder_deleted_under_a_running_job(tmp_path: Path, engine: str, deleted: str) -> None:
    database, supervisor = build(tmp_path, engine)
    name = add(database, steps=100_000)
    trains(supervisor, database, name)
    layout = Layout(tmp_path)
    gone = layout.run(name) if deleted == "run" else layout.job(name)
    gone.rename(tmp_path / "gone")  # at once: a folder that is written to cannot be deleted
    shutil.rmtree(tmp_path / "gone", ignore_errors=True)
    job = wait_for_end(supervisor, database, name)
    assert job == "run_folder_lost" and len(attempts_of(database, name)) == 1
    assert "the run folder is gone, with its checkpoints. Submit the job again" in messages(database, name)[-1]
    other = add(database, steps=STEPS)
    wait_for(supervisor, database, other, State.SUCCEEDED)
    check_exact(tmp_path, database, other, attempts=1)


def wait_for_end(supervisor: Supervisor, database: Database, name: str) -> str:
    """The code of the error that a job ends with."""
    tick_until(supervisor, lambda: job_of(database, name).is_final, "it ends")
    error = job_of(database, name).error
    return error.code if error is not None else ""


def test_a_folder_deleted_under_a_paused_job(tmp_path: Path, engine: str) -> None:
    database, supervisor = build(tmp_path, engine)
    name = add(database, steps=STEPS)
    hold(tmp_path, name)
    trains(supervisor, database, name)
    pause(database, name)
    wait_for(supervisor, database, name, State.PAUSED)
    shutil.rmtree(Layout(tmp_path).job(name))
    resume(database, name)
    assert wait_for_end(supervisor, database, name) == "run_folder_lost"
    assert len(attempts_of(database, name)) == 1


def test_a_second_service_is_refused_by_name(tmp_path: Path, engine: str) -> None:
    with start_service(tmp_path, engine) as first:
        try:
            until = time.monotonic() + WAIT_S
            while not (tmp_path / "service.db").exists():
                assert time.monotonic() < until
                time.sleep(0.02)
            command = [sys.executable, "-m", "tests.vlm.service.fake_service", str(tmp_path), engine]
            second = subprocess.run(command, capture_output=True, text=True, check=False)
            assert second.returncode and f"a service runs there already: process {first.pid}" in second.stderr
        finally:
            first.kill()


# Damaged files --------------------------------------------------------------------------------------------------------


def test_a_damaged_verdict_is_no_verdict(tmp_path: Path, engine: str) -> None:
    database, supervisor = build(tmp_path, engine)
    name, other = add(database, steps=STEPS), add(database, steps=STEPS)
    held = hold(tmp_path, name)
    trains(supervisor, database, name)
    verdict = Layout(tmp_path).attempt(attempts_of(database, name)[0]) / EXIT
    held.unlink()
    until = time.monotonic() + WAIT_S
    while not verdict.exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    verdict.write_text('{"code": 0')
    for one in (name, other):
        wait_for(supervisor, database, one, State.SUCCEEDED)
    assert any("exit.json: cannot be read" in message for message in messages(database, name))
    check_exact(tmp_path, database, name, attempts=2)
    check_exact(tmp_path, database, other, attempts=1)


def test_a_damaged_start_file_is_named_and_written_again(
    tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules[f"vlm.service.engines.{engine}"]
    write: Callable[..., None] = module.write_start
    torn = iter([True])

    def tear_once(start: object, stops_itself: bool = False) -> None:
        write(start, stops_itself)
        if next(torn, False):
            (Layout(tmp_path).attempt(start.attempt) / START).write_text('{"command": 3}')

    monkeypatch.setattr(module, "write_start", tear_once)
    database, supervisor = build(tmp_path, engine)
    name = add(database, steps=STEPS)
    wait_for(supervisor, database, name, State.SUCCEEDED)
    assert any("start.json: cannot be read" in message for message in messages(database, name))
    first = Layout(tmp_path).attempt(attempts_of(database, name)[0])
    assert "start.json" in (first / LOG).read_text()
    check_exact(tmp_path, database, name, attempts=2)


def test_a_damaged_answer_of_the_gate_is_asked_for_again(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    database = Database(layout.database)
    new = NewJob({"x_eyegraft": {"engine": None, "processes": 1}}, "base", {}, "file-1")
    torn, other = (submit(database, new)[0].id for _ in range(2))
    for name in (torn, other):
        layout.job(name).mkdir(parents=True)
        write_answer(layout.job(name), GateAnswer(recipe="a: 1"))
    (layout.job(torn) / ANSWER).write_text("[]")
    good = tmp_path / "good"
    good.mkdir()
    write_answer(good, GateAnswer(recipe="b: 2"))

    def command_of(folder: Path) -> list[str]:
        return ["cp", str(good / ANSWER), str(folder)]

    def question_of(job: object) -> GateQuestion:
        return GateQuestion("", {}, "", "", None, None, None, {}, [], "cpu", 0)

    ended = threading.Event()
    gate = Gate(database, layout, question_of, command_of, "local", ended.set)
    gate.tick()  # it starts to look at the torn one
    assert ended.wait(WAIT_S), "the end of the program is reported"
    gate.tick()
    assert [job_of(database, name).recipe for name in (torn, other)] == ["b: 2", "a: 1"]
    assert any("gate.json: cannot be read" in message for message in messages(database, torn))


# Slurm away: last, for it takes a while to be itself again -----------------------------------------------------------


def test_slurm_down_while_jobs_are_submitted_run_end_and_are_stopped(tmp_path: Path, slurm: SlurmCluster) -> None:
    database, supervisor = build(tmp_path, "slurm")
    names = ends, stopped, paused, runs = [add(database, steps=STEPS) for _ in range(4)]
    held = [hold(tmp_path, name) for name in names]
    for name in names:
        trains(supervisor, database, name)
    slurm.kill("slurmctld", signal.SIGTERM)  # as for maintenance; the tests of kills kill it
    try:
        held[0].unlink()
        cancel(database, stopped)
        pause(database, paused)
        late, never = add(database, steps=STEPS), add(database, steps=STEPS)
        for name, state in ((ends, "succeeded"), (stopped, "cancelled"), (paused, "paused")):
            wait_for(supervisor, database, name, State(state))  # their folders say so
        cancel(database, never)
        resume(database, paused)
        tick_until(supervisor, lambda: "slurm cannot be asked" in messages(database, late)[-1], "it is said")
        assert [job_of(database, name).state for name in (paused, late, never)] == ["queued", "queued", "cancelled"]
        assert any("slurm cannot be asked" in message for message in messages(database, runs))
    finally:
        slurm.start("slurmctld")
    for file in held[2:]:
        file.unlink()
    for name in (late, runs):
        wait_for(supervisor, database, name, State.SUCCEEDED)
    wait_for(supervisor, database, paused, State.SUCCEEDED)
    for name, attempts in ((ends, 1), (paused, 2), (late, 1), (runs, 1)):
        check_exact(tmp_path, database, name, attempts)
    assert attempts_of(database, never) == []
    slurm.end_steps()  # that of the rank that ended meanwhile
