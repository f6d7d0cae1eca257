"""The Hugging Face hub: its listings, its addresses, and its cache, which other programs share.

    HF_HOME/hub/models--OWNER--NAME/refs/main              the commit of a revision, when it was last asked for
                                    blobs/DIGEST           contents, each once
                                    snapshots/COMMIT/FILE  links to them

The layout is that of huggingface_hub's documentation ("Understand caching").
"""

import hashlib
import os
import threading
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import constants, errors

from llm.files.atomic_files import write_atomically
from llm.hub_access import hub_host
from llm.hubs.listing import SHA1, SHA256, HubFailure, HubFile, Listing, checked, hexadecimal
from llm.hubs.reference import HubReference
from llm.hubs.transfer import Errand

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

TIMEOUT_S = 10.0


def list_files(reference: HubReference) -> Listing:
    """What the hub lists. Raises HubFailure, HfHubHTTPError where it refuses, and TRANSPORT's errors."""
    from huggingface_hub import HfApi  # half a second, and only those who download

    api = HfApi(endpoint=constants.ENDPOINT)
    info = (api.model_info if reference.kind == "model" else api.dataset_info)(
        reference.repository, revision=reference.revision, timeout=TIMEOUT_S, files_metadata=True
    )
    commit = hexadecimal(SHA1, info.sha)
    if not commit:
        raise HubFailure(f"{reference}: {hub_host()} does not say which commit it is. Use another mirror")
    return Listing(commit, checked(reference, [_file(sibling) for sibling in info.siblings or []]))


def _file(sibling: "RepoSibling") -> HubFile:
    size = -1 if sibling.size is None else sibling.size
    if sibling.lfs is not None:
        return HubFile(sibling.rfilename, size, hexadecimal(SHA256, sibling.lfs.sha256))
    return HubFile(sibling.rfilename, size, git_sha1=hexadecimal(SHA1, sibling.blob_id))


def request_headers() -> dict[str, str]:
    """With the user's token where there is one: HF_TOKEN, or that of `hf auth login`."""
    from huggingface_hub import get_token

    token = get_token()
    return {"authorization": f"Bearer {token}"} if token else {}


def errands(reference: HubReference, listing: Listing, wanted: Sequence[HubFile]) -> list[Errand]:
    """What is to be fetched of the `wanted` files: those whose content is not in the cache."""
    from huggingface_hub import hf_hub_url

    blobs = _home(reference) / "blobs"
    found = {}
    for file in wanted:
        if (snapshot(reference, listing) / file.name).exists() or (blobs / _blob(listing, file)).exists():
            continue
        url = hf_hub_url(
            reference.repository, file.name, repo_type=reference.kind, revision=listing.commit,
            endpoint=constants.ENDPOINT,
        )  # fmt: skip
        name = _blob(listing, file)
        found[name] = Errand(file, url, blobs / f"{name}.eyegraft", blobs / name)  # two files may have one content
    return list(found.values())


def place(reference: HubReference, listing: Listing, wanted: Sequence[HubFile]) -> Path:
    """Link the `wanted` files, whose contents are in the cache, into the snapshot; returns its folder."""
    folder, blobs = snapshot(reference, listing), _home(reference) / "blobs"
    folder.mkdir(parents=True, exist_ok=True)
    for file in wanted:
        link = folder / file.name
        if not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            made = link.with_name(f".{link.name}.{os.getpid()}-{threading.get_ident()}")
            made.symlink_to(os.path.relpath(blobs / _blob(listing, file), link.parent))
            made.replace(link)  # another process may place it now; an old link may be to a content that was deleted
    if reference.revision != listing.commit:
        ref = _home(reference) / "refs" / reference.revision
        ref.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(ref, listing.commit)
    return folder


def snapshot(reference: HubReference, listing: Listing) -> Path:
    """The folder of a commit."""
    return _home(reference) / "snapshots" / listing.commit


def cached(reference: HubReference) -> Path | None:
    """The folder of the commit that the revision was when it was last asked for; None where nothing of it is here."""
    home = _home(reference)
    try:
        commit = (home / "refs" / reference.revision).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        commit = reference.revision
    folder = home / "snapshots" / commit
    return folder if folder.is_dir() else None


def lock_file(reference: HubReference) -> Path:
    """Held by the process that fetches."""
    return _home(reference) / ".eyegraft.lock"


def refusal(reference: HubReference, error: Exception) -> str:
    """Why the hub does not give it, and what to do; empty for an error that is no answer of the hub."""
    host, page = hub_host(), f"{constants.ENDPOINT}/{'datasets/' if reference.kind == 'dataset' else ''}"
    if isinstance(error, errors.GatedRepoError):
        return (
            f"{reference}: its owner gives it only to those who have accepted its conditions. Accept them at "
            f"{page}{reference.repository}, then set HF_TOKEN to that account's token, or run `hf auth login`"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{reference}: {host} has no revision {reference.revision} of it. Leave out what follows after @"
    if isinstance(error, errors.RepositoryNotFoundError):
        kind = "model" if reference.kind == "model" else "data set"
        return (
            f"{reference}: {host} has no such {kind}, or it is private. Check the spelling; for a private one set "
            "HF_TOKEN, or run `hf auth login`"
        )
    return ""


def _home(reference: HubReference) -> Path:
    owner, _, name = reference.repository.partition("/")
    return Path(constants.HF_HUB_CACHE) / f"{reference.kind}s--{owner}--{name}"


def _blob(listing: Listing, file: HubFile) -> str:
    """The name of a content in the cache: its digest, or where the hub lists none, one of its commit and name."""
    return file.digest or hashlib.sha256(f"{listing.commit}/{file.name}".encode()).hexdigest()


def matching(names: Sequence[str], patterns: Sequence[str], others: Sequence[str]) -> list[str]:
    """The names that match one of `patterns` and none of `others`; a `*` also takes slashes."""
    return [
        name
        for name in names
        if any(fnmatch(name, pattern) for pattern in patterns) and not any(fnmatch(name, other) for other in others)
    ]
