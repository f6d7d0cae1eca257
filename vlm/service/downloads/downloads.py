"""The service's downloads: one at a time, each in a process of its own, resumed after every kind of end."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from llm.errors import ServiceError
from llm.files.disk_space import LEAST_FREE, free_bytes
from llm.files.regular_files import SETTINGS, read_text
from llm.log import logger
from vlm.service.attempts.stop_file import die_with_parent
from vlm.service.downloads.hub_listing import Listing, look_up
from vlm.service.downloads.permission import HubName, HubPermission, read_name
from vlm.service.downloads.record import (
    ERROR,
    LOG,
    MODEL,
    PARTS,
    Download,
    DownloadState,
    DownloadStateError,
    NoRoomError,
    UnknownDownloadError,
    bytes_here,
    download_id,
    read_record,
    write_record,
)

ALL_BYTES = 512 * 2**30  # of all downloaded models
LOOK_S = 0.25
GIB = 2**30
# Xet's own protocol keeps parts of files in a cache that is never cleared; parts of plain HTTP lie in the folder.
ENVIRONMENT = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
UNDER_WAY: tuple[DownloadState, ...] = ("queued", "downloading")
UsersOf = Callable[[str, Path], list[str]]


class Downloads:
    """Starts, ends and lists downloads. Thread-safe; what it knows lies in the folders of the downloads."""

    def __init__(self, root: Path, permission: HubPermission, users_of: UsersOf, most_all: int = ALL_BYTES) -> None:
        """`root`: the folder of models; `users_of`: the jobs that need a model of that name in that folder.

        `most_all`: bytes of all models together.
        """
        self._root, self.permission, self._users_of, self._most_all = root, permission, users_of, most_all
        self._lock, self._changed = threading.RLock(), threading.Event()
        self._process: tuple[str, subprocess.Popen[bytes]] | None = None
        self._all = {one.id: one for one in _stored(root)}

    def add(self, text: str) -> Download:
        """Download the model that the text names, or go on with it; one that is under way or here is left as it is.

        Raises HubNameError, DownloadsOffError, HubError and NoRoomError before anything is downloaded.
        """
        name = read_name(text)
        self.permission.check(name)
        with self._lock:
            found = self._all.get(download_id(name))
        if found is not None and found.state in (*UNDER_WAY, "ready"):
            return found
        listing = look_up(name)  # it waits for the hub: without the lock
        with self._lock:
            found = self._all.get(download_id(name))
            if found is not None and found.state in (*UNDER_WAY, "ready"):
                return found
            return self._begin(name, listing, found)

    def all(self) -> list[Download]:
        """The downloads, newest first."""
        with self._lock:
            return sorted(self._all.values(), key=lambda one: (-one.created_at, one.model))

    def find(self, name: str) -> Download:
        """The download of that id. Raises UnknownDownloadError."""
        with self._lock:
            found = self._all.get(name)
        if found is None:
            raise UnknownDownloadError(f"there is no download {name[:80]!r}")
        return found

    def cancel(self, name: str) -> Download:
        """End a download; what is here stays, and `add` goes on with it. Raises DownloadStateError if it has ended."""
        with self._lock:
            found = self.find(name)
            if found.state not in UNDER_WAY:
                raise DownloadStateError(f"{found.model}: its download is {found.state}, there is nothing to cancel")
            changed = self._change(found, "cancelled")
            self._end_process(name)
        return changed

    def remove(self, name: str) -> Download:
        """Delete a model, or what is here of it. Raises DownloadStateError while a job needs it."""
        with self._lock:
            found = self.find(name)
            jobs = self._users_of(found.model, self.model_folder(found))
            if jobs:
                raise DownloadStateError(
                    f"{found.model}: jobs need it, or have trained a model that does: {', '.join(jobs)}. Cancel or "
                    "remove them first"
                )
            del self._all[name]
            self._end_process(name)
            shutil.rmtree(self.folder(found), ignore_errors=True)
        return found

    def ready(self) -> dict[str, Path]:
        """The folders of the models that are here, by the names that jobs give."""
        with self._lock:
            return {one.model: self.model_folder(one) for one in self._all.values() if one.state == "ready"}

    def done_bytes(self, download: Download) -> int:
        """How many bytes of it are here."""
        return download.total if download.state == "ready" else bytes_here(self.folder(download), download)

    def folder(self, download: Download) -> Path:
        """Where a download lies."""
        return self._root / download.name.folder

    def model_folder(self, download: Download) -> Path:
        """Where its model lies."""
        return self.folder(download) / MODEL

    def run(self, stop: threading.Event) -> None:
        """Fetch what waits, until `stop` is set; then what is under way is ended, and goes on at the next start."""
        last = ""
        while not stop.is_set():
            try:
                self._step()
            except OSError as error:
                if str(error) != last:
                    logger.warning(f"downloads: {error}")
                last = str(error)
            self._changed.wait(LOOK_S if self._process is not None else 4 * LOOK_S)
            self._changed.clear()
        with self._lock:
            if self._process is not None:
                self._end_process(self._process[0])

    def _begin(self, name: HubName, listing: Listing, before: Download | None) -> Download:
        new = Download(name.repository, name.revision, listing.commit, listing.files, int(time.time()))
        folder = self.folder(new)
        if before is not None and (before.commit, before.files) != (new.commit, new.files):
            shutil.rmtree(folder, ignore_errors=True)  # parts of another commit
        self._check_room(new, new.total - bytes_here(folder, new))
        try:
            write_record(folder, new)
        except OSError as error:
            raise ServiceError(f"the service's disk refuses the download: {error.strerror}") from error
        self._all[new.id] = new
        self._changed.set()
        return new

    def _check_room(self, new: Download, missing: int) -> None:
        """Raise NoRoomError where the disk or the quota has no room for it beside the others that are under way."""
        others = [one for one in self._all.values() if one.id != new.id]
        coming = sum(one.total - self.done_bytes(one) for one in others if one.state in UNDER_WAY)
        self._root.mkdir(parents=True, exist_ok=True)
        disk = free_bytes(self._root) - LEAST_FREE - coming
        quota = self._most_all - sum(one.total for one in others)
        if missing > disk:
            raise NoRoomError(
                f"{new.model}: {missing / GIB:,.2f} GiB are to be downloaded, and the service's disk has room for "
                f"{max(0, disk) / GIB:,.2f} GiB. Delete models, files or jobs first"
            )
        if new.total > quota:
            raise NoRoomError(
                f"{new.model}: it has {new.total / GIB:,.2f} GiB, and the quota of downloaded models has "
                f"{max(0, quota) / GIB:,.2f} GiB left. Delete models first"
            )

    def _step(self) -> None:
        """Take the end of the process that runs, or start the next one."""
        with self._lock:
            if self._process is not None:
                name, process = self._process
                code = process.poll()
                if code is None:
                    return
                self._process = None
                self._settle(name, code)
            waiting = [one for one in self._all.values() if one.state in UNDER_WAY]
            if waiting:
                self._start(min(waiting, key=lambda one: (one.state != "downloading", one.created_at)))

    def _start(self, download: Download) -> None:
        folder = self.folder(download)
        (folder / ERROR).unlink(missing_ok=True)
        self._change(download, "downloading")
        command = [sys.executable, "-P", "-m", "vlm.service.downloads.fetch_program", str(folder)]
        with open(folder / LOG, "wb") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **ENVIRONMENT},
                preexec_fn=die_with_parent,
            )
        self._process = (download.id, process)

    def _settle(self, name: str, code: int) -> None:
        found = self._all.get(name)
        if found is None or found.state != "downloading":
            return
        if code == 0:
            self._change(found, "ready")
            shutil.rmtree(self.folder(found) / PARTS, ignore_errors=True)
            return
        try:
            error = read_text(self.folder(found) / ERROR, SETTINGS)
        except (OSError, ValueError):
            error = f"{found.model}: the process that fetches it ended with exit code {code}. Download it again"
        self._change(found, "failed", error)

    def _change(self, download: Download, state: DownloadState, error: str = "") -> Download:
        changed = replace(download, state=state, error=error)
        write_record(self.folder(changed), changed)
        self._all[changed.id] = changed
        self._changed.set()
        return changed

    def _end_process(self, name: str) -> None:
        """Kill the process that fetches the download, if it is the one that runs."""
        if self._process is not None and self._process[0] == name:
            self._process[1].kill()
            self._process[1].wait()
            self._process = None


def _stored(root: Path) -> list[Download]:
    """The downloads of an earlier service. A folder that cannot be read is reported, and left as it is."""
    found = list[Download]()
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        try:
            found.append(read_record(folder))
        except ServiceError as error:
            logger.warning(str(error))
    return found
