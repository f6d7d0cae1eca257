"""What the Train page sends to download a model of the hub, to end it, and to delete it."""

from collections.abc import Callable

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from demo.job_pages.parts.context import PageContext
from demo.job_pages.parts.messages import said
from demo.job_pages.train.hub_view import DOWNLOADS
from demo.jobs.download_routes import DownloadRequest
from demo.jobs.errors import error_response
from demo.pages.language import preferred_language
from llm.errors import ServiceError
from vlm.service.downloads.record import Download


def page_download_routes(context: PageContext) -> APIRouter:
    """The routes; no part of the API. All run in threads, since they wait for the disk and for the hub."""
    routes, downloads = APIRouter(include_in_schema=False), context.service.downloads

    @routes.post(DOWNLOADS)
    def download(request: Request, body: DownloadRequest) -> JSONResponse:
        """Download a model, or go on with it."""
        return _answer(request, lambda: downloads.add(body.model))

    @routes.post(f"{DOWNLOADS}/{{name}}/cancel")
    def cancel(request: Request, name: str) -> JSONResponse:
        """End a download; what is here stays."""
        return _answer(request, lambda: downloads.cancel(name))

    @routes.post(f"{DOWNLOADS}/{{name}}/delete")
    def delete(request: Request, name: str) -> JSONResponse:
        """Delete a model, or what is here of it."""
        return _answer(request, lambda: downloads.remove(name))

    return routes


def _answer(request: Request, act: Callable[[], Download]) -> JSONResponse:
    """The model of the download, or why it is refused, in the language of the page."""
    try:
        return JSONResponse({"model": act().model})
    except ServiceError as error:
        refused = error_response(error)
        message = said(refused.message, preferred_language(request.headers))
        return JSONResponse({"error": message}, refused.status)
