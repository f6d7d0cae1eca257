"""What is known of an export: everything is read from its folder, so that a service that was killed knows it again.

JOB/exports/running.lock                  held while an export of the job is written
            step-000500-hf-bf16/          the key of the form
                start.json  log.txt       what the wrapper runs, and its output
                process.json  exit.json   the wrapper while it lives, and how it ended
                out/NAME/                 the export
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llm.errors import ServiceError
from vlm.service.attempts.exit_record import ExitRecord, read_exit
from vlm.service.attempts.last_words import last_words
from vlm.service.attempts.process_identity import NAME as IDENTITY
from vlm.service.attempts.process_identity import living_process
from vlm.service.attempts.wrapper import START
from vlm.service.exports.export_form import ExportForm, form_of

Status = Literal["queued", "running", "succeeded", "failed"]
EXPORTS, OUT = "exports", "out"
KILLED = 128 + 9


@dataclass(frozen=True, slots=True)
class Export:
    """An export of a job's checkpoint.

    Attributes:
        folder: Its own, of the name `form.key`.
        created_at: When it was asked for, in seconds since 1970; `finished_at`: None before its end.
        out: The finished export; None before that.
        bytes: The size of its files.
        error: Why it failed; empty for any other.
    """

    folder: Path
    form: ExportForm
    status: Status
    created_at: int
    finished_at: int | None = None
    out: Path | None = None
    bytes: int | None = None
    error: str = ""


def read_export(folder: Path) -> Export | None:
    """The export of a folder; None where there is none."""
    form = form_of(folder.name)
    try:
        created = int((folder / START).stat().st_mtime)
    except OSError:
        return None
    if form is None:
        return None
    try:
        ended = read_exit(folder)
    except ServiceError as error:
        return Export(folder, form, "failed", created, error=str(error))
    if ended is None:
        return _unfinished(folder, form, created)
    out = next(iter(folder.glob(f"{OUT}/[!.]*")), None)
    if ended.code or out is None:
        return Export(folder, form, "failed", created, int(ended.time), error=_why(folder, ended))
    return Export(folder, form, "succeeded", created, int(ended.time), out, folder_bytes(out))


def _unfinished(folder: Path, form: ExportForm, created: int) -> Export:
    if living_process(folder) is not None:
        return Export(folder, form, "running", created)
    if not (folder / IDENTITY).exists():
        return Export(folder, form, "queued", created)
    if (read := read_exit(folder)) is not None:  # it has ended since
        return read_export(folder) or Export(folder, form, "failed", created, int(read.time))
    found = "the export was interrupted, as when the machine goes down. Export again"
    return Export(folder, form, "failed", created, error=found)


def _why(folder: Path, ended: ExitRecord) -> str:
    if ended.code == KILLED:
        return "the export was killed: out of memory? Export when no job runs, or on a machine with more memory"
    return last_words(folder) or f"the export ended with exit code {ended.code}; see the log in its folder"


def folder_bytes(folder: Path) -> int:
    """Bytes of the files below a folder; links are not followed."""
    found = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                found += os.lstat(os.path.join(place, name)).st_size
            except OSError:  # deleted meanwhile
                continue
    return found
