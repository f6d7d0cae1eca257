"""Fetches the files of one download; the service starts it as a process of its own: FOLDER.

A file is appended to, so that a process that was killed goes on where it was: the library's own functions for folders
begin an interrupted file anew (huggingface_hub 2.4).
"""

import hashlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path

from huggingface_hub import constants, hf_hub_url
from huggingface_hub.file_download import http_get

from llm.errors import ServiceError
from llm.files.atomic_files import write_atomically
from llm.files.disk_space import LEAST_FREE, free_bytes
from vlm.service.downloads.hub_listing import HUB_FAILURES, hub_headers, refusal
from vlm.service.downloads.record import ERROR, MODEL, PARTS, Download, HubError, HubFile, NoRoomError, read_record

TOGETHER = 4  # files at a time
PIECE = 1 << 22


def main(folder: Path) -> int:
    """Fetch what is missing; the exit code. A failure is described in the folder."""
    download = read_record(folder)
    try:
        fetch(folder, download)
    except ServiceError as error:
        message = str(error)
    except HUB_FAILURES as error:
        message = refusal(download.name, error)
    else:
        return 0
    write_atomically(folder / ERROR, message)
    return 1


def fetch(folder: Path, download: Download) -> None:
    """Fetch the files that are not complete yet, several at a time.

    Raises HubError, NoRoomError, and what the library raises for what the hub refuses.
    """
    for place in (MODEL, PARTS):
        (folder / place).mkdir(exist_ok=True)
    missing = [file for file in download.files if not (folder / MODEL / file.name).exists()]
    pool = ThreadPoolExecutor(TOGETHER)
    running = [pool.submit(partial(_fetch_file, folder, download), file) for file in missing]
    try:
        for done in as_completed(running):
            done.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _fetch_file(folder: Path, download: Download, file: HubFile) -> None:
    part = folder / PARTS / file.name
    with part.open("ab") as output:
        here = output.tell()
        if here > file.size:
            output.truncate(0)
            here = 0
        if free_bytes(folder) - LEAST_FREE < file.size - here:
            raise NoRoomError(
                f"{download.model}: the service's disk has no room for {file.name}. Delete files or jobs, then "
                "download it again: it goes on where it was"
            )
        url = hf_hub_url(download.repository, file.name, revision=download.commit, endpoint=constants.ENDPOINT)
        if here < file.size:
            http_get(url, output, resume_size=here, headers=hub_headers(), expected_size=file.size)
        output.flush()
        os.fsync(output.fileno())
    _check(part, download, file)
    part.replace(folder / MODEL / file.name)


def _check(part: Path, download: Download, file: HubFile) -> None:
    """Raise HubError for content that is not what the hub has listed; the part is deleted."""
    size, digest = part.stat().st_size, hashlib.sha256()
    if file.sha256:
        with part.open("rb") as content:
            while piece := content.read(PIECE):
                digest.update(piece)
    if size != file.size or (file.sha256 and digest.hexdigest() != file.sha256):
        part.unlink()
        raise HubError(
            f"{download.model}: {file.name} arrived damaged: it is not what the hub has listed. Download it again"
        )


if __name__ == "__main__":
    code = main(Path(sys.argv[1]))
    sys.stdout.flush()
    os._exit(code)  # at once: other files may be under way, whose parts are appended to the next time
