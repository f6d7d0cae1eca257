"""The addresses of the Train page: the form, what it shows while it is filled in, and the button."""

import secrets
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse

from demo.api.errors import ApiError
from demo.job_pages.parts.context import PageContext
from demo.job_pages.parts.messages import said
from demo.job_pages.parts.shell import document
from demo.job_pages.parts.words import FRAME, text
from demo.job_pages.plan.plans import Plans
from demo.job_pages.train.controls import Form as TrainForm
from demo.job_pages.train.data_looks import DataLooks
from demo.job_pages.train.form import form_body
from demo.job_pages.train.live_parts import LiveParts
from demo.job_pages.train.model_choices import model_choices
from demo.job_pages.train.values import TrainValues, field_of, missing, mistakes_of, read_values, request_of, values_of
from demo.job_pages.train.words import FORM
from demo.jobs.job_request import JobRequest
from demo.jobs.submission import submit_job
from demo.pages.language import preferred_language
from llm.errors import ServiceError
from llm.i18n.translate import Language
from vlm.service.store.job_table import find_job

ASSETS = ("train.css", "find_settings.js", "zip_images.js", "train.js")


def train_routes(context: PageContext) -> APIRouter:
    """The routes; no part of the API. All run in threads, since they wait for the disk."""
    routes = APIRouter(include_in_schema=False)
    plans = Plans(context.service.layout.root / "plans", context.question_of)
    live = LiveParts(context, DataLooks(context.service), plans)

    @routes.get("/train")
    def train(request: Request, like: str = "") -> HTMLResponse:
        """The form, filled in as the address says, or as it was for the job `like`."""
        lang = preferred_language(request.headers)
        job = find_job(context.service.database, like) if like else None
        values = values_of(job) if job is not None else read_values(request.query_params)
        form = TrainForm(context, model_choices(context), values, lang)
        parts = live.live(values, lang, str(request.base_url)).parts
        body = form_body(form, parts, secrets.token_urlsafe(12))
        title = text(FRAME, "train", lang)
        return HTMLResponse(document(title, "train", body, lang, context.machine(lang), more=ASSETS))

    @routes.get("/pages/train")
    def preview(request: Request, form: str = "") -> JSONResponse:
        """What the page shows of these values, and whether there will be more soon; `form` names the open form."""
        lang, values = preferred_language(request.headers), read_values(request.query_params)
        found = live.live(values, lang, str(request.base_url), form[:100])
        return JSONResponse({"parts": found.parts, "mistakes": found.mistakes, "auto": found.auto, "more": found.more})

    @routes.post("/pages/train")
    def start(request: Request, body: dict[str, Any]) -> JSONResponse:
        """Submit the job: the address of its page, or what is wrong by field."""
        lang = preferred_language(request.headers)
        values = read_values({key: value for key, value in body.items() if isinstance(value, str)})
        mistakes = missing(values, lang) | mistakes_of(values, lang, live.sees(values))
        if mistakes:
            message = mistakes.get("") or text(FORM, "not_submitted", lang)
            return JSONResponse({"mistakes": mistakes, "error": message}, 400)
        return _submitted(context, values, str(body.get("nonce", ""))[:100] or None, lang)

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
