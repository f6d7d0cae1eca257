"""The header and the help of `eyegraft web`, as the service's pages have them."""

import time
from pathlib import Path

from anyio.to_thread import run_sync
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from demo.job_pages.home import help_body
from demo.job_pages.parts.context import devices, memory_in_use
from demo.job_pages.parts.framed_page import MACHINE, framed
from demo.job_pages.parts.markup import Markup
from demo.job_pages.parts.refresh import refreshed
from demo.job_pages.parts.shell import document, machine_parts, static_file
from demo.job_pages.parts.words import FRAME, text
from demo.pages.language import is_root, preferred_language
from demo.pages.parts.run_status import find_runs, read_run
from demo.server.generation_queue import GenerationQueue
from llm.errors import RunError
from llm.i18n.translate import Language
from vlm.service.engines.engine import Slot

STATIC = "/pages/static/"
HELP = "/help"
TABS = ("chat", "compare", "runs", "data")  # of gradio's page
BACK = {"home": "/"}  # from the help
FRESH_S = 5.0  # for so long what runs is believed: looking reads the newest run


class WebMachine:
    """The machine in the header: its device and memory, the answers being written, the newest run while it trains."""

    def __init__(self, queue: GenerationQueue, root: Path, slots: tuple[Slot, ...]) -> None:
        """`root`: the folder of runs."""
        self._queue, self._root, self._slots = queue, root, slots
        self._looked, self._training = -FRESH_S, ""

    def line(self, lang: Language) -> Markup:
        """The line of the header."""
        answers, waiting, training = self._queue.running, self._queue.waiting, self._training_now()
        words = [
            devices(self._slots) if self._slots else "",
            memory_in_use(lang),
            text(FRAME, "answering", lang, answers) if answers else "",
            text(FRAME, "queue_length", lang, waiting) if waiting else "",
            text(FRAME, "trains", lang, training) if training else "",
            "" if answers or training else text(FRAME, "idle", lang),
        ]
        return machine_parts(bool(answers or training), words, text(FRAME, "runs_now", lang))

    def _training_now(self) -> str:
        """The name of the newest run if it is being trained."""
        if time.monotonic() - self._looked >= FRESH_S:
            self._looked, self._training = time.monotonic(), _training(self._root)
        return self._training


def _training(root: Path) -> str:
    newest = next(iter(find_runs(root)[0]), "")
    try:
        state = read_run(root / newest).state if newest else None
    except RunError:  # the page of runs says why
        return ""
    return newest if state is not None and not state.finished and not state.silent else ""


def is_own(path: str) -> bool:
    """Whether the address is one of `head_routes`."""
    return path in (MACHINE, HELP) or path.startswith(STATIC)


def is_page(path: str) -> bool:
    """Whether a person opens the address."""
    return is_root(path) or path == HELP


def head_routes(machine: WebMachine) -> APIRouter:
    """What the header needs beside gradio's page; no part of the API. All run in threads, since they read files."""
    routes = APIRouter(include_in_schema=False)

    @routes.get(MACHINE)
    def line(request: Request, stamp: str = "") -> Response:
        """What the machine does now."""
        return refreshed({"machine": machine.line(preferred_language(request.headers))}, stamp)

    @routes.get(STATIC + "{name}")
    def static(name: str) -> Response:
        """Style sheets and the script."""
        return static_file(name)

    @routes.get(HELP)
    def help_page(request: Request) -> HTMLResponse:
        """What each page does, the keyboard, and where the documentation is."""
        lang = preferred_language(request.headers)
        body, title = help_body(lang, dict.fromkeys(TABS, "/")), text(FRAME, "help", lang)
        sheets = ("jobs.css", "home.css")
        return HTMLResponse(document(title, "help", body, lang, machine.line(lang), more=sheets, pages=BACK))

    return routes


class WebHead:
    """ASGI middleware that sends gradio's page with the header above it."""

    def __init__(self, app: ASGIApp, machine: WebMachine) -> None:
        self.app, self._machine = app, machine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and is_root(scope["path"]):
            lang = preferred_language(Headers(scope=scope))
            send = framed(send, "", lang, await run_sync(self._machine.line, lang), {})
        await self.app(scope, receive, send)
