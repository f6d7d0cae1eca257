"""The buttons of the exports of a job."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from demo.job_pages.parts.context import PageContext
from demo.job_pages.parts.messages import said
from demo.jobs.errors import error_response
from demo.jobs.submission import export_job
from demo.pages.language import preferred_language
from llm.errors import ServiceError
from vlm.service import requests
from vlm.service.exports.export_form import form_of


def export_page_routes(context: PageContext) -> APIRouter:
    """The routes; no part of the API, which has its own."""
    routes, service = APIRouter(include_in_schema=False), context.service

    @routes.post("/pages/jobs/{name}/exports")
    def export(request: Request, name: str, body: dict[str, Any]) -> JSONResponse:
        """Export the chosen checkpoint in the chosen form, or say why it is not possible."""
        wanted = form_of(f"{body.get('checkpoint')}-{body.get('form')}")
        if wanted is None:
            return JSONResponse({"error": "there is no such checkpoint or format"}, 400)
        try:
            export_job(service, name, str(wanted.step), wanted.format, wanted.dtype)
        except ServiceError as error:
            return _refused(error, request)
        return JSONResponse({"go": ""})

    @routes.post("/pages/jobs/{name}/exports/{key}/remove")
    def remove(request: Request, name: str, key: str) -> JSONResponse:
        """Remove an export; one that is being written is ended."""
        try:
            requests.find(service.database, name)
            service.exports.remove(name, key)
        except ServiceError as error:
            return _refused(error, request)
        service.supervisor.wake()
        return JSONResponse({"go": ""})

    return routes


def _refused(error: ServiceError, request: Request) -> JSONResponse:
    """As the API answers, in the language of the page."""
    found = error_response(error)
    return JSONResponse({"error": said(str(error), preferred_language(request.headers))}, found.status)
