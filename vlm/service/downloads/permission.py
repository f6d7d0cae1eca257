"""Which models of the hub may be downloaded: the operator's rule, and how a model is named."""

import re
from dataclasses import dataclass

from huggingface_hub import constants

from llm.errors import ConfigError, ServiceError

OWNER = re.compile(r"[A-Za-z0-9][\w.-]{0,95}")
NAME = re.compile(r"([A-Za-z0-9][\w.-]{0,95})/([A-Za-z0-9][\w.-]{0,95})(?:@(\w[\w.-]{0,63}))?")
MAIN = "main"  # the branch where none is named


class DownloadsOffError(ServiceError):
    """A download that the operator does not allow."""


class HubNameError(ServiceError):
    """A text that names no model of a hub."""


@dataclass(frozen=True, slots=True)
class HubName:
    """A model of the hub. `revision`: a branch, a tag or a commit."""

    repository: str
    revision: str = MAIN

    @property
    def model(self) -> str:
        """The name by which jobs give it: `owner/name`, with `@revision` for another one than the main branch."""
        return self.repository if self.revision == MAIN else f"{self.repository}@{self.revision}"

    @property
    def folder(self) -> str:
        """A folder's name that no other model has: the hub allows no two dashes in a row."""
        return self.model.replace("/", "--")


@dataclass(frozen=True, slots=True)
class HubPermission:
    """Whether models may be downloaded; `owners`: only theirs, in lower case, or everybody's if there are none."""

    allowed: bool = False
    owners: frozenset[str] = frozenset()

    def check(self, name: HubName) -> None:
        """Raise DownloadsOffError for a model that may not be downloaded."""
        if not self.allowed:
            raise DownloadsOffError(
                "downloads are switched off. The operator allows them by starting the service with --hub on, or with "
                "--hub and the owners whose models may be downloaded"
            )
        owner = name.repository.partition("/")[0]
        if self.owners and owner.lower() not in self.owners:
            raise DownloadsOffError(
                f"{name.model}: only models of {', '.join(sorted(self.owners))} may be downloaded. The operator adds "
                "owners with --hub"
            )


NO_DOWNLOADS = HubPermission()


def read_permission(text: str, reachable: bool) -> HubPermission:
    """The rule that `--hub` states: off, on, or owners separated by commas.

    Empty: on, unless other machines can reach the service (`reachable`). Raises ConfigError for anything else.
    """
    if text in ("", "on", "off"):
        return HubPermission(text == "on" or (text == "" and not reachable))
    owners = [owner.strip() for owner in text.split(",")]
    for owner in owners:
        if not OWNER.fullmatch(owner):
            raise ConfigError(f"--hub {text}: write off, on, or owners such as Qwen,HuggingFaceTB")
    return HubPermission(True, frozenset(map(str.lower, owners)))


def read_name(text: str) -> HubName:
    """The model that a person names, by its id or its address on the hub. Raises HubNameError."""
    given = text.strip()
    for start in (f"{constants.ENDPOINT}/", "https://huggingface.co/"):
        given = given.removeprefix(start)
    found = NAME.fullmatch(given.rstrip("/"))
    if found is None or "--" in found[0] or ".." in found[0]:
        raise HubNameError(
            f"{text[:100]!r} is no model of the hub. Write owner/name, such as Qwen/Qwen2.5-0.5B-Instruct; a revision "
            "follows after @"
        )
    return HubName(f"{found[1]}/{found[2]}", found[3] or MAIN)
