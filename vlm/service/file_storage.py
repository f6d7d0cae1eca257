"""The contents of uploaded files: streamed to the disk with a quota, hashed, synced, then entered into the store."""

import hashlib
import secrets
import time
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from llm.errors import ServiceError
from llm.files.atomic_files import atomic_file
from llm.files.disk_space import LEAST_FREE, free_bytes, is_nearly_full
from vlm.service.layout import Layout
from vlm.service.store.database import Database
from vlm.service.store.file_table import add_file, find_file, remove_expired, remove_file, stored_bytes
from vlm.service.store.rows import Purpose, StoredFile

DATA = (".jsonl", ".json", ".csv", ".tsv", ".txt", ".parquet", ".arrow", ".xlsx")
STREAMED = (".jsonl", ".json", ".csv", ".tsv")  # are read while they are unpacked
PACKED = (".gz", ".zst", ".bz2", ".xz")
SWEEP_S = 60.0
NEARLY_FULL = "the service's disk is nearly full. Delete files or jobs, then upload again"
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")


class FileTooLargeError(ServiceError):
    """An upload that exceeds a quota or the disk."""


class UnknownKindError(ServiceError):
    """An upload whose name says that the service cannot read it."""


class FileStorage:
    """Adds, opens and deletes files of the service."""

    def __init__(self, database: Database, layout: Layout, most_file: int, most_all: int) -> None:
        """`most_file`: bytes of one file; `most_all`: of all."""
        self._database, self._layout = database, layout
        self._most_file, self._most_all = most_file, most_all
        self._next_sweep = 0.0
        layout.files.mkdir(parents=True, exist_ok=True)

    def add(self, chunks: Iterable[bytes], filename: str, purpose: Purpose, expires_s: int | None = None) -> StoredFile:
        """Store a file and return its entry. The entry exists only once the content is on the disk.

        Raises FileTooLargeError, UnknownKindError for a name whose kind the service does not read, and ServiceError
        when the disk refuses.
        """
        name = f"file-{secrets.token_hex(12)}"
        path = self._layout.files / (name + suffix_of(filename, purpose))
        most = min(self._most_file, self._most_all - stored_bytes(self._database))
        size, digest = 0, hashlib.sha256()
        try:
            with atomic_file(path) as partial, partial.open("wb") as output:
                for chunk in chunks:
                    size += len(chunk)
                    self._check_size(size, most)
                    digest.update(chunk)
                    output.write(chunk)
        except OSError as error:
            raise ServiceError(
                f"the service's disk refuses the upload: {error.strerror}. Delete files or jobs, then upload again"
            ) from error
        now = int(time.time())
        expires = None if expires_s is None else now + expires_s
        shown = PurePosixPath(filename.replace("\\", "/")).name[:255]
        file = StoredFile(name, shown, purpose, size, digest.hexdigest(), path.name, now, expires)
        if not add_file(self._database, file, self._most_all):
            path.unlink(missing_ok=True)
            raise _over_quota(self._most_all - stored_bytes(self._database))
        return file

    def room(self) -> tuple[int, FileTooLargeError]:
        """The most bytes of an upload now, and the error for a larger one.

        It is on the disk twice until it is stored: as it arrives, and in its file.
        """
        quota = min(self._most_file, self._most_all - stored_bytes(self._database))
        disk = max(0, free_bytes(self._layout.files) - LEAST_FREE) // 2
        return (quota, _over_quota(quota)) if quota < disk else (disk, FileTooLargeError(NEARLY_FULL))

    def path(self, file: StoredFile) -> Path:
        """Where the content of a file is."""
        return self._layout.files / file.path

    def remove(self, name: str) -> StoredFile | None:
        """Delete a file; None where there is none. Raises StateConflictError while a job trains on it."""
        file = remove_file(self._database, name)
        if file is not None:
            self.path(file).unlink(missing_ok=True)
        return file

    def entry(self, name: str) -> StoredFile | None:
        """The file of that id, expired or not: a job that uses it needs it until it has ended."""
        return find_file(self._database, name)

    def find(self, name: str) -> StoredFile | None:
        """The file of that id, unless it has expired."""
        file = find_file(self._database, name)
        return None if file is None or (file.expires_at or 1 << 62) <= time.time() else file

    def sweep(self) -> None:
        """Delete what has expired and no job needs. It is looked for once a minute, however often this is called."""
        if time.monotonic() < self._next_sweep:
            return
        self._next_sweep = time.monotonic() + SWEEP_S
        for file in remove_expired(self._database, time.time()):
            self.path(file).unlink(missing_ok=True)

    def remove_partial(self) -> None:
        """Delete what an upload has left that a kill of the service has ended; to be called before there are others."""
        for path in self._layout.files.glob(".file-*.partial"):
            path.unlink(missing_ok=True)

    def _check_size(self, size: int, most: int) -> None:
        if size > most:
            raise _over_quota(most)
        if is_nearly_full(self._layout.files):
            raise FileTooLargeError(NEARLY_FULL)


def _over_quota(left: int) -> FileTooLargeError:
    return FileTooLargeError(
        f"the file is larger than the {max(0, left):,} bytes that are left of the quota. Delete files that no job needs"
    )


def suffix_of(filename: str, purpose: Purpose) -> str:
    """The suffix by which the content is read. Raises UnknownKindError for one of another kind."""
    lower = filename.lower()
    suffixes = ARCHIVES if purpose == "vision" else (*DATA, *(a + b for a in STREAMED for b in PACKED))
    found = max((suffix for suffix in suffixes if lower.endswith(suffix)), key=len, default="")
    if not found:
        raise UnknownKindError(
            f"{filename[:80]!r}: a file for purpose {purpose} is named {', '.join(suffixes[:8])} and the like. "
            "Give the upload a name that ends so"
        )
    return found
