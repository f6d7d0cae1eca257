"""Uploaded files and results in the database; their content lies in the service's folder."""

import sqlite3
import time

from vlm.service.store.database import Database
from vlm.service.store.job_table import StateConflictError
from vlm.service.store.rows import StoredFile
from vlm.service.store.states import FINAL

UNBOUNDED = 1 << 62
_USERS = (
    "SELECT jobs.id, jobs.state FROM job_files JOIN jobs ON jobs.sequence = job_files.sequence "
    f"WHERE job_files.file = ? AND jobs.state NOT IN ({', '.join('?' * len(FINAL))})"
)


def add_file(database: Database, file: StoredFile, most: int = UNBOUNDED) -> bool:
    """Add a file whose content is on the disk already, unless all files would have more than `most` bytes then.

    Returns whether it was added: of two uploads at once that fit only alone, the second is not.
    """
    with database.transaction() as connection:
        stored = connection.execute("SELECT coalesce(sum(bytes), 0) FROM files").fetchone()[0]
        if stored + file.bytes > most:
            return False
        connection.execute(
            "INSERT INTO files(id, filename, purpose, bytes, sha256, path, created_at, expires_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                file.id,
                file.filename,
                file.purpose,
                file.bytes,
                file.sha256,
                file.path,
                file.created_at,
                file.expires_at,
            ),
        )
        return True


def find_file(database: Database, name: str) -> StoredFile | None:
    """The file of that id."""
    rows = database.rows("SELECT * FROM files WHERE id = ?", (name,))
    return _file(rows[0]) if rows else None


def list_files(
    database: Database,
    limit: int,
    after: str | None = None,
    purpose: str | None = None,
    newest_first: bool = True,
    now: float | None = None,
) -> tuple[list[StoredFile], bool]:
    """Files that follow the file `after` and have not expired (by `now`), and whether there are more."""
    conditions = ["(expires_at IS NULL OR expires_at > ?)"]
    values: list[object] = [time.time() if now is None else now]
    if after is not None:
        sign = "<" if newest_first else ">"
        conditions.append(f"sequence {sign} (SELECT sequence FROM files WHERE id = ?)")
        values.append(after)
    if purpose is not None:
        conditions.append("purpose = ?")
        values.append(purpose)
    order = "DESC" if newest_first else "ASC"
    query = f"SELECT * FROM files WHERE {' AND '.join(conditions)} ORDER BY sequence {order} LIMIT ?"
    rows = database.rows(query, [*values, limit + 1])
    return [_file(row) for row in rows[:limit]], len(rows) > limit


def stored_bytes(database: Database) -> int:
    """Bytes of all files."""
    return int(database.rows("SELECT coalesce(sum(bytes), 0) AS total FROM files")[0]["total"])


def remove_file(database: Database, name: str) -> StoredFile | None:
    """Delete the entry of a file and return it; None when there is none.

    Raises StateConflictError while a job that has not ended trains on it.
    """
    with database.transaction() as connection:
        user = connection.execute(f"{_USERS} LIMIT 1", (name, *FINAL)).fetchone()
        if user is not None:
            raise StateConflictError(f"{name} is used by {user['id']}, which is {user['state']}: cancel the job first")
        row = connection.execute("DELETE FROM files WHERE id = ? RETURNING *", (name,)).fetchone()
        return _file(row) if row else None


def remove_expired(database: Database, now: float) -> list[StoredFile]:
    """Delete the entries of files that have expired and that no job needs which has not ended; returns them."""
    expired = [row["id"] for row in database.rows("SELECT id FROM files WHERE expires_at <= ?", (now,))]
    found: list[StoredFile] = []
    for name in expired:
        try:
            file = remove_file(database, name)
        except StateConflictError:
            continue
        found += [file] if file is not None else []
    return found


def _file(row: sqlite3.Row) -> StoredFile:
    values = dict(row)
    del values["sequence"]
    return StoredFile(**values)
