"""The exports of a service: they wait in line, and one at a time is written, by a program that outlives the service.

It computes on the CPU, with the lowest priority that is of use, and is the first that the kernel ends when memory is
short: a training goes on. While jobs run, it waits until there is memory for it.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from llm.errors import EyegraftError, ServiceError
from llm.files.atomic_files import write_atomically
from llm.files.disk_space import LEAST_FREE, free_bytes
from llm.files.saved_checkpoints import find_checkpoint, step_of
from llm.log import logger
from vlm.export.formats import ExportDtype, ExportFormat
from vlm.service.attempts.exit_record import AGAIN, ExitRecord, write_exit
from vlm.service.attempts.job_lock import is_locked
from vlm.service.attempts.process_identity import living_process
from vlm.service.attempts.stop_file import ask_to_end, ask_to_stop
from vlm.service.attempts.wrapper import START, StartFile
from vlm.service.exports.export_form import DTYPES, ExportForm, form_of
from vlm.service.exports.export_size import disk_need, memory_need
from vlm.service.exports.export_state import EXPORTS, OUT, Export, folder_bytes, read_export

NICE = 10
OOM_SCORE = 500  # of 1000: the kernel ends it before a trainer of twice its size
KILL_S = 20.0  # in which the processes of a killed export are gone
ENVIRONMENT = {"EYEGRAFT_LANG": "en", "PYTHONUNBUFFERED": "1", "CUDA_VISIBLE_DEVICES": "", "EYEGRAFT_DEVICE": "cpu"}


class UnknownExportError(ServiceError):
    """There is no export of that name."""


class UnknownCheckpointError(ServiceError):
    """A checkpoint that a job does not have, or a form that cannot be written."""


class NoDiskRoomError(ServiceError):
    """An export that the quota or the disk has no room for."""


class Exports:
    """Makes, lists and removes exports. Thread-safe."""

    def __init__(
        self,
        jobs: Path,
        most_bytes: int,
        free_memory: Callable[[], int | None],
        program: Sequence[str] = (sys.executable, "-P", "-m", "vlm.app", "export"),
    ) -> None:
        """`jobs`: the folder of the jobs' folders. `most_bytes`: of all exports. `program` takes what `export` takes.

        `free_memory`: bytes that an export may take now; None while no job runs, when it takes what there is.
        """
        self._jobs, self._most, self._free_memory = jobs, most_bytes, free_memory
        self._program = program
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._running: Path | None = None
        found = [one for folder in jobs.glob(f"*/{EXPORTS}/*") if (one := read_export(folder)) is not None]
        waiting = sorted((one.created_at, one.folder) for one in found if one.status == "queued")
        self._waiting = deque(folder for _, folder in waiting)
        self._running = next((one.folder for one in found if one.status == "running"), None)

    def create(self, job: str, checkpoint: str, to: ExportFormat, dtype: ExportDtype | None, title: str) -> Export:
        """Put an export in line; one of the same form that has not failed is returned as it is.

        `checkpoint`: `latest`, `best`, `step-000500` or `500`; `dtype` None is the format's default; `title`: the
        beginning of the name of the folder that is written. Raises UnknownCheckpointError and NoDiskRoomError.
        """
        run = self._jobs / job / "run"
        form = _form(run, checkpoint, to, dtype)
        folder = self._jobs / job / EXPORTS / form.key
        with self._lock:
            known = read_export(folder)
            if known is not None and known.status != "failed":
                return known
            shutil.rmtree(folder, ignore_errors=True)
            self._check_room(disk_need(run, form))
            self._write_start(folder, run, form, title)
            self._waiting.append(folder)
            found = read_export(folder)
        assert found is not None
        return found

    def of_job(self, job: str) -> list[Export]:
        """The exports of a job, the newest first."""
        found = [read_export(folder) for folder in (self._jobs / job / EXPORTS).glob("*")]
        return sorted((one for one in found if one), key=lambda one: (-one.created_at, one.folder.name))

    def find(self, job: str, key: str) -> Export:
        """The export of a job's form. Raises UnknownExportError."""
        found = read_export(self._jobs / job / EXPORTS / key) if form_of(key) else None
        if found is None:
            raise UnknownExportError(f"{job} has no export {key[:80]!r}; it may have been removed")
        return found

    def remove(self, job: str, key: str) -> None:
        """Delete an export; one that is written now is ended. Raises UnknownExportError."""
        with self._lock:
            self._remove(self.find(job, key).folder)

    def remove_all(self, job: str) -> None:
        """Delete what was exported of a job."""
        with self._lock:
            for one in self.of_job(job):
                self._remove(one.folder)

    def tick(self) -> None:
        """Start the next export when none is written. Returns at once."""
        with self._lock:
            if self._is_busy():
                return
            while self._waiting:
                folder = self._waiting[0]
                found = read_export(folder)
                if found is not None and found.status == "queued":
                    if not self._has_memory(folder):
                        return
                    self._start(folder)
                self._waiting.popleft()
                if self._running is not None:
                    return

    def _write_start(self, folder: Path, run: Path, form: ExportForm, title: str) -> None:
        out = folder / OUT / f"{title}-{form.key}"
        out.parent.mkdir(parents=True)
        command = [*self._program, str(run), str(out), "--to", form.format]
        command += ["--dtype", form.dtype, "--checkpoint", f"step-{form.step:06d}"]
        start = StartFile(form.key, command, ENVIRONMENT, str(self._jobs.parent), False)
        write_atomically(folder / START, json.dumps(asdict(start)))

    def _check_room(self, need: int) -> None:
        """Raise NoDiskRoomError where an export of about `need` bytes has no place."""
        used = sum(folder_bytes(folder) for folder in self._jobs.glob(f"*/{EXPORTS}"))
        left = max(0, min(self._most - used, free_bytes(self._jobs) - LEAST_FREE))
        if need > left:
            raise NoDiskRoomError(
                f"the export takes about {need:,} bytes, and {left:,} are left of the quota and the disk. Remove "
                "exports or jobs that are not needed, then export again"
            )

    def _has_memory(self, folder: Path) -> bool:
        free = self._free_memory()
        return free is None or memory_need(folder.parent.parent / "run") <= free

    def _start(self, folder: Path) -> None:
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "vlm.service.attempts.wrapper", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=_yield_to_others,
            )
        except OSError as error:
            logger.warning(f"{folder}: cannot be started: {error}")
            self._close(folder)
            return
        self._running = folder

    def _is_busy(self) -> bool:
        """Whether an export is being written; one that has ended without a word is closed."""
        if self._running is None:
            return False
        if self._is_alive(self._running):
            return True
        found = read_export(self._running)
        if found is not None and found.status == "queued":
            self._close(self._running)
        self._running = None
        return False

    def _close(self, folder: Path) -> None:
        """An export whose program did not begin has failed."""
        with suppress(OSError):
            write_exit(folder, ExitRecord(folder.name, AGAIN, time.time()))

    def _remove(self, folder: Path) -> None:
        with suppress(ValueError):
            self._waiting.remove(folder)
        if self._running == folder:
            self._kill(folder)
        shutil.rmtree(folder, ignore_errors=True)

    def _kill(self, folder: Path) -> None:
        """Let the wrapper end its program, or not begin it. Raises ServiceError when that takes too long."""
        ask_to_stop(folder)
        ask_to_end(folder)
        until = time.monotonic() + KILL_S
        while self._is_alive(folder):
            if time.monotonic() > until:
                raise ServiceError(f"{folder.name}: the export did not end within {KILL_S:g} s. Remove it again")
            time.sleep(0.02)
        self._running = None

    def _is_alive(self, folder: Path) -> bool:
        if self._process is not None:
            if self._process.poll() is None:
                return True
            self._process = None
        return living_process(folder) is not None or is_locked(folder.parent)


def _form(run: Path, checkpoint: str, to: ExportFormat, dtype: ExportDtype | None) -> ExportForm:
    if dtype is not None and dtype not in DTYPES[to]:
        raise UnknownCheckpointError(f"{to} has no weights in {dtype}; it has {', '.join(DTYPES[to])}")
    try:
        step = step_of(find_checkpoint(run, checkpoint))
    except EyegraftError as error:
        raise UnknownCheckpointError(str(error)) from error
    return ExportForm(step, to, dtype or DTYPES[to][0])


def _yield_to_others() -> None:
    """Called in the new process before its program."""
    os.nice(NICE)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE), "ascii")
