"""`eyegraft web`: the page over everything under the runs folder, and the API beside it in the same process."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from fastapi import FastAPI

from demo.api import build_api
from demo.desk import Desk
from demo.limits import DEFAULT, Limits
from demo.records import find_sources
from demo.serve import hosts_of, listen
from demo.shelf import Shelf
from llm.errors import DataError


def web(
    named: list[str], root: Path, data: list[str], host: str, port: int, public: bool, token: str, name: str
) -> None:
    """Answer until stopped. ConfigError for an address that strangers could reach unasked."""
    hosts = hosts_of(host, public, token, name)
    with TemporaryDirectory(prefix="eyegraft-") as uploads:  # gone when the server stops
        os.environ["GRADIO_TEMP_DIR"] = uploads
        app = open_web(Shelf(root, named), root, data, hosts, token)
        print(f"http://{host}:{port}/{'?token=' + token if token else ''}", flush=True)
        listen(app, host, port)


def open_web(
    shelf: Shelf, root: Path, data: list[str], hosts: frozenset[str], token: str, limits: Limits = DEFAULT
) -> FastAPI:
    """The application: page at /, API at /v1. Raises DataError for a data file that is not there."""
    from demo.page import build_page, mount  # not before GRADIO_TEMP_DIR is set: gradio reads it when imported

    for path in data:
        if not Path(path).exists():
            raise DataError(f"--data {path}: no such file")
    desk = Desk(shelf, limits.waiting)
    app = build_api(desk, hosts, token, limits)
    mount(app, build_page(shelf, desk, limits, root, find_sources(shelf, data)), limits)
    return app
