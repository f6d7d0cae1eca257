"""The store against a model of it: any order of operations, restarts and second connections."""

import sqlite3
import threading
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from llm.errors import ServiceError
from vlm.service.store.attempt_table import begin_attempt, end_attempt, leased_slots, living_attempts
from vlm.service.store.database import STEPS, VERSION, Database
from vlm.service.store.event_table import add_checkpoint, list_checkpoints, list_events
from vlm.service.store.file_table import add_file, find_file, list_files, remove_file
from vlm.service.store.job_table import (
    KeyConflictError,
    NewJob,
    Note,
    StateConflictError,
    find_job,
    jobs_in,
    list_jobs,
    move,
    remove_job,
    submit,
)
from vlm.service.store.rows import Attempt, StoredFile
from vlm.service.store.states import FINAL, State

SLOTS = ("gpu-a", "gpu-b")
# Written apart from `states.NEXT`: what a user of the service can observe, one pair a line.
FOLLOWS = {
    ("validating", "queued"), ("validating", "failed"), ("validating", "cancelled"), ("validating", "paused"),
    ("queued", "paused"), ("queued", "cancelled"), ("queued", "failed"),
    ("running", "pausing"), ("running", "cancelling"), ("starting", "running"), ("starting", "pausing"),
    ("starting", "cancelling"), ("pausing", "cancelling"),
    ("paused", "queued"), ("paused", "validating"), ("paused", "cancelled"),
    ("interrupted", "queued"), ("interrupted", "failed"), ("interrupted", "paused"), ("interrupted", "cancelled"),
}  # fmt: skip
ENDS = {
    "starting": {"succeeded", "failed", "interrupted"},
    "running": {"succeeded", "failed", "interrupted"},
    "pausing": {"paused", "succeeded", "failed"},
    "cancelling": {"cancelled", "succeeded", "failed"},
}


def new_job(file: str = "file-1", key: str | None = None, **request: object) -> NewJob:
    return NewJob({"training_file": file, **request}, "base", {"team": "a"}, file, key=key)


def new_file(name: str) -> StoredFile:
    return StoredFile(name, "a.jsonl", "fine-tune", 3, "0" * 64, f"files/{name}", 1)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "service.db")


@dataclass
class Expected:
    """A job as the model has it."""

    state: str
    attempts: int = 0
    living: int | None = None
    slots: tuple[str, ...] = ()
    steps: list[int] = field(default_factory=list)


class StoreMachine(RuleBasedStateMachine):
    """Two connections to one file, used in turn; the model is a dict."""

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.path = Path(self.folder.name) / "service.db"
        self.open = [Database(self.path), Database(self.path)]
        self.model: dict[str, Expected] = {}
        self.order: list[str] = []
        self.keys: dict[str, str] = {}

    def teardown(self) -> None:
        for one in self.open:
            one.close()
        self.folder.cleanup()

    @rule(target=jobs, who=st.integers(0, 1), key=st.sampled_from([None, "k1", "k2"]))
    def submit(self, who: int, key: str | None) -> str:
        job, new = submit(self.open[who], new_job(key=key))
        assert new == (key is None or key not in self.keys)
        if new:
            self.model[job.id] = Expected("validating")
            self.order.append(job.id)
        else:
            assert job.id == self.keys[str(key)]
        if key is not None:
            self.keys[key] = job.id
        return job.id

    @rule(job=jobs, who=st.integers(0, 1), pair=st.sampled_from(sorted(FOLLOWS)))
    def move(self, job: str, who: int, pair: tuple[str, str]) -> None:
        expected = self.model.get(job)
        moved = move(self.open[who], job, {State(pair[0])}, State(pair[1]), Note("moved"))
        assert moved == (expected is not None and expected.state == pair[0])
        if moved and expected is not None:
            expected.state = pair[1]

    @rule(job=jobs, who=st.integers(0, 1), slots=st.sampled_from([SLOTS[:1], SLOTS[1:], SLOTS]))
    def begin(self, job: str, who: int, slots: tuple[str, ...]) -> None:
        expected = self.model.get(job)
        taken = {slot for other in self.model.values() if other.living for slot in other.slots}
        attempt = begin_attempt(self.open[who], job, "local", slots, 0)
        assert (attempt is not None) == (expected is not None and expected.state == "queued" and not taken & set(slots))
        if attempt and expected:
            expected.attempts += 1
            assert attempt.number == expected.attempts
            expected.state, expected.living, expected.slots = "starting", attempt.number, slots

    @rule(
        job=jobs,
        who=st.integers(0, 1),
        last=st.sampled_from(["succeeded", "failed", "cancelled", "paused", "interrupted"]),
        older=st.booleans(),
    )
    def end(self, job: str, who: int, last: str, older: bool) -> None:
        expected = self.model.get(job)
        number = (expected.attempts if expected else 0) - older
        ended = end_attempt(self.open[who], Attempt(job, number, "local", (), 0, 0), State(last), Note("ended"))
        fits = expected is not None and expected.living == number and last in ENDS.get(expected.state, set())
        assert ended == fits
        if ended and expected:
            expected.state, expected.living, expected.slots = last, None, ()

    @rule(job=jobs, who=st.integers(0, 1), step=st.integers(1, 3))
    def checkpoint(self, job: str, who: int, step: int) -> None:
        if job in self.model:
            assert add_checkpoint(self.open[who], job, step, {"loss": 1.0}) == (step not in self.model[job].steps)
            self.model[job].steps = sorted({*self.model[job].steps, step}, reverse=True)

    @rule(job=jobs, who=st.integers(0, 1))
    def remove(self, job: str, who: int) -> None:
        expected = self.model.get(job)
        if expected is not None and State(expected.state) not in FINAL:
            with pytest.raises(StateConflictError, match=expected.state):
                remove_job(self.open[who], job)
            return
        assert remove_job(self.open[who], job) == (expected is not None)
        if expected is not None:
            del self.model[job]
            self.order.remove(job)
            self.keys = {key: name for key, name in self.keys.items() if name != job}

    @rule(who=st.integers(0, 1))
    def restart(self, who: int) -> None:
        self.open[who].close()
        self.open[who] = Database(self.path)

    @invariant()
    def agrees(self) -> None:
        for database in self.open:
            jobs, more = list_jobs(database, 1000)
            assert [job.id for job in jobs] == self.order[::-1] and not more
            for job in jobs:
                expected = self.model[job.id]
                assert job.state == expected.state and job.is_final == (job.finished_at is not None)
                assert [one.step for one in list_checkpoints(database, job.id)] == expected.steps
            living = {(job, one.living) for job, one in self.model.items() if one.living}
            assert {(one.job, one.number) for one in living_attempts(database)} == living
            slots = {slot: job for job, one in self.model.items() for slot in one.slots}
            assert leased_slots(database) == slots


TestStore = StoreMachine.TestCase
TestStore.settings = settings(
    max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
"""Thirty sequences here; `make attack` runs 500 (tests/attack/service.py)."""


def test_equal_submissions_at_once_are_one_job(tmp_path: Path) -> None:
    """Fifty threads over five connections, one key."""
    opened = [Database(tmp_path / "service.db") for _ in range(5)]
    found: list[tuple[str, bool]] = []

    def run(number: int) -> None:
        job, new = submit(opened[number % 5], new_job(key="same"))
        found.append((job.id, new))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 50 and len({name for name, _ in found}) == 1 and sum(new for _, new in found) == 1
    assert len(list_jobs(opened[0], 100)[0]) == 1


def test_a_key_of_another_request_is_refused(database: Database) -> None:
    job, _ = submit(database, new_job(key="k", suffix="a"))
    with pytest.raises(KeyConflictError, match=job.id):
        submit(database, new_job(key="k", suffix="b"))


def test_lists_go_on_after_a_job(database: Database) -> None:
    names = [submit(database, new_job())[0].id for _ in range(5)]
    first, more = list_jobs(database, 2)
    assert [job.id for job in first] == names[:2:-1] and more
    rest, more = list_jobs(database, 3, after=first[-1].id)
    assert [job.id for job in rest] == names[2::-1] and not more
    assert list_jobs(database, 9, metadata={"team": "a"})[0] and not list_jobs(database, 9, metadata={"team": "b"})[0]


def test_higher_priority_comes_first(database: Database) -> None:
    names = [submit(database, NewJob({}, "m", {}, "file-1", priority=number))[0].id for number in (0, 2, 0, 1)]
    assert [job.id for job in jobs_in(database, {State.VALIDATING})] == [names[n] for n in (1, 3, 0, 2)]


def test_a_change_and_its_event_are_one(database: Database) -> None:
    job = submit(database, new_job())[0].id
    assert move(database, job, {State.VALIDATING}, State.QUEUED, Note("queued"), recipe="name: a")
    assert not move(database, job, {State.VALIDATING}, State.QUEUED, Note("again"), recipe="name: b")
    found = find_job(database, job)
    assert found is not None and found.recipe == "name: a"
    events, more = list_events(database, job, 10)
    assert [event.message for event in events] == ["queued", "Created fine-tuning job"] and not more
    assert [event.message for event in list_events(database, job, 10, after=events[1].sequence)[0]] == ["queued"]
    assert (
        list_events(database, job, 1)[1] and list_events(database, job, 1, before=events[0].sequence)[0] == events[1:]
    )


def test_a_job_has_started_with_its_first_attempt(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    job = submit(database, new_job())[0].id
    assert move(database, job, {State.VALIDATING}, State.QUEUED)
    for now, last in ((1000, State.INTERRUPTED), (2000, State.SUCCEEDED)):
        found = find_job(database, job)
        assert found is not None and found.started_at == (None if now == 1000 else 1000)
        monkeypatch.setattr("vlm.service.store.attempt_table.time.time", lambda now=now: float(now))
        attempt = begin_attempt(database, job, "local", SLOTS[:1], 0)
        assert attempt is not None and attempt.started_at == now
        assert end_attempt(database, attempt, last, Note(), then=State.QUEUED if last is State.INTERRUPTED else None)
    found = find_job(database, job)
    assert found is not None and found.started_at == 1000


def test_nothing_is_half_written(database: Database) -> None:
    """A failure inside a transaction leaves nothing of it, and the next one works."""
    job = submit(database, new_job())[0].id
    with pytest.raises(RuntimeError), database.transaction() as connection:
        connection.execute("UPDATE jobs SET state = 'queued'")
        raise RuntimeError
    found = find_job(database, job)
    assert found is not None and found.state is State.VALIDATING
    assert move(database, job, {State.VALIDATING}, State.QUEUED)


def test_a_file_in_use_stays(database: Database) -> None:
    add_file(database, new_file("file-1"))
    add_file(database, new_file("file-2"))
    job = submit(database, new_job("file-1"))[0].id
    with pytest.raises(StateConflictError, match=job):
        remove_file(database, "file-1")
    assert move(database, job, {State.VALIDATING}, State.CANCELLED)
    assert remove_file(database, "file-1") == new_file("file-1")
    assert remove_file(database, "file-1") is None and find_file(database, "file-1") is None
    assert list_files(database, 5) == ([new_file("file-2")], False)


def test_files_are_listed_in_both_orders(database: Database) -> None:
    for number in range(4):
        add_file(database, new_file(f"file-{number}"))
    assert [one.id for one in list_files(database, 2, after="file-3")[0]] == ["file-2", "file-1"]
    assert [one.id for one in list_files(database, 9, after="file-1", newest_first=False)[0]] == ["file-2", "file-3"]
    assert list_files(database, 9, purpose="vision") == ([], False)


def test_other_databases_are_refused(tmp_path: Path) -> None:
    newer, other, text = tmp_path / "newer.db", tmp_path / "other.db", tmp_path / "text.db"
    Database(newer).close()
    for path, statement in ((newer, f"PRAGMA user_version = {VERSION + 1}"), (other, "CREATE TABLE notes(a)")):
        connection = sqlite3.connect(path)
        connection.execute(statement)
        connection.commit()
        connection.close()
    text.write_text("not a database, but long enough to be read as one" * 40)
    with pytest.raises(ServiceError, match="newer Eyegraft"):
        Database(newer)
    with pytest.raises(ServiceError, match="another program"):
        Database(other)
    with pytest.raises(ServiceError, match="cannot be used: file is not a database"):
        Database(text)


def test_a_database_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "service.db"
    connection = sqlite3.connect(path)
    connection.executescript(f"{STEPS[0]} PRAGMA user_version = 1")
    connection.execute(
        "INSERT INTO jobs(id, state, created_at, request, model, metadata) VALUES ('a', 'queued', 1, '{}', 'm', '{}')"
    )
    connection.commit()
    connection.close()
    for _ in range(2):
        database = Database(path)
        job = find_job(database, "a")
        assert job is not None and job.planned_bytes is None
        database.close()
    assert begin_attempt(Database(path), "a", "local", SLOTS, 0) is not None


def test_only_its_owner_reads_the_database(tmp_path: Path) -> None:
    Database(tmp_path / "service.db").close()
    assert (tmp_path / "service.db").stat().st_mode & 0o777 == 0o600


def test_ten_thousand_jobs_are_listed_quickly(database: Database) -> None:
    """A list reads no more rows than it returns: counted in instructions of SQLite, not in seconds."""
    steps: list[int] = []
    with database.transaction() as connection:
        connection.executemany(
            "INSERT INTO jobs(id, state, created_at, request, model, metadata) "
            "VALUES (?, 'succeeded', 1, '{}', 'm', '{}')",
            [(f"ftjob-{number}",) for number in range(10_000)],
        )
    connection.set_progress_handler(lambda: steps.append(100), 100)
    found, more = list_jobs(database, 100, after="ftjob-5000")
    assert len(found) == 100 and more and found[0].id == "ftjob-4999" and 0 < sum(steps) < 10_000
