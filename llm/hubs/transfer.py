"""Files of a hub, fetched over HTTP: what arrived before a cut is kept, and what has arrived is checked.

A file is appended to under a name that says what its content must be, so that the next attempt, of this process or
another one, asks for the rest alone. Xet's own protocol is not used: it keeps parts in a cache of its own.
"""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError

from llm.files.disk_space import LEAST_FREE, free_bytes
from llm.hubs.listing import HubFailure, HubFile

TRANSPORT = cast("tuple[type[Exception], ...]", tuple(kind for kind in HfHubHTTPError.__bases__ if kind is not OSError))
"""What the client raises for a connection that fails; HfHubHTTPError, for an answer that refuses, is one of them."""
TOGETHER = 4  # files at a time
ATTEMPTS = 5  # without a new byte
PAUSE_S = 1.0  # before the next attempt
PIECE = 1 << 20  # bytes that are hashed at a time


@dataclass(frozen=True, slots=True)
class Errand:
    """A file that is to be fetched: from where, and to where; `part` is appended to until the file is complete."""

    file: HubFile
    url: str
    part: Path
    target: Path


@dataclass(slots=True)
class Progress:
    """How many bytes are here, of all errands; `stop` ends them at the next piece."""

    report: Callable[[int], None]
    done: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, count: int) -> None:
        """So many bytes have arrived, or, if negative, were given up. Raises InterruptedError after `stop`."""
        if self.stop.is_set():
            raise InterruptedError("the download was stopped")
        with self.lock:
            self.done += count
            self.report(self.done)


def fetch_all(errands: Sequence[Errand], headers: Mapping[str, str], report: Callable[[int], None]) -> None:
    """Fetch the files, several at a time; `report` is called with the bytes that are here, from any thread.

    Raises HubFailure for damaged files and a full disk, HfHubHTTPError for what the hub refuses, and TRANSPORT's errors
    for connections that failed ATTEMPTS times in a row.
    """
    progress = Progress(report)
    pool = ThreadPoolExecutor(TOGETHER)
    running = [pool.submit(_fetch, errand, headers, progress) for errand in errands]
    try:
        for done in as_completed(running):
            done.result()
    finally:
        progress.stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _fetch(errand: Errand, headers: Mapping[str, str], progress: Progress) -> None:
    file, part = errand.file, errand.part
    for place in (part.parent, errand.target.parent):
        place.mkdir(parents=True, exist_ok=True)
    with part.open("ab") as output:
        if output.tell() > file.size:
            output.truncate(0)
        _check_room(errand, file.size - output.tell())
        progress.add(output.tell())
        _receive_all(errand, headers, output, progress)
        output.flush()
        os.fsync(output.fileno())
    check_content(part, file)
    part.replace(errand.target)


def _receive_all(errand: Errand, headers: Mapping[str, str], output: BinaryIO, progress: Progress) -> None:
    """Receive what is missing, again and again while bytes arrive."""
    failed = 0
    while output.tell() < errand.file.size:
        progress.add(0)
        before = output.tell()
        try:
            _receive(errand.url, headers, output, progress)
        except TRANSPORT as error:
            failed = failed + 1 if output.tell() <= before else 1
            if isinstance(error, HfHubHTTPError) or failed >= ATTEMPTS:
                raise
            time.sleep(PAUSE_S)
            continue
        if output.tell() <= before:
            break  # the hub has no more bytes: `check_content` reports the size


def _receive(url: str, headers: Mapping[str, str], output: BinaryIO, progress: Progress) -> None:
    """Append what the hub sends of a file from the end of `output` on; from its start where it sends all of it."""
    from huggingface_hub import get_session, hf_raise_for_status  # half a second, and only those who download

    here = output.tell()
    asked = {**headers, "accept-encoding": "identity", **({"range": f"bytes={here}-"} if here else {})}
    client = get_session()
    with client.stream("GET", url, headers=asked, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT) as response:
        hf_raise_for_status(response)
        if here and response.status_code != 206:
            output.truncate(0)
            progress.add(-here)
        for piece in response.iter_bytes():  # as they come: of larger ones a cut would lose what has arrived
            output.write(piece)
            progress.add(len(piece))


def _check_room(errand: Errand, missing: int) -> None:
    room = free_bytes(errand.part.parent) - LEAST_FREE
    if missing > room:
        found = (
            f"{missing / 2**30:,.2f} GiB are to be downloaded, and there is room for {max(0, room) / 2**30:,.2f} GiB"
        )
        raise HubFailure(
            f"{errand.part.parent}: {found}. Free some of the disk, or set HF_HOME or MODELSCOPE_CACHE to another one"
        )


def check_content(path: Path, file: HubFile) -> None:
    """Raise HubFailure, and delete the file, where its content is not what the hub has listed."""
    if path.stat().st_size == file.size and is_listed(path, file):
        return
    path.unlink()
    raise HubFailure(
        f"{file.name} arrived damaged: it is not what the hub has listed, and was deleted. Run the command again; if "
        "that happens again, use another mirror"
    )


def is_listed(path: Path, file: HubFile) -> bool:
    """Whether a file's content has the digest that the hub lists; True where it lists none."""
    if not file.digest:
        return True
    digest = hashlib.sha256() if file.sha256 else hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
    with path.open("rb") as content:
        while piece := content.read(PIECE):
            digest.update(piece)
    return digest.hexdigest() == file.digest
