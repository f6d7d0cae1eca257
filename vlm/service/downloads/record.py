"""What is known of a download, as `download.json` in its folder keeps it.

ROOT/models/OWNER--NAME/download.json   what is downloaded, and how far it is
                        model/          the files that are complete
                        parts/          files of which a part is there
                        error.txt       why the process that fetches has given up
                        log.txt         its output
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from llm.errors import ServiceError
from llm.files.atomic_files import write_atomically
from llm.files.regular_files import SETTINGS, read_text
from vlm.service.downloads.permission import HubName

RECORD, MODEL, PARTS, ERROR, LOG = "download.json", "model", "parts", "error.txt", "log.txt"
PREFIX = "xdl-"
DownloadState = Literal["queued", "downloading", "ready", "failed", "cancelled"]
STATES: tuple[DownloadState, ...] = get_args(DownloadState)


class UnknownDownloadError(ServiceError):
    """A download that does not exist."""


class DownloadStateError(ServiceError):
    """A change that a download's state, or a job that needs it, does not allow."""


class NoRoomError(ServiceError):
    """A model that does not fit the disk or the quota."""


class HubError(ServiceError):
    """A model that the hub does not have, does not give, or gives in a form that is not taken."""


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a model: its size in bytes, and its SHA-256 where the hub says it."""

    name: str
    size: int
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Download:
    """A model that is, was or will be downloaded.

    Attributes:
        commit: Of which all files are.
        error: Why it failed, in English; empty otherwise.
    """

    repository: str
    revision: str
    commit: str
    files: tuple[HubFile, ...]
    created_at: int
    state: DownloadState = "queued"
    error: str = ""

    @property
    def name(self) -> HubName:
        """How people name it."""
        return HubName(self.repository, self.revision)

    @property
    def model(self) -> str:
        """How jobs name it."""
        return self.name.model

    @property
    def id(self) -> str:
        """The same for every download of the model."""
        return download_id(self.name)

    @property
    def total(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def download_id(name: HubName) -> str:
    """The id of the download of a model."""
    return PREFIX + hashlib.sha256(name.model.encode()).hexdigest()[:24]


def bytes_here(folder: Path, download: Download) -> int:
    """How many bytes of its files are on the disk."""
    return sum(_size(folder, file) for file in download.files)


def write_record(folder: Path, download: Download) -> None:
    """Write it into its folder. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / RECORD, json.dumps(asdict(download), ensure_ascii=False))


def read_record(folder: Path) -> Download:
    """Read it. Raises ServiceError where there is none, or one that cannot be read."""
    try:
        found = json.loads(read_text(folder / RECORD, SETTINGS))
        files = tuple(HubFile(**file) for file in found.pop("files"))
        download = Download(**found, files=files)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ServiceError(f"{folder / RECORD}: cannot be read ({error}). Delete the folder") from error
    if download.state not in STATES:
        raise ServiceError(f"{folder / RECORD}: {download.state!r} is no state of a download. Delete the folder")
    return download


def _size(folder: Path, file: HubFile) -> int:
    for place in (folder / MODEL, folder / PARTS):
        try:
            return (place / file.name).stat().st_size
        except FileNotFoundError:
            continue
    return 0
