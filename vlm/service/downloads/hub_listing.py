"""What a model consists of, asked of the hub before anything is downloaded."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TYPE_CHECKING, cast

from huggingface_hub import constants, errors
from huggingface_hub.errors import HfHubHTTPError

from llm.hub_access import MIRROR, hub_host, other_ways, why_unreachable
from llm.library_errors import first_line
from llm.model.model_folder import ADAPTER_FILE, CONFIG_FILE, NESTED_OR_OTHER, TEXT_FILES
from vlm.service.downloads.permission import HubName
from vlm.service.downloads.record import HubError, HubFile

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

TIMEOUT_S = 10.0
# What the library raises where a hub refuses or does not answer; its client has a base of its own for the latter.
HUB_FAILURES = cast("tuple[type[Exception], ...]", (OSError, ValueError, *HfHubHTTPError.__bases__))
WEIGHTS = "*.safetensors"  # the one format of weights that holds no program
FILE_NAME = re.compile(r"[A-Za-z0-9_][\w.+-]{0,200}")
COMMIT = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")
MOST_FILES = 2000


@dataclass(frozen=True, slots=True)
class Listing:
    """The files that are taken of a model, all of one commit."""

    commit: str
    files: tuple[HubFile, ...]


def look_up(name: HubName) -> Listing:
    """Ask the hub for a model, and whether it gives its files.

    Raises HubError: the hub cannot be reached, has no such model, wants a token, or has it in no form that is taken.
    """
    from huggingface_hub import (
        HfApi,
        get_hf_file_metadata,
        get_token,
        hf_hub_url,
    )  # half a second, and only those who download

    problem = why_unreachable()
    if problem:
        raise HubError(_unreachable(name, problem))
    endpoint = constants.ENDPOINT
    try:
        info = HfApi(endpoint=endpoint).model_info(
            name.repository, revision=name.revision, timeout=TIMEOUT_S, files_metadata=True
        )
        listing = Listing(_commit(name, info.sha), _files(name, info.siblings or []))
        # A gated model lists its files to everybody.
        config = hf_hub_url(name.repository, CONFIG_FILE, revision=listing.commit, endpoint=endpoint)
        get_hf_file_metadata(config, token=get_token(), timeout=TIMEOUT_S, endpoint=endpoint)
    except HUB_FAILURES as error:
        raise HubError(refusal(name, error)) from error
    return listing


def hub_headers() -> dict[str, str]:
    """The headers of a request, with the operator's token where there is one."""
    from huggingface_hub import get_token

    token = get_token()
    return {"authorization": f"Bearer {token}"} if token else {}


def refusal(name: HubName, error: Exception) -> str:
    """Why the hub does not give a model, and what to do."""
    host, model = hub_host(), name.model
    if isinstance(error, errors.GatedRepoError):
        return (
            f"{model}: its owner gives it only to those who have accepted its conditions. Accept them at "
            f"{constants.ENDPOINT}/{name.repository}, and start the service with HF_TOKEN set to that account's token"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{name.repository}: {host} has no revision {name.revision} of it. Leave out what follows after @"
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"{model}: {host} has no such model, or it is private. Check the spelling; for a private one, start the "
            "service with HF_TOKEN"
        )
    return _unreachable(name, first_line(error).rstrip(". "))


def _unreachable(name: HubName, problem: str) -> str:
    if constants.is_offline_mode():
        return (
            f"{name.model}: HF_HUB_OFFLINE is set, so nothing is downloaded. Start the service without it, or copy the "
            "model's folder below one of --models"
        )
    ways = other_ways("model", name.repository)
    return f"{name.model}: it could not be fetched from {hub_host()}: {problem}. {ways}"


def _commit(name: HubName, commit: str | None) -> str:
    if commit is None or not COMMIT.fullmatch(commit):
        raise HubError(
            f"{name.model}: {hub_host()} does not say which commit it is. Use another mirror, such as {MIRROR}"
        )
    return commit


def _files(name: HubName, siblings: "Sequence[RepoSibling]") -> tuple[HubFile, ...]:
    """The files that are taken: settings, tokenizer and safetensors, none of a folder. Raises HubError without them."""
    names = [sibling.rfilename for sibling in siblings]
    _refuse(name, names)
    wanted = {sibling.rfilename: sibling for sibling in siblings if _is_wanted(sibling.rfilename)}
    files = []
    for sibling in wanted.values():
        if sibling.size is None or sibling.size < 0:
            raise HubError(
                f"{name.model}: {hub_host()} does not say how large {sibling.rfilename} is. Use another mirror: "
                f"{MIRROR}"
            )
        found = sibling.lfs.sha256 if sibling.lfs is not None else ""
        files.append(HubFile(sibling.rfilename, sibling.size, found if SHA256.fullmatch(found or "") else ""))
    return tuple(files)


def _refuse(name: HubName, names: list[str]) -> None:
    """Raise HubError for a model that is not taken as it is."""
    for file in names:
        if file.startswith("/") or "\\" in file or ".." in file.split("/"):
            raise HubError(
                f"{name.model}: it lists a file outside its folder, {file[:80]!r}. Its owner means harm: do not use it"
            )
    if len(names) > MOST_FILES:
        raise HubError(f"{name.model}: it has {len(names):,} files, at most {MOST_FILES:,} are read. Is it a data set?")
    if CONFIG_FILE not in names:
        if ADAPTER_FILE in names:
            raise HubError(f"{name.model}: it is an adapter, not a model. Merge it into its base, and train that")
        raise HubError(f"{name.model}: it has no {CONFIG_FILE}. Choose a model in the format of transformers")
    if not any(fnmatch(file, WEIGHTS) and "/" not in file for file in names):
        others = sorted({file.rpartition(".")[2] for file in names if file.endswith((".bin", ".pt", ".pth", ".gguf"))})
        found = f"only as {', '.join(others)}" if others else "nowhere"
        raise HubError(
            f"{name.model}: it has no weights as safetensors ({found}), and other formats may hold programs. Choose a "
            "model that has them, or convert it and copy its folder below one of --models"
        )


def _is_wanted(file: str) -> bool:
    kinds = any(fnmatch(file, pattern) for pattern in (*TEXT_FILES, WEIGHTS))
    other = any(fnmatch(file, pattern) for pattern in NESTED_OR_OTHER)
    return bool(FILE_NAME.fullmatch(file)) and kinds and not other
