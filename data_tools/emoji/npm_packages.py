"""Packages of npm, downloaded with `npm pack`, verified by sha256, and unpacked without running anything of theirs."""

import hashlib
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data_tools.quickstart.wheels import check_sum, empty_folder
from llm.activity import activity
from llm.errors import AssetError
from llm.log import logger

ROOT = "package/"  # the folder of every npm archive


@dataclass(frozen=True, slots=True)
class NpmPackage:
    """A published package: its npm requirement, archive, sha256, and which of its paths are unpacked (prefixes)."""

    requirement: str
    file: str
    sha256: str
    paths: tuple[str, ...]

    @property
    def name(self) -> str:
        """The last part of the package's name, which is its folder when unpacked."""
        return self.requirement.rpartition("@")[0].rpartition("/")[2]

    def obtain(self, downloads: Path) -> Path:
        """The archive in `downloads`, fetched unless it is there. Raises AssetError."""
        path = downloads / self.file
        if not path.is_file():
            logger.info(f"{self.requirement}: downloading")
            partial = empty_folder(downloads / (self.file + ".partial"))
            self._download(partial, path)
            (partial / self.file).rename(path)
            partial.rmdir()
        check_sum(path, self.requirement, self.sha256)
        return path

    def _download(self, into: Path, wanted: Path) -> None:
        npm = shutil.which("npm")
        if npm is None:
            raise AssetError(
                f"{self.requirement}: fetching it needs npm. Install Node.js, or put {self.file} at {wanted} "
                "by hand and run `eyegraft assets` again"
            )
        # npm reads a relative destination from its own working folder, which is `into`.
        command = [npm, "pack", "--json", "--ignore-scripts", "--loglevel=silent", "--pack-destination=."]
        with activity(f"downloading {self.requirement} with npm"):
            done = subprocess.run([*command, self.requirement], capture_output=True, text=True, check=False, cwd=into)
        if done.returncode == 0 and (into / self.file).is_file():
            return
        raise AssetError(
            f"{self.requirement}: npm could not download it: {_reason(done.stdout)}. Check the network and "
            f"npm's registry (npm config get registry), or put {self.file} at {wanted} by hand and "
            "run `eyegraft assets` again"
        )

    def unpack(self, archive: Path, into: Path) -> None:
        """Extract the wanted files into `into`; links and paths that leave the folder are refused. AssetError."""
        try:
            with tarfile.open(archive) as opened:
                opened.extractall(into, members=self._wanted(opened), filter="data")
        except tarfile.TarError as error:
            raise AssetError(f"{archive}: cannot be unpacked: {error}. Delete the file and run again") from error

    def _wanted(self, opened: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
        for member in opened:
            path = member.name.removeprefix(ROOT)
            if member.isfile() and path.startswith(self.paths):
                yield member.replace(name=path, deep=False)


def _reason(output: str) -> str:
    """What npm gives as the reason in its JSON: `{"error": {"summary": ..}}`."""
    try:
        said = json.loads(output)
    except ValueError:
        said = None
    error = said.get("error") if isinstance(said, dict) else None
    summary = error.get("summary") if isinstance(error, dict) else None
    return str(summary or "no error message").strip().removesuffix(".")


@dataclass(frozen=True, slots=True)
class NpmBundle:
    """Several packages that make one asset; each is unpacked into a folder of its name."""

    packages: tuple[NpmPackage, ...]

    @property
    def requirement(self) -> str:
        """All requirements, for the manifest."""
        return " ".join(package.requirement for package in self.packages)

    @property
    def sha256(self) -> str:
        """One checksum of all checksums."""
        return hashlib.sha256(" ".join(package.sha256 for package in self.packages).encode()).hexdigest()

    def obtain(self, downloads: Path) -> None:
        """Fetch what is not in `downloads`; what was fetched before an interruption is not fetched again."""
        for package in self.packages:
            package.obtain(downloads)

    def unpack(self, downloads: Path, into: Path) -> None:
        """Extract all packages."""
        for package in self.packages:
            package.unpack(downloads / package.file, into / package.name)
