"""The addresses of the page of curves, of what it refreshes, and of its CSV file."""

import time
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response, StreamingResponse

from demo.job_pages.curves.csv_rows import csv_pieces
from demo.job_pages.curves.curve_cache import CurveCache, Steps
from demo.job_pages.curves.curves_view import Shown, curves_body, notes, values_table
from demo.job_pages.curves.marked_runs import MOST_RUNS, MarkedRun, Runs, lines_of, marked_runs, other_runs
from demo.job_pages.curves.words import CURVES_PAGE
from demo.job_pages.parts.context import PageContext
from demo.job_pages.parts.markup import Markup, tag
from demo.job_pages.parts.refresh import refreshed
from demo.job_pages.parts.shell import document
from demo.job_pages.parts.words import text
from demo.pages.language import preferred_language
from llm.i18n.translate import Language

READ_S = 0.6  # for so long a request reads metrics; of longer ones the rest comes with the next
From = Annotated[int | None, Query(alias="from", ge=0, le=2**53)]
To = Annotated[int | None, Query(alias="to", ge=0, le=2**53)]
Have = Annotated[list[str] | None, Query(max_length=2 * MOST_RUNS)]  # stamps of the curves that a browser has


def curve_routes(context: PageContext) -> APIRouter:
    """The routes; no part of the API. All run in threads, since they wait for the disk."""
    routes, cache, service = APIRouter(include_in_schema=False), CurveCache(context.service.database), context.service

    def read(runs: Sequence[MarkedRun]) -> Shown:
        until = time.monotonic() + READ_S
        return [(run, cache.read(run.id, run.folder, until)) for run in runs]

    def in_range(runs: Sequence[MarkedRun], steps: Steps, have: set[str]) -> dict[str, Markup]:
        until = time.monotonic() + READ_S
        finer = [(run, cache.read_range(run.id, run.folder, steps, until)) for run in runs]
        return {
            f"range-{run.id}": tag("data", read.content, value="", data_share=round(read.share, 3))
            for run, read in finer
            if read is not None and read.stamp not in have
        }

    @routes.get("/curves")
    def curves(request: Request, ids: Runs = None) -> HTMLResponse:
        """The page."""
        lang = preferred_language(request.headers)
        found, gone = marked_runs(service, ids or [], lang)
        body = curves_body(ids or [], read(found), gone, other_runs(service, ids or []), lang)
        title, machine = text(CURVES_PAGE, "title", lang), context.machine(lang)
        return HTMLResponse(
            document(title, "jobs", body, lang, machine, more=("curves.css", "curve_chart.js", "curves.js"))
        )

    @routes.get("/pages/curves")
    def parts(
        request: Request, ids: Runs = None, have: Have = None, stamp: str = "", first: From = None, last: To = None
    ) -> Response:
        """What the page is now; curves that the browser has already are left out.

        `from` and `to`: steps of which there are finer curves too.
        """
        lang = preferred_language(request.headers)
        found, _ = marked_runs(service, ids or [], lang)
        shown, had = read(found), set(have or [])
        ranges = {} if first is None or last is None or first >= last else in_range(found, (first, last), had)
        return refreshed(curve_parts(context, shown, had, lang) | ranges, stamp)

    @routes.get("/pages/curves.csv")
    def metrics(request: Request, ids: Runs = None) -> StreamingResponse:
        """Every line of every run."""
        found, _ = marked_runs(service, ids or [], preferred_language(request.headers))
        pieces = csv_pieces((run.id, run.name, lines_of(service, run)) for run in found)
        return StreamingResponse(pieces, media_type="text/csv")

    return routes


def curve_parts(context: PageContext, runs: Shown, have: set[str], lang: Language) -> dict[str, Markup]:
    """The parts of the page by the ids of their elements."""
    parts = {
        "machine": context.machine(lang),
        "curves-notes": notes(runs, lang),
        "curves-values": values_table(runs, lang),
    }
    new = {f"curve-{run.id}": tag("data", read.content, value="") for run, read in runs if read.stamp not in have}
    return parts | new
