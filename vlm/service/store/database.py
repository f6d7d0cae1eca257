"""The SQLite file of the service: its tables, their version, and its transactions."""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from llm.errors import ServiceError

TABLES = """
CREATE TABLE files(
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, filename TEXT NOT NULL, purpose TEXT NOT NULL,
    bytes INTEGER NOT NULL, sha256 TEXT NOT NULL, path TEXT NOT NULL, created_at INTEGER NOT NULL, expires_at INTEGER
) STRICT;
CREATE INDEX files_by_expiry ON files(expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE jobs(
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, key TEXT UNIQUE, state TEXT NOT NULL,
    created_at INTEGER NOT NULL, request TEXT NOT NULL, model TEXT NOT NULL, metadata TEXT NOT NULL,
    recipe TEXT NOT NULL DEFAULT '', engine TEXT NOT NULL DEFAULT '', processes INTEGER NOT NULL DEFAULT 1,
    priority INTEGER NOT NULL DEFAULT 0, fine_tuned_model TEXT, training_file TEXT NOT NULL DEFAULT '',
    validation_file TEXT, started_at INTEGER, finished_at INTEGER, trained_tokens INTEGER,
    planned_seconds REAL, progress TEXT NOT NULL DEFAULT '{}',
    error TEXT, result_files TEXT NOT NULL DEFAULT '[]', stalled INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX jobs_by_state ON jobs(state, priority DESC, sequence);
CREATE INDEX jobs_queued ON jobs(engine, priority DESC, sequence) WHERE state = 'queued';
CREATE INDEX jobs_wide ON jobs(engine, processes) WHERE state = 'queued';
CREATE INDEX jobs_trained ON jobs(sequence, fine_tuned_model) WHERE state = 'succeeded';
CREATE UNIQUE INDEX jobs_by_model ON jobs(fine_tuned_model);
-- The pairs of jobs.metadata, by which jobs are looked for.
CREATE TABLE job_metadata(
    key TEXT NOT NULL, value TEXT NOT NULL, sequence INTEGER NOT NULL REFERENCES jobs(sequence) ON DELETE CASCADE,
    PRIMARY KEY(key, value, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX metadata_by_job ON job_metadata(sequence);
CREATE TRIGGER job_has_metadata AFTER INSERT ON jobs BEGIN
    INSERT INTO job_metadata SELECT key, value, NEW.sequence FROM json_each(NEW.metadata); END;
-- The files that a job needs until it has ended.
CREATE TABLE job_files(
    file TEXT NOT NULL, sequence INTEGER NOT NULL REFERENCES jobs(sequence) ON DELETE CASCADE,
    PRIMARY KEY(file, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX files_by_job ON job_files(sequence);
CREATE TRIGGER job_has_files AFTER INSERT ON jobs BEGIN
    INSERT INTO job_files SELECT name, NEW.sequence FROM (SELECT NEW.training_file AS name UNION
    SELECT NEW.validation_file UNION SELECT json_extract(NEW.request, '$.x_eyegraft.images')) WHERE name <> ''; END;
CREATE TABLE attempts(
    job TEXT NOT NULL REFERENCES jobs(id) ON DELETE CASCADE, number INTEGER NOT NULL, engine TEXT NOT NULL,
    slots TEXT NOT NULL, start_step INTEGER NOT NULL, started_at INTEGER NOT NULL, native_id TEXT NOT NULL DEFAULT '',
    ended_at INTEGER, PRIMARY KEY(job, number)
) STRICT;
-- A job has one living attempt at most, whatever the code above it does.
CREATE UNIQUE INDEX one_attempt ON attempts(job) WHERE ended_at IS NULL;
CREATE TABLE leases(
    slot TEXT PRIMARY KEY, job TEXT NOT NULL, number INTEGER NOT NULL,
    FOREIGN KEY(job, number) REFERENCES attempts(job, number) ON DELETE CASCADE
) STRICT;
CREATE TABLE events(
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, job TEXT NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL, level TEXT NOT NULL, kind TEXT NOT NULL, message TEXT NOT NULL, data TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_job ON events(job, sequence);
CREATE INDEX messages_by_job ON events(job, sequence) WHERE kind = 'message';
CREATE TABLE checkpoints(
    job TEXT NOT NULL REFERENCES jobs(id) ON DELETE CASCADE, step INTEGER NOT NULL, created_at INTEGER NOT NULL,
    metrics TEXT NOT NULL, PRIMARY KEY(job, step)
) STRICT;
CREATE TABLE webhook_endpoints(
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, url TEXT NOT NULL,
    event_types TEXT NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, last_error TEXT
) STRICT;
-- The secret that signs has no retired_at; older ones sign beside it until they expire.
CREATE TABLE webhook_secrets(
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, secret TEXT NOT NULL, retired_at INTEGER, expires_at INTEGER,
    endpoint TEXT NOT NULL REFERENCES webhook_endpoints(id) ON DELETE CASCADE
) STRICT;
CREATE INDEX secrets_by_endpoint ON webhook_secrets(endpoint);
-- A job may be removed before its delivery has arrived: `job` refers to nothing.
CREATE TABLE webhook_deliveries(
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
    endpoint TEXT NOT NULL REFERENCES webhook_endpoints(id) ON DELETE CASCADE, job TEXT NOT NULL,
    event_type TEXT NOT NULL, body TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'waiting',
    tries INTEGER NOT NULL DEFAULT 0, waits_since INTEGER NOT NULL, next_try_at INTEGER NOT NULL
) STRICT;
CREATE INDEX deliveries_due ON webhook_deliveries(endpoint, next_try_at, waits_since) WHERE state = 'waiting';
CREATE INDEX deliveries_by_state ON webhook_deliveries(endpoint, state);
CREATE INDEX deliveries_by_job ON webhook_deliveries(job);
"""
# When an endpoint that answered 410 was switched off; memory that a job's plan takes of a slot; when an attempt's
# training began.
SECOND = """
ALTER TABLE webhook_endpoints ADD COLUMN gone_at INTEGER;
ALTER TABLE jobs ADD COLUMN planned_bytes INTEGER;
CREATE INDEX jobs_large ON jobs(engine, planned_bytes) WHERE state = 'queued' AND planned_bytes IS NOT NULL;
ALTER TABLE attempts ADD COLUMN trained_at REAL;
CREATE INDEX attempts_trained ON attempts(engine, trained_at) WHERE trained_at IS NOT NULL;
"""
STEPS = (TABLES, SECOND)
VERSION = len(STEPS)
"""A database of an older version is brought up to date when it is opened, step by step."""


class Database:
    """One connection, shared by the threads of the service; every use of it is a transaction."""

    def __init__(self, path: Path) -> None:
        """Open the file, and make its tables when it is new; it is readable by its owner alone.

        Raises ServiceError for a file of a newer version or of another program, and when the disk refuses.
        """
        self.path = path
        self.changes = 0  # transactions so far: a reader that has seen this number has nothing new to read
        self._lock = threading.RLock()
        with _disk_errors(path):
            path.touch(mode=0o600)
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("PRAGMA foreign_keys = ON")
        self._make_tables()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing of what the block writes; synced to the disk when the block ends. Not nestable.

        Raises ServiceError when the disk refuses.
        """
        with self._lock, _disk_errors(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
                self.changes += 1
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def rows(self, query: str, values: Sequence[object] = ()) -> list[sqlite3.Row]:
        """The rows of a query outside of a transaction."""
        with self._lock, _disk_errors(self.path):
            return self._connection.execute(query, tuple(values)).fetchall()

    def close(self) -> None:
        """Close the connection; the write-ahead log is merged into the file."""
        with self._lock:
            self._connection.close()

    def _make_tables(self) -> None:
        with self.transaction() as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == VERSION:
                return
            if version > VERSION:
                raise ServiceError(
                    f"{self.path}: was written by a newer Eyegraft (its tables are version {version}, this one reads "
                    f"{VERSION}). Upgrade Eyegraft, or choose another --root"
                )
            if version == 0 and connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                raise ServiceError(f"{self.path}: is the database of another program. Choose another --root")
            for step in STEPS[version:]:
                for statement in filter(str.strip, step.split(";\n")):
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Raise ServiceError for what the disk refuses; a broken constraint is a fault of ours and passes through."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except (sqlite3.Error, OSError) as error:
        raise ServiceError(
            f"{path}: the service's database cannot be used: {error}. Check the rights and the free space, or choose "
            "another --root"
        ) from error
