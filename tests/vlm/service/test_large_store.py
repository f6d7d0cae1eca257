"""A store of 10,000 jobs: what lists and the supervisor read is bounded, counted in steps of SQLite, not in seconds.

benchmarks/service.py measures the seconds: benchmarks/results/service_scale.json.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from vlm.service.engines.engine import Health, NativeState, Slot, Start
from vlm.service.gate import Gate
from vlm.service.layout import Layout
from vlm.service.schedule import MOST_AT_ONCE
from vlm.service.store.attempt_table import begin_attempt, name_attempt
from vlm.service.store.database import Database
from vlm.service.store.event_table import list_checkpoints, list_events
from vlm.service.store.file_table import list_files
from vlm.service.store.job_table import find_job, list_jobs, model_job, queued_jobs, trained_names
from vlm.service.store.live_jobs import live_jobs
from vlm.service.store.rows import Attempt, Job
from vlm.service.supervisor import Supervisor

COUNT = 10_000
MOST = 20_000  # steps of SQLite's machine; reading every job takes a hundred thousand and more


class BusyEngine:
    """One slot, in which one attempt runs for ever."""

    name, queues = "local", False

    def probe(self, fresh: bool = False) -> Health:
        """One slot."""
        return Health(True, "", (Slot("cpu", "cpu", 0),))

    def submit(self, start: Start) -> str:
        """Not called: the slot is taken."""
        raise AssertionError(start)

    def poll(self, attempts: Sequence[Attempt]) -> dict[str, NativeState]:
        """All run."""
        return {attempt.name: NativeState("running") for attempt in attempts}

    def withdraw(self, attempt: Attempt) -> None:
        """Not called: nothing is pending."""
        raise AssertionError(attempt)

    def kill(self, attempt: Attempt) -> None:
        """Not called: nothing is cancelled."""
        raise AssertionError(attempt)


class Steps:
    """Counts steps of a database's connection."""

    def __init__(self, database: Database) -> None:
        self._count = 0
        with database.transaction() as connection:
            connection.set_progress_handler(self._add, 100)

    def _add(self) -> int:
        self._count += 100
        return 0

    def of(self, run: Callable[[], object]) -> int:
        """The steps of a call, to the hundred."""
        self._count = 0
        run()
        return self._count


def name(number: int) -> str:
    return f"ftjob-{number:024x}"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Half of the jobs have succeeded, half wait; each has three events and a file, and the former a checkpoint."""
    database = Database(tmp_path_factory.mktemp("large") / "service.db")
    with database.transaction() as connection:
        connection.executemany(
            "INSERT INTO files(id, filename, purpose, bytes, sha256, path, created_at) "
            "VALUES (?, 'a', 'fine-tune', 1, 'a', 'a', 1)",
            ((f"file-{number:024x}",) for number in range(COUNT)),
        )
        connection.executemany(
            "INSERT INTO jobs(id, state, created_at, request, model, metadata, engine, fine_tuned_model, processes) "
            "VALUES (?, ?, 1, '{}', 'm', ?, 'local', ?, 1)",
            ((name(number), "succeeded" if number % 2 else "queued",
              f'{{"team": "{number % 2}", "name": "{number}"}}', f"ft:{number}") for number in range(COUNT)),
        )  # fmt: skip
        connection.executemany(
            "INSERT INTO events(job, created_at, level, kind, message, data) "
            "VALUES (?, 1, 'info', 'message', 'a', '{}')",
            ((name(number),) for _ in range(3) for number in range(COUNT)),
        )
        connection.executemany(
            "INSERT INTO checkpoints(job, step, created_at, metrics) VALUES (?, 1, 1, '{}')",
            ((name(number),) for number in range(1, COUNT, 2)),
        )
    yield database
    database.close()


@pytest.mark.parametrize(
    "read",
    [
        lambda database: list_jobs(database, 100),
        lambda database: list_jobs(database, 100, after=name(5000)),
        lambda database: list_jobs(database, 100, metadata={"team": "1"}),
        lambda database: list_jobs(database, 100, name(5000), {"team": "1"}),
        lambda database: list_jobs(database, 100, metadata={"name": "77", "team": "1"}),
        lambda database: list_jobs(database, 100, metadata={"name": "none"}),
        lambda database: list_events(database, name(1), 100),
        lambda database: list_events(database, name(1), 100, after=5),
        lambda database: list_checkpoints(database, name(1), 100),
        lambda database: list_files(database, 100),
        lambda database: list_files(database, 100, after=f"file-{5000:024x}"),
        lambda database: queued_jobs(database, "local", [1], 50),
        lambda database: find_job(database, name(9999)),
        lambda database: model_job(database, "ft:7"),
    ],
)
def test_lists_read_what_they_return(large: Database, read: Callable[[Database], object]) -> None:
    assert Steps(large).of(lambda: read(large)) < MOST


def test_what_is_listed(large: Database) -> None:
    """The numbers above are those of complete answers."""
    jobs, more = list_jobs(large, 100, name(5000), {"team": "1"})
    assert [job.id for job in jobs[:2]] == [name(4999), name(4997)] and len(jobs) == 100 and more
    assert [job.id for job in list_jobs(large, 9, metadata={"name": "77", "team": "1"})[0]] == [name(77)]
    assert list_jobs(large, 9, metadata={"name": "77", "team": "0"}) == ([], False)
    assert [job.id for job in queued_jobs(large, "local", [1], 2)] == [name(0), name(2)]
    assert trained_names(large)[:2] == ["ft:9999", "ft:9997"] and len(trained_names(large)) == COUNT // 2


def test_names_of_models_are_read_from_their_index(large: Database) -> None:
    """All of them, but nothing else of their jobs: fifty steps each would be the rows."""
    assert Steps(large).of(lambda: trained_names(large)) < 10 * COUNT // 2


def test_a_tick_costs_the_same_whatever_waits(large: Database, tmp_path: Path) -> None:
    """One job runs, 5,000 wait, of which some can never start: the supervisor reads the first of them."""
    with large.transaction() as connection:
        connection.execute("UPDATE jobs SET processes = 9 WHERE id = ?", (name(4),))
    attempt = begin_attempt(large, name(0), "local", ("cpu",), 0)
    assert attempt is not None
    name_attempt(large, attempt, "1")
    layout = Layout(tmp_path)

    def never(*_: object) -> Start:
        raise AssertionError("nothing starts")

    gate = Gate(large, layout, never, never, "local")
    supervisor = Supervisor(large, layout, {"local": BusyEngine()}, never, gate.tick)
    supervisor.tick()  # says once what is impossible
    assert [event.message for event in list_events(large, name(4), 1)[0]] == [
        "the job waits for 9 slots, and local has 1. Add cards, or cancel the job"
    ]
    steps, before = Steps(large), large.changes
    assert steps.of(supervisor.tick) < MOST // 4 and large.changes == before, "a tick that finds nothing new"
    assert len(list_events(large, name(4), 10)[0]) == 4, "it is said once"


def test_jobs_start_in_turn(tmp_path: Path) -> None:
    """No more than MOST_AT_ONCE in one tick, and none is overtaken."""
    database, layout = Database(tmp_path / "service.db"), Layout(tmp_path)
    started: list[str] = []

    class Wide(BusyEngine):
        def probe(self, fresh: bool = False) -> Health:
            """A hundred slots."""
            return Health(True, "", tuple(Slot(f"cpu-{number}", "cpu", 0) for number in range(100)))

        def submit(self, start: Start) -> str:
            """Take it."""
            started.append(start.attempt.job)
            return "1"

    with database.transaction() as connection:
        connection.executemany(
            "INSERT INTO jobs(id, state, created_at, request, model, metadata, engine) "
            "VALUES (?, 'queued', 1, '{}', 'm', '{}', 'local')",
            ((name(number),) for number in range(90)),
        )

    def start_of(job: Job, attempt: Attempt) -> Start:
        return Start(attempt, layout.attempt(attempt), (), (), {}, tmp_path, 1)

    supervisor = Supervisor(database, layout, {"local": Wide()}, start_of, lambda: None)
    for tick in range(1, 6):
        supervisor.tick()
        assert started == [name(number) for number in range(min(90, tick * MOST_AT_ONCE))]


def test_estimates_of_a_long_queue(large: Database) -> None:
    """All jobs that wait are read once a second while someone looks at a list: a bound on what is read of each."""
    assert Steps(large).of(lambda: live_jobs(large)) < 100 * COUNT
