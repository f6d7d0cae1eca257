"""The addresses of the Train page: the form, what it shows while it is filled in, uploads, and the button."""

import secrets
from collections.abc import Iterator
from typing import Annotated, Any, BinaryIO, Literal

from fastapi import APIRouter, Form, Request, UploadFile
from fastapi.responses import HTMLResponse, JSONResponse

from demo.api.errors import ApiError
from demo.job_pages.parts.context import PageContext
from demo.job_pages.parts.messages import said
from demo.job_pages.parts.shell import document
from demo.job_pages.parts.words import FRAME, text
from demo.job_pages.train.data_looks import DataLooks
from demo.job_pages.train.form import Form as TrainForm
from demo.job_pages.train.form import form_body
from demo.job_pages.train.live_parts import LiveParts
from demo.job_pages.train.model_choices import model_choices
from demo.job_pages.train.values import (
    TrainValues,
    field_of,
    missing,
    mistakes_of,
    read_values,
    request_of,
    values_of,
)
from demo.job_pages.train.words import FORM
from demo.jobs.job_request import JobRequest
from demo.jobs.submission import submit_job
from demo.pages.language import preferred_language
from llm.errors import ServiceError
from llm.i18n.translate import Language
from vlm.service.store.job_table import find_job

UPLOADS = "/pages/files"
ASSETS = ("train.css", "train.js")
CHUNK = 1 << 20


def train_routes(context: PageContext) -> APIRouter:
    """The routes; no part of the API. All run in threads, since they wait for the disk."""
    routes, live = APIRouter(include_in_schema=False), LiveParts(context, DataLooks(context.service))

    @routes.get("/train")
    def train(request: Request, like: str = "") -> HTMLResponse:
        """The form, filled in as the address says, or as it was for the job `like`."""
        lang = preferred_language(request.headers)
        job = find_job(context.service.database, like) if like else None
        values = values_of(job) if job is not None else read_values(request.query_params)
        form = TrainForm(context, model_choices(context), values, lang)
        body = form_body(form, live.parts(values, lang, str(request.base_url)), secrets.token_urlsafe(12))
        title = text(FRAME, "train", lang)
        return HTMLResponse(document(title, "train", body, lang, context.machine(lang), more=ASSETS))

    @routes.get("/pages/train")
    def preview(request: Request) -> JSONResponse:
        """What the page shows of these values, and whether there will be more soon."""
        lang, values = preferred_language(request.headers), read_values(request.query_params)
        found = live.parts(values, lang, str(request.base_url))
        answer = {"parts": found, "mistakes": mistakes_of(values, lang), "more": not live.is_seen(values)}
        return JSONResponse(answer)

    @routes.post("/pages/train")
    def start(request: Request, body: dict[str, Any]) -> JSONResponse:
        """Submit the job: the address of its page, or what is wrong by field."""
        lang = preferred_language(request.headers)
        values = read_values({key: value for key, value in body.items() if isinstance(value, str)})
        mistakes = missing(values, lang) | mistakes_of(values, lang)
        if mistakes:
            message = mistakes.get("") or text(FORM, "not_submitted", lang)
            return JSONResponse({"mistakes": mistakes, "error": message}, 400)
        return _submitted(context, values, str(body.get("nonce", ""))[:100] or None, lang)

    @routes.post(UPLOADS)
    def upload(
        request: Request, file: UploadFile, purpose: Annotated[Literal["fine-tune", "vision"], Form()]
    ) -> JSONResponse:
        """Store a file as /v1/files does; what is refused is said in the language of the page."""
        try:
            stored = context.service.files.add(_chunks(file.file), file.filename or "", purpose)
        except ServiceError as error:
            return JSONResponse({"error": said(str(error), preferred_language(request.headers))}, 400)
        return JSONResponse({"id": stored.id, "name": stored.filename})

    return routes


def _submitted(context: PageContext, values: TrainValues, key: str | None, lang: Language) -> JSONResponse:
    """The same function as the API's submits it, so that both refuse the same."""
    try:
        job = submit_job(context.service, JobRequest.model_validate(request_of(values)), key)
    except ApiError as error:
        place = field_of(tuple((error.response.param or "").split(".")))
        message = said(error.response.message, lang)
        return JSONResponse({"mistakes": {place: message} if place else {}, "error": message}, error.response.status)
    except ServiceError as error:
        return JSONResponse({"mistakes": {}, "error": said(str(error), lang)}, 409)
    return JSONResponse({"go": f"/jobs/{job.id}"})


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        yield chunk
