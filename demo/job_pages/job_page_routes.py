"""The addresses of one job: its page, its parts, its files, and its buttons."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from demo.job_pages.job_actions import OFFERED, act
from demo.job_pages.job_view import view_body, view_parts
from demo.job_pages.parts.context import PageContext
from demo.job_pages.parts.job_table import job_name
from demo.job_pages.parts.markup import tag
from demo.job_pages.parts.messages import said
from demo.job_pages.parts.refresh import refreshed
from demo.job_pages.parts.shell import document
from demo.job_pages.parts.words import VIEW, text
from demo.job_pages.run_view import run_body, run_parts
from demo.pages.language import preferred_language
from llm.errors import ServiceError
from llm.i18n.translate import Language
from vlm.service import requests
from vlm.service.requests import UnknownJobError
from vlm.service.results import metrics_csv
from vlm.service.store.job_table import StateConflictError, find_job


def job_page_routes(context: PageContext) -> APIRouter:
    """The routes; no part of the API."""
    routes, service = APIRouter(include_in_schema=False), context.service

    @routes.get("/jobs/{name}")
    def job(request: Request, name: str) -> HTMLResponse:
        """The page of a job."""
        lang, found = preferred_language(request.headers), find_job(service.database, name)
        if found is None:
            return _unknown(context, lang)
        parts = view_parts(context, found, lang, first=True)
        return HTMLResponse(document(job_name(found), "jobs", view_body(found, parts, lang), lang, parts["machine"]))

    @routes.get("/pages/jobs/{name}")
    def parts(request: Request, name: str, stamp: str = "") -> Response:
        """What the page is now."""
        found = requests.find(service.database, name)
        return refreshed(view_parts(context, found, preferred_language(request.headers)), stamp)

    @routes.get("/pages/jobs/{name}/recipe.yaml")
    def recipe(name: str) -> Response:
        """The recipe as a file."""
        return Response(requests.find(service.database, name).recipe, media_type="application/yaml")

    @routes.get("/pages/jobs/{name}/metrics.csv")
    def metrics(name: str) -> Response:
        """The metrics up to now."""
        found = requests.find(service.database, name)
        return Response(metrics_csv(service.database, service.layout, found.id), media_type="text/csv")

    @routes.post("/pages/jobs/{name}/{action}")
    def change(request: Request, name: str, action: str) -> JSONResponse:
        """A button was pressed: the address to go to, or why it is not possible."""
        if action not in OFFERED:
            return JSONResponse({"error": "there is no such action"}, 404)
        try:
            act(service, name, action)
        except ServiceError as error:
            status = {UnknownJobError: 404, StateConflictError: 409}.get(type(error), 503)
            return JSONResponse({"error": said(str(error), preferred_language(request.headers))}, status)
        return JSONResponse({"go": "/jobs" if action == "remove" else ""})

    return routes


def run_page_routes(context: PageContext) -> APIRouter:
    """The pages of runs that were started by hand."""
    routes, outside = APIRouter(include_in_schema=False), context.service.outside

    @routes.get("/runs/{name}")
    def run(request: Request, name: str) -> HTMLResponse:
        """The page of a run."""
        lang = preferred_language(request.headers)
        try:
            found = outside.find(name)
        except UnknownJobError:
            return _unknown(context, lang)
        parts = run_parts(context, found, lang)
        return HTMLResponse(document(found.name, "jobs", run_body(found, parts, lang), lang, parts["machine"]))

    @routes.get("/pages/runs/{name}")
    def parts(request: Request, name: str, stamp: str = "") -> Response:
        """What the page is now."""
        return refreshed(run_parts(context, outside.find(name), preferred_language(request.headers)), stamp)

    return routes


def _unknown(context: PageContext, lang: Language) -> HTMLResponse:
    title = text(VIEW, "unknown_title", lang)
    back = tag("a", text(VIEW, "all_jobs", lang), href="/jobs", class_="button")
    card = tag("div", tag("h1", title), tag("p", text(VIEW, "unknown_text", lang)), back, class_="card empty")
    return HTMLResponse(document(title, "jobs", card, lang, context.machine(lang)), 404)
