"""The local copy of what is needed of a model or data set of a hub: fetched once, and found without a network later."""

import fcntl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from llm import hub_access
from llm.activity import activity, note_bytes
from llm.hubs import hugging_face, modelscope
from llm.hubs.listing import HubFailure, HubFile, HubUnreachable, Listing
from llm.hubs.reference import Hub, HubReference
from llm.hubs.transfer import TRANSPORT, Errand, fetch_all
from llm.library_errors import first_line
from llm.log import logger

Choose = Callable[[Sequence[str]], Sequence[str]]
"""Of the names of all files of a repository, those that are needed."""


class _Api(Protocol):
    """What the modules of hubs have in common."""

    def list_files(self, reference: HubReference) -> Listing: ...

    def request_headers(self) -> dict[str, str]: ...

    def errands(self, reference: HubReference, listing: Listing, wanted: Sequence[HubFile]) -> list[Errand]: ...

    def place(self, reference: HubReference, listing: Listing, wanted: Sequence[HubFile]) -> Path: ...

    def cached(self, reference: HubReference) -> Path | None: ...

    def lock_file(self, reference: HubReference) -> Path: ...

    def refusal(self, reference: HubReference, error: Exception) -> str: ...


FAILURES: tuple[type[Exception], ...] = (*TRANSPORT, OSError, ValueError)
APIS: dict[Hub, _Api] = {"hf": hugging_face, "modelscope": modelscope}


def host_of(reference: HubReference) -> str:
    """The host that is asked for it, a mirror where one is set."""
    return hub_access.hub_host() if reference.hub == "hf" else modelscope.host()


def local_copy(reference: HubReference, choose: Choose) -> Path:
    """The folder with the files that `choose` takes, which are fetched where they are not here.

    Where the hub cannot be asked, the folder as it was left, which may lack files. Raises HubUnreachable where there is
    none, and HubFailure for what the hub does not have or give, damaged files, and a disk that is full or read-only.
    """
    api = APIS[reference.hub]
    with activity(f"asking {host_of(reference)} for {reference}"):
        problem = _why_unreachable(reference)
        if problem:
            return _as_left(api, reference, problem)
        try:
            listing = api.list_files(reference)
        except FAILURES as error:
            return _refused(api, reference, error)
        wanted = _wanted(listing, choose)
        try:
            if api.errands(reference, listing, wanted):
                _fetch(api, reference, listing, wanted)
            return api.place(reference, listing, wanted)
        except OSError as error:
            where = error.filename or api.lock_file(reference).parent
            raise HubFailure(
                f"{reference}: the cache cannot be written, {where}: {error.strerror}. Set HF_HOME or MODELSCOPE_CACHE "
                "to a folder of yours"
            ) from error


def _why_unreachable(reference: HubReference) -> str:
    return hub_access.why_unreachable("" if reference.hub == "hf" else modelscope.endpoint())


def _as_left(api: _Api, reference: HubReference, problem: str) -> Path:
    found = api.cached(reference)
    if found is None:
        raise HubUnreachable(problem)
    return found


def _refused(api: _Api, reference: HubReference, error: Exception) -> Path:
    """The folder as it was left, where the hub is in trouble. Raises HubFailure where it refuses."""
    if words := api.refusal(reference, error):
        raise HubFailure(words) from error
    problem = first_line(error).rstrip(". ")
    found = api.cached(reference)
    if found is None:
        raise HubUnreachable(problem) from error
    logger.warning(f"{reference}: {host_of(reference)} cannot be asked ({problem}); the local copy is used as it is")
    return found


def _wanted(listing: Listing, choose: Choose) -> list[HubFile]:
    names = set(choose(listing.names))
    return [file for file in listing.files if file.name in names]


def _fetch(api: _Api, reference: HubReference, listing: Listing, wanted: Sequence[HubFile]) -> None:
    """Fetch what is missing, while no other process does."""
    with _alone(api, reference):
        missing = api.errands(reference, listing, wanted)
        total = sum(errand.file.size for errand in missing)
        with activity(f"fetching {reference}") as doing:
            try:
                fetch_all(missing, api.request_headers(), lambda done: note_bytes(doing, done, total))
            except TRANSPORT as error:
                if words := api.refusal(reference, error):
                    raise HubFailure(words) from error
                raise HubUnreachable(
                    f"the connection failed ({first_line(error).rstrip('. ')}); what has arrived is kept, and the same "
                    "command goes on from there"
                ) from error


@contextmanager
def _alone(api: _Api, reference: HubReference) -> Iterator[None]:
    """Inside, no other process of this machine fetches from the repository: it would append to the same files."""
    lock = api.lock_file(reference)
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as stream:
        with activity(f"waiting for another process that fetches {reference}"):
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
