"""Chat, Compare and Data: gradio's page, which is imported and built when someone first opens one of them.

gradio takes 120 MiB and many seconds. A service that only trains spends neither.
"""

import asyncio
import os
import shutil
from enum import Enum

from anyio.to_thread import run_sync
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from demo.job_pages.parts.context import PageContext
from demo.job_pages.parts.framed_page import framed
from demo.job_pages.parts.markup import tag
from demo.job_pages.parts.shell import document
from demo.job_pages.parts.words import CHAT, FRAME, text
from demo.job_pages.stored_data import StoredSources
from demo.jobs.service_library import ServiceLibrary
from demo.pages.language import preferred_language
from demo.pages.page_paths import FILE, GET_PATHS, GET_PREFIXES, POST_PATHS
from demo.server.generation_queue import GenerationQueue
from demo.server.guard import ErrorResponse, send_error
from demo.server.limits import Limits
from llm.log import logger

PLACES = ("/chat", "/compare", "/data")
OURS = {"/", "/robots.txt"}
NOT_LOADED = "open /chat first"  # for a page that was opened before the service started again
REFRESH_S = 2  # while the page is being built


class Build(Enum):
    """Whether the page is there."""

    NONE = "none"
    RUNNING = "running"
    DONE = "done"
    MISSING = "missing"


class ChatSite:
    """ASGI middleware that passes gradio's addresses to its page, and everything else on."""

    def __init__(
        self,
        app: ASGIApp,
        context: PageContext,
        library: ServiceLibrary,
        queue: GenerationQueue,
        limits: Limits,
        secret: str,
    ) -> None:
        """`secret`: with what the page's chats are encrypted in browsers."""
        self.app, self._context, self._library, self._queue, self._limits = app, context, library, queue, limits
        self._build, self._site, self._secret = Build.NONE, FastAPI(), secret
        self._lifespan: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _is_gradios(scope["path"]):
            await self.app(scope, receive, send)
            return
        place = scope["path"] if scope["path"] in PLACES else ""
        if place and self._build is Build.NONE:
            self._build, self._lifespan = Build.RUNNING, asyncio.create_task(self._live())
            self._lifespan.add_done_callback(self._ended)
        if self._build is Build.DONE:
            await self._answer(place, scope, receive, send)
        elif place:
            await self._waiting_page(place, scope)(scope, receive, send)
        else:
            await send_error(ErrorResponse(503, NOT_LOADED), scope, send)

    async def _live(self) -> None:
        """Build the page, then keep what it does in the background alive until the server ends."""
        try:
            await run_sync(self._make)
        except ModuleNotFoundError:
            self._build = Build.MISSING
            return
        async with self._site.router.lifespan_context(self._site):
            self._build = Build.DONE
            await asyncio.Event().wait()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """After a failure the next visitor tries again."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._build = Build.NONE
            logger.error(f"the page of chats could not be built: {error}")

    def _make(self) -> None:
        uploads = self._context.service.layout.root / "page-uploads"
        shutil.rmtree(uploads, ignore_errors=True)  # of an earlier start: browsers upload again
        uploads.mkdir(mode=0o700)
        os.environ["GRADIO_TEMP_DIR"] = str(uploads)  # before gradio is imported, which reads it then
        from demo.job_pages.chat_examples import JobExamples
        from demo.pages.page import build_page, mount
        from demo.pages.service_parts import ServiceParts

        sources = StoredSources(self._context.service)
        examples = JobExamples(self._context.service, self._library)
        parts = ServiceParts(sources.train_address, self._secret, sources.first_usable, examples)
        page = build_page(self._library, self._queue, self._limits, sources, parts)
        mount(self._site, page, self._limits)

    async def _answer(self, place: str, scope: Scope, receive: Receive, send: Send) -> None:
        if place and scope["method"] == "GET":
            lang = preferred_language(Headers(scope=scope))
            send = framed(send, place.strip("/"), lang, self._context.machine(lang))
        path = "/" if place else scope["path"]
        await self._site({**scope, "path": path, "raw_path": path.encode()}, receive, send)

    def _waiting_page(self, place: str, scope: Scope) -> HTMLResponse:
        lang = preferred_language(Headers(scope=scope))
        key = "missing" if self._build is Build.MISSING else "loading"
        active = place.strip("/")
        said = text(CHAT, key, lang, text(FRAME, active, lang))
        body = tag("div", tag("p", said), class_="card empty", role="status")
        refresh = 0 if self._build is Build.MISSING else REFRESH_S
        machine = self._context.machine(lang)
        return HTMLResponse(document(text(FRAME, active, lang), active, body, lang, machine, refresh))


def _is_gradios(path: str) -> bool:
    if path in PLACES or path.startswith((*GET_PREFIXES, FILE)):
        return True
    return path in (GET_PATHS | POST_PATHS) - OURS
