"""The addresses that browsers open: the table of jobs, one job, and the parts of them that are refreshed."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, Response

from demo.job_pages.parts.context import PageContext
from demo.job_pages.parts.disk_note import disk_note
from demo.job_pages.parts.framed_page import MACHINE
from demo.job_pages.parts.markup import Markup, joined, tag
from demo.job_pages.parts.refresh import refreshed
from demo.job_pages.parts.shell import document, static_file
from demo.job_pages.parts.words import FRAME, TABLE, WEBHOOKS, text
from demo.job_pages.table_query import TableQuery, filter_form, table_query
from demo.job_pages.table_view import marks_bar, table_of
from demo.pages.language import preferred_language
from llm.i18n.translate import Language

Asked = Annotated[TableQuery, Depends(table_query)]


def page_routes(context: PageContext) -> APIRouter:
    """The routes; no part of the API. All run in threads, since they wait for the disk."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/jobs")
    def jobs(request: Request, query: Asked) -> HTMLResponse:
        """The table."""
        lang = preferred_language(request.headers)
        title, parts = text(FRAME, "jobs", lang), table_parts(context, query, lang)
        new = tag("a", text(TABLE, "new_job", lang), href="/train", class_="button primary")
        head = tag("div", tag("h1", title), filter_form(query, lang), new, class_="page-head")
        disk = tag("div", parts["jobs-disk"], id="jobs-disk")
        table = tag("div", parts["jobs"], id="jobs", data_poll=f"/pages/jobs?{query.query()}")
        hooks = tag("p", tag("a", text(WEBHOOKS, "title", lang), href="/webhooks"), class_="more quiet")
        body = joined([head, disk, marks_bar(lang), table, hooks])
        return HTMLResponse(document(title, "jobs", body, lang, parts["machine"], more=("jobs.css", "jobs.js")))

    @routes.get("/pages/jobs")
    def jobs_parts(request: Request, query: Asked, stamp: str = "") -> Response:
        """What the table is now."""
        return refreshed(table_parts(context, query, preferred_language(request.headers)), stamp)

    @routes.get("/pages/static/{name}")
    def static(name: str) -> Response:
        """Style sheets and the script."""
        return static_file(name)

    @routes.get(MACHINE)
    def machine(request: Request, stamp: str = "") -> Response:
        """What the machine does now, for gradio's page."""
        return refreshed({"machine": context.machine(preferred_language(request.headers))}, stamp)

    return routes


def table_parts(context: PageContext, query: TableQuery, lang: Language) -> dict[str, Markup]:
    """The parts of the table's page by the ids of their elements."""
    return {
        "machine": context.machine(lang),
        "jobs-disk": disk_note(context.service.layout.root, lang),
        "jobs": table_of(context, query, lang),
    }
