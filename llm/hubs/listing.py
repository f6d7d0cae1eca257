"""The files of a repository, as a hub lists them, and why a hub gives none."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from llm.errors import EyegraftError
from llm.hubs.reference import HubReference

SHA256 = re.compile(r"[0-9a-f]{64}")
SHA1 = re.compile(r"[0-9a-f]{40}")
UNSAFE = re.compile(r"[\\\0-\x1f]")


class HubFailure(EyegraftError):
    """A hub that does not have, or does not give, what is named; the message says what to do."""


class HubUnreachable(HubFailure):
    """A hub that does not answer. The message is the reason alone."""


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository.

    Attributes:
        name: Its path in the repository.
        size: In bytes.
        sha256: Of its content; empty where the hub does not list it.
        git_sha1: git's id of its content; empty where the hub does not list it, or the file is in large file storage.
    """

    name: str
    size: int
    sha256: str = ""
    git_sha1: str = ""

    @property
    def digest(self) -> str:
        """What the content is checked against; empty where the hub lists nothing."""
        return self.sha256 or self.git_sha1


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a repository, all of one revision. `commit`: its id; empty where the hub does not say it."""

    commit: str
    files: tuple[HubFile, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The files' names."""
        return tuple(file.name for file in self.files)


def checked(reference: HubReference, files: Sequence[HubFile]) -> tuple[HubFile, ...]:
    """The files as they are. Raises HubFailure for a name outside the repository, or an unknown size."""
    for file in files:
        parts = file.name.split("/")
        if UNSAFE.search(file.name) or not all(parts) or ".." in parts:
            outside = f"it lists a file outside its folder, {file.name[:80]!r}. Its owner means harm: do not use it"
            raise HubFailure(f"{reference}: {outside}")
        if file.size < 0:
            raise HubFailure(f"{reference}: the hub does not say how large {file.name} is. Use another mirror")
    return tuple(files)


def hexadecimal(pattern: re.Pattern[str], text: object) -> str:
    """The text if it is such a digest, else empty."""
    return text.lower() if isinstance(text, str) and pattern.fullmatch(text.lower()) else ""
