"""`eyegraft web`: the page for all runs under a folder, and the API, in one process."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastapi import FastAPI
from starlette.middleware import Middleware

from demo.api.app import build_api
from demo.api.serve import allowed_hosts, allowed_origins
from demo.model_library import ModelLibrary
from demo.open_models import OpenModels
from demo.pages.parts.records import find_sources
from demo.server.generation_queue import GenerationQueue
from demo.server.limits import DEFAULT, Limits
from demo.server.sockets import ended_by_signal, listen
from demo.web.head import WebHead, WebMachine, head_routes, is_own, is_page
from llm import console
from llm.errors import DataError, ServiceError
from llm.log import logger
from vlm.service.engines.engine import Slot
from vlm.service.slots import find_slots


def web(
    named: list[str],
    root: Path,
    data: list[str],
    host: str,
    port: int,
    public: bool,
    token: str,
    name: str,
    limits: Limits,
    origins: list[str],
) -> None:
    """Serve until stopped, within `limits`; the API serves pages of `origins` too.

    Raises ConfigError for an address open to others without `public`, and for an origin that is not one.
    """
    hosts, sites = allowed_hosts(host, public, token, name), allowed_origins(origins)
    opened = OpenModels(limits.together, limits.new_tokens, limits.model_memory)
    library = ModelLibrary(root, named, Path.cwd(), opened)
    queue = GenerationQueue(library, limits.waiting, limits.share_waiting, together=limits.together)
    queue.metrics.add_models(opened.sizes)
    with ended_by_signal(), private_folders():
        app = open_web(library, queue, data, hosts, token, limits, sites)
        console.raw(f"http://{host}:{port}/{'?token=' + token if token else ''}")
        listen(app, host, port, limits, queue.close)


@contextmanager
def private_folders() -> Iterator[None]:
    """Inside the context the working, temporary and upload folders are new private ones, which are deleted at the end.

    gradio serves any file below the working or the temporary folder that an output names.
    """
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="eyegraft-", ignore_cleanup_errors=True) as folder:
        work, temporary, uploads = (Path(folder) / name for name in ("work", "tmp", "uploads"))
        for own in (work, temporary, uploads):
            own.mkdir(mode=0o700)
        os.environ |= {"GRADIO_TEMP_DIR": str(uploads), "TMPDIR": str(temporary)}
        tempfile.tempdir = str(temporary)
        os.chdir(work)
        try:
            yield
        finally:
            os.chdir(before)
            tempfile.tempdir = None


def open_web(
    library: ModelLibrary,
    queue: GenerationQueue,
    data: list[str],
    hosts: frozenset[str],
    token: str,
    limits: Limits = DEFAULT,
    origins: frozenset[str] = frozenset(),
) -> FastAPI:
    """The application: the page at /, the API at /v1, which pages of `origins` may use too.

    Raises DataError for a missing data file.
    """
    from demo.pages.page import build_page, mount  # not before GRADIO_TEMP_DIR is set: gradio reads it when imported

    for path in data:
        if not (library.home / path).exists():
            raise DataError(f"--data {path}: there is no such file. Correct the path")
    app = build_api(queue, hosts, token, limits, origins)
    machine = WebMachine(queue, library.root, slots())
    app.include_router(head_routes(machine))
    mount(app, build_page(library, queue, limits, find_sources(library, data)), limits, is_own, is_page)
    app.user_middleware.append(Middleware(WebHead, machine=machine))  # innermost: the language has been chosen
    return app


def slots() -> tuple[Slot, ...]:
    """The devices of this machine; none where the driver does not answer, which is no reason to show no page."""
    try:
        return find_slots()
    except ServiceError as error:
        logger.warning(str(error))
        return ()
