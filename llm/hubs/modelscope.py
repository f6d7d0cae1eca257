"""ModelScope: its listings, its addresses, and its cache, which its own client shares.

The part of its HTTP interface that downloads use, as its client modelscope-hub 0.5 uses it, is small; the client itself
is no dependency. The cache has two layouts:

    MODELSCOPE_CACHE/models/OWNER--NAME/snapshots/master/FILE  of modelscope-hub, and of what is fetched here
    ~/.cache/modelscope/hub/models/OWNER/NAME/FILE             of modelscope until 1.37, dots in NAME as ___

A revision may be a branch, and the hub lists no commit: whether a file is the listed one is decided by its SHA-256.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from huggingface_hub.errors import HfHubHTTPError

from llm.files.atomic_files import write_atomically
from llm.files.regular_files import SETTINGS, read_text
from llm.hubs.listing import SHA256, HubFailure, HubFile, Listing, checked, hexadecimal
from llm.hubs.reference import BRANCH, HubReference
from llm.hubs.transfer import Errand, is_listed

ENDPOINT = "https://modelscope.cn"
TIMEOUT_S = 10.0
PAGE = 200  # files of a data set in one answer
MOST_PAGES = 1000
KNOWN = ".eyegraft.json"  # in a folder: which contents its files have, so that large ones are read once


def endpoint() -> str:
    """The address of the hub, or of the mirror that MODELSCOPE_ENDPOINT or MODELSCOPE_DOMAIN names."""
    named = next((found for key in ("MODELSCOPE_ENDPOINT", "MODELSCOPE_DOMAIN") if (found := os.environ.get(key))), "")
    address = named.strip().rstrip("/") or ENDPOINT
    return address if "://" in address else f"https://{address}"


def host() -> str:
    """The host that is asked."""
    return urlsplit(endpoint()).netloc or endpoint()


def request_headers() -> dict[str, str]:
    """With the user's token where there is one; the older parts of the interface read it from a cookie."""
    token = os.environ.get("MODELSCOPE_API_TOKEN", "")
    return {"authorization": f"Bearer {token}", "cookie": f"m_session_id={token}"} if token else {}


def list_files(reference: HubReference) -> Listing:
    """What the hub lists. Raises HubFailure, HfHubHTTPError where it refuses, and the client's errors."""
    root = {"Revision": reference.revision, "Recursive": "True"}
    if reference.kind == "model":
        found = _page(reference, "repo/files", root)
    else:
        found = []
        for number in range(1, MOST_PAGES + 1):
            more = _page(reference, "repo/tree", {**root, "PageNumber": str(number), "PageSize": str(PAGE)})
            found += more
            if len(more) < PAGE:
                break
    files = [_file(entry) for entry in found if entry.get("Type") != "tree"]
    return Listing("", checked(reference, files))


def _page(reference: HubReference, what: str, query: Mapping[str, str]) -> list[Mapping[str, object]]:
    from huggingface_hub import get_session, hf_raise_for_status  # half a second, and only those who download

    address = f"{_address(reference)}/{what}?{urlencode(query)}"
    answer = get_session().get(address, headers=request_headers(), timeout=TIMEOUT_S)
    hf_raise_for_status(answer)
    try:
        files = json.loads(answer.text)["Data"]["Files"]
    except (ValueError, KeyError, TypeError) as error:
        raise HubFailure(
            f"{reference}: {host()} answers, but not as ModelScope does. Correct MODELSCOPE_ENDPOINT"
        ) from error
    return [entry for entry in files or [] if isinstance(entry, dict)]


def _file(entry: Mapping[str, object]) -> HubFile:
    size = entry.get("Size")
    return HubFile(
        str(entry.get("Path", "")), size if isinstance(size, int) else -1, hexadecimal(SHA256, entry.get("Sha256"))
    )


def errands(reference: HubReference, listing: Listing, wanted: Sequence[HubFile]) -> list[Errand]:
    """What is to be fetched of the `wanted` files: those that are not in the cache, or are others there."""
    folder = _folder(reference)
    known, found = _known(folder), []
    for file in wanted:
        if _is_here(folder, file, known):
            continue
        address = f"{_address(reference)}/repo?{urlencode({'Revision': reference.revision, 'FilePath': file.name})}"
        part = folder / ".parts" / f"{file.name.replace('/', '--')}.{file.digest[:16] or file.size}"
        found.append(Errand(file, address, part, folder / file.name))
    return found


def place(reference: HubReference, listing: Listing, wanted: Sequence[HubFile]) -> Path:
    """Note which contents the `wanted` files have, which are all there; returns their folder."""
    folder = _folder(reference)
    folder.mkdir(parents=True, exist_ok=True)
    known = {file.name: [file.digest, *_stamp(folder / file.name)] for file in wanted}
    write_atomically(folder / KNOWN, json.dumps({**_known(folder), **known}))
    return folder


def cached(reference: HubReference) -> Path | None:
    """The folder of a revision; None where nothing of it is here."""
    folder = _folder(reference)
    return folder if folder.is_dir() else None


def lock_file(reference: HubReference) -> Path:
    """Held by the process that fetches."""
    return _home(reference) / ".eyegraft.lock"


def refusal(reference: HubReference, error: Exception) -> str:
    """Why the hub does not give it, and what to do; empty for an error that is no answer of the hub."""
    if not isinstance(error, HfHubHTTPError):
        return ""
    kind, page = ("model", "models") if reference.kind == "model" else ("data set", "datasets")
    status = error.response.status_code
    if status in (401, 403):
        return (
            f"{reference}: its owner gives it only to some accounts. Ask for access at "
            f"{endpoint()}/{page}/{reference.repository}, then set MODELSCOPE_API_TOKEN to that account's token"
        )
    if status == 404:
        return (
            f"{reference}: {host()} has no such {kind}, or no revision {reference.revision} of it, or it is private. "
            "Check the spelling; for a private one set MODELSCOPE_API_TOKEN"
        )
    return ""


def _address(reference: HubReference) -> str:
    return f"{endpoint()}/api/v1/{reference.kind}s/{reference.repository}"


def _home(reference: HubReference) -> Path:
    return _cache() / f"{reference.kind}s" / reference.repository.replace("/", "--")


def _folder(reference: HubReference) -> Path:
    """Where a revision's files lie: in the older layout where it is there."""
    owner, _, name = reference.repository.partition("/")
    below = _cache() if os.environ.get("MODELSCOPE_CACHE") else _cache() / "hub"
    older = below / f"{reference.kind}s" / owner / name.replace(".", "___")
    if reference.revision == BRANCH["modelscope"] and older.is_dir():
        return older
    return _home(reference) / "snapshots" / reference.revision


def _cache() -> Path:
    named = os.environ.get("MODELSCOPE_CACHE", "")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "modelscope"


def _is_here(folder: Path, file: HubFile, known: Mapping[str, list[object]]) -> bool:
    path = folder / file.name
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    if known.get(file.name) == [file.digest, *_stamp(path)]:
        return True
    return bool(file.digest) and is_listed(path, file)


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _known(folder: Path) -> dict[str, list[object]]:
    try:
        found = json.loads(read_text(folder / KNOWN, SETTINGS))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
