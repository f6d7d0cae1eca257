"""`eyegraft web`: the page over everything under the runs folder, and the API beside it in the same process."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastapi import FastAPI

from demo.model_library import Shelf
from demo.pages.parts.records import find_sources
from demo.server.api import build_api
from demo.server.generation_queue import Desk
from demo.server.limits import DEFAULT, Limits, strangers
from demo.server.serve import hosts_of
from demo.server.sockets import ended_by_signal, listen
from llm.errors import DataError


def web(
    named: list[str], root: Path, data: list[str], host: str, port: int, public: bool, token: str, name: str
) -> None:
    """Answer until stopped. ConfigError for an address that strangers could reach unasked."""
    hosts = hosts_of(host, public, token, name)
    limits = strangers() if public else DEFAULT
    shelf = Shelf(root, named, Path.cwd())
    desk = Desk(shelf, limits.waiting, limits.share_waiting)
    with ended_by_signal(), private_folders():
        app = open_web(shelf, desk, data, hosts, token, limits)
        print(f"http://{host}:{port}/{'?token=' + token if token else ''}", flush=True)
        listen(app, host, port, limits, desk.close)


@contextmanager
def private_folders() -> Iterator[None]:
    """Inside, the working, temporary and upload folders are new, private ones; they are removed when the server stops.

    gradio serves any file below the working or the temporary folder once an output names it.
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
    shelf: Shelf, desk: Desk, data: list[str], hosts: frozenset[str], token: str, limits: Limits = DEFAULT
) -> FastAPI:
    """The application: page at /, API at /v1. Raises DataError for a data file that is not there."""
    from demo.pages.page import build_page, mount  # not before GRADIO_TEMP_DIR is set: gradio reads it when imported

    for path in data:
        if not (shelf.home / path).exists():
            raise DataError(f"--data {path}: no such file")
    app = build_api(desk, hosts, token, limits)
    mount(app, build_page(shelf, desk, limits, find_sources(shelf, data)), limits)
    return app
