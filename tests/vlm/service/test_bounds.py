"""What the service keeps on its disk and in its store is bounded: files by kind, age and quota, events of long jobs."""

import csv
import io
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm.errors import ServiceError
from vlm.run_folders.progress import RunProgress
from vlm.service.file_storage import FileStorage, FileTooLargeError, UnknownKindError, suffix_of
from vlm.service.follow import Followers
from vlm.service.layout import Layout
from vlm.service.results import results
from vlm.service.store import event_table
from vlm.service.store.database import Database
from vlm.service.store.event_table import (
    MOST_CHECKPOINTS,
    MOST_EVENTS,
    add_checkpoint,
    add_metrics,
    list_checkpoints,
    list_events,
    newest_metrics,
)
from vlm.service.store.file_table import list_files, stored_bytes
from vlm.service.store.job_table import MissingFileError, NewJob, StateConflictError, find_job, move, submit
from vlm.service.store.rows import StoredFile
from vlm.service.store.states import State

QUOTA = 100


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


@pytest.fixture
def database(layout: Layout) -> Iterator[Database]:
    opened = Database(layout.database)
    yield opened
    opened.close()


@pytest.fixture
def storage(database: Database, layout: Layout) -> FileStorage:
    return FileStorage(database, layout, QUOTA, QUOTA)


def contents(layout: Layout) -> set[str]:
    return {path.name for path in layout.files.iterdir()}


def job_with(database: Database, training: str, validation: str | None = None, images: str | None = None) -> str:
    request = {"x_eyegraft": {"images": images}}
    needs = tuple(name for name in (training, validation, images) if name)
    return submit(database, NewJob(request, "base", {}, training, validation, needs=needs))[0].id


@pytest.mark.parametrize("role", ["training", "validation", "images"])
def test_expired_files_go_when_no_job_needs_them(
    database: Database, layout: Layout, storage: FileStorage, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    needed = storage.add([b"needed"], "a.jsonl", "fine-tune", 3600)
    idle = storage.add([b"nobody's"], "b.jsonl", "fine-tune", 3600)
    stays = storage.add([b"stays"], "c.jsonl", "fine-tune")
    job = job_with(database, **{"training": stays.id, role: needed.id})
    with pytest.raises(StateConflictError, match=job):
        storage.remove(needed.id)
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + 3601)
    assert storage.find(needed.id) is None and storage.entry(needed.id) == needed, "its job still reads it"
    assert [file.id for file in list_files(database, 9)[0]] == [stays.id]
    storage.sweep()
    assert contents(layout) == {needed.path, stays.path} and storage.entry(idle.id) is None
    assert move(database, job, {State.VALIDATING}, State.CANCELLED)
    monkeypatch.setattr(storage, "_next_sweep", 0.0)
    storage.sweep()
    assert contents(layout) == {stays.path} and stored_bytes(database) == len(b"stays")


def test_a_sweep_is_rare(storage: FileStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor calls it every second."""
    searched: list[float] = []

    def search(_: Database, now: float) -> list[StoredFile]:
        searched.append(now)
        return []

    monkeypatch.setattr("vlm.service.file_storage.remove_expired", search)
    for _ in range(100):
        storage.sweep()
    assert len(searched) == 1


def test_a_job_needs_its_files_when_it_is_submitted(database: Database, storage: FileStorage) -> None:
    """One that was deleted between the check and the submission is named; no job without its data is stored."""
    file = storage.add([b"x"], "a.jsonl", "fine-tune")
    storage.remove(file.id)
    with pytest.raises(MissingFileError, match=file.id):
        job_with(database, file.id)


def test_uploads_that_fail_leave_nothing(database: Database, layout: Layout, storage: FileStorage) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half of it"
        raise OSError(28, "No space left on device")

    def left() -> Iterator[bytes]:
        yield b"half of it"
        raise ConnectionResetError

    with pytest.raises(FileTooLargeError, match="100 bytes"):
        storage.add(itertools.repeat(b"x" * 60, 3), "a.jsonl", "fine-tune")
    with pytest.raises(ServiceError, match="No space left"):
        storage.add(broken(), "a.jsonl", "fine-tune")
    with pytest.raises(ServiceError):
        storage.add(left(), "a.jsonl", "fine-tune")
    assert contents(layout) == set() and stored_bytes(database) == 0
    storage.add([b"x" * 60], "a.jsonl", "fine-tune")
    with pytest.raises(FileTooLargeError, match="40 bytes"):
        storage.add([b"x" * 41], "b.jsonl", "fine-tune")
    assert len(contents(layout)) == 1


def test_two_uploads_at_once_keep_the_quota(database: Database, layout: Layout, storage: FileStorage) -> None:
    """Each begins while there is room for it; the one that ends last finds none."""

    def slow() -> Iterator[bytes]:
        yield b"x" * 60
        storage.add([b"y" * 60], "b.jsonl", "fine-tune")

    with pytest.raises(FileTooLargeError, match="40 bytes"):
        storage.add(slow(), "a.jsonl", "fine-tune")
    assert stored_bytes(database) == 60 and len(contents(layout)) == 1


def test_what_a_kill_leaves_of_an_upload_is_removed(layout: Layout, storage: FileStorage) -> None:
    file = storage.add([b"x"], "a.jsonl", "fine-tune")
    (layout.files / f".{file.id}.jsonl.01ab.partial").write_bytes(b"half")
    storage.remove_partial()
    assert contents(layout) == {file.path}


def test_events_of_a_million_steps(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are thinned: all kinds of lines stay, the newest completely, the first step with them. Here a tenth."""
    monkeypatch.setattr(event_table, "MOST_EVENTS", MOST_EVENTS // 10)
    job = job_with_nothing(database)
    for start in range(0, 100_000, 5000):
        lines = [{"kind": "train", "step": step, "loss": 1.0, "time": 1.0} for step in range(start, start + 5000)]
        add_metrics(database, job, [*lines, {"kind": "validation", "step": start, "loss": 2.0}], RunProgress())
    events = database.rows("SELECT sequence, kind, message, data FROM events WHERE job = ? ORDER BY sequence", (job,))
    assert len(events) <= MOST_EVENTS // 10 and events[0]["message"] == "Created fine-tuning job"
    found = [json.loads(event["data"]) for event in events if event["kind"] == "metrics"]
    steps = [line["step"] for line in found if line["kind"] == "train"]
    assert steps[0] == 0 and steps[-100:] == list(range(99_900, 100_000)) and steps == sorted(steps)
    assert len(steps) > MOST_EVENTS // 40
    assert [line["step"] for line in found if line["kind"] == "validation"] == list(range(0, 100_000, 5000))
    assert newest_metrics(database, job)["train"]["step"] == 99_999
    after = list_events(database, job, 5, after=events[9]["sequence"])[0]
    assert [event.sequence for event in after] == [event["sequence"] for event in events[10:15]]


def job_with_nothing(database: Database) -> str:
    return submit(database, NewJob({}, "base", {}, ""))[0].id


def test_checkpoints_of_a_long_job(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of checkpoints that are on the disk no more are thinned; those that are stay."""
    most = MOST_CHECKPOINTS // 10
    monkeypatch.setattr(event_table, "MOST_CHECKPOINTS", most)
    job, saved = job_with_nothing(database), {2, 3}
    for step in range(1, 2 * most):
        add_checkpoint(database, job, step, {"step": step}, {*saved, step})
    steps = [one.step for one in list_checkpoints(database, job)]
    assert len(steps) <= most and saved <= {*steps} and steps[:9] == [*range(199, 190, -1)]
    events = database.rows("SELECT count(*) AS found FROM events WHERE job = ?", (job,))[0]["found"]
    assert events == 2 * most, "they are thinned with the metrics"


def test_results_have_every_step(database: Database, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """The CSV is made of metrics.jsonl, whatever the store still has of it."""
    monkeypatch.setattr(event_table, "MOST_EVENTS", 100)
    name = job_with_nothing(database)
    run = layout.run(name)
    run.mkdir(parents=True)
    lines = [{"kind": "train", "step": step, "loss": 1.5, "lr": 0.1, "time": 1.0} for step in range(1, 2001)]
    lines.insert(1000, {"kind": "validation", "step": 1000, "loss": 2.5, "time": 1.0})
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (run / "report.json").write_text('{"tokens_seen": 9}')
    Followers(database, layout).follow([name])
    job = find_job(database, name)
    assert job is not None
    assert database.rows("SELECT count(*) AS found FROM events")[0]["found"] <= 100
    (file,) = results(database, layout, job)["result_files"]
    rows = [*csv.DictReader(io.StringIO((layout.files / f"{file}.csv").read_text()))]
    assert [int(row["step"]) for row in rows] == list(range(1, 2001))
    assert (rows[999]["train_loss"], rows[999]["valid_loss"], rows[998]["valid_loss"]) == ("1.5", "2.5", "")


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("a.JSONL", ".jsonl"), ("a.b.csv.xz", ".csv.xz"), ("a.json.zst", ".json.zst"), ("a.parquet", ".parquet")],
)
def test_data_is_stored_under_the_suffix_that_its_reader_needs(name: str, suffix: str) -> None:
    assert suffix_of(name, "fine-tune") == suffix


@pytest.mark.parametrize("name", ["a.parquet.gz", "a.xlsx.xz", "a.txt.bz2", "a.xz", "a.jsonl.7z", "a"])
def test_what_is_not_read_is_refused_by_name(name: str) -> None:
    with pytest.raises(UnknownKindError, match=f"'{name}': a file for purpose fine-tune is named .jsonl"):
        suffix_of(name, "fine-tune")
