"""/v1/x_runs: runs that `eyegraft train` has started by itself, to look at; OpenAI's list of jobs has none of them."""

import math
import time
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import Response

from demo.api.errors import ApiError
from demo.api.openapi_document import errors, types
from demo.jobs.event_stream import PAGE, stream_events
from demo.jobs.job_routes import AfterEvent, LastEvent, Limit, event_order, refuse_parts
from demo.jobs.known_query import known_query
from demo.jobs.objects import event_object, list_object, outside_object
from demo.jobs.shapes import EventObject, OutsideObject, Page
from demo.server.guard import ErrorResponse
from vlm.service.outside_runs import OutsideRun
from vlm.service.service import Service
from vlm.service.store.rows import Event

PREFIX, RUN = "/v1/x_runs", r"^xrun-[0-9a-f]{24}$"
RunName = Annotated[str, Path(json_schema_extra={"pattern": RUN})]
After = Annotated[str | None, Query(json_schema_extra={"pattern": RUN})]


def outside_routes(service: Service) -> APIRouter:
    """List and watch the runs. All routes run in threads, since they wait for the disk."""
    routes = APIRouter(prefix=PREFIX, tags=["outside"], dependencies=[Depends(known_query)])

    @routes.get("", responses=errors(503))
    def runs(after: After = None, limit: Limit = 20) -> Page[OutsideObject]:
        """The runs, those that began last first."""
        found = service.outside.all()
        start = 0
        if after is not None:
            names = [run.id for run in found]
            if after not in names:
                raise ApiError(ErrorResponse(400, f"after: there is no run {after[:80]!r}", param="after"))
            start = names.index(after) + 1
        return list_object([_object(run) for run in found[start : start + limit]], len(found) > start + limit)

    @routes.get("/{name}", responses=errors(404, 503))
    def run(name: RunName) -> OutsideObject:
        """One run."""
        return _object(service.outside.find(name))

    @routes.get(
        "/{name}/events", response_model=Page[EventObject], responses={**errors(404, 503), **types("text/event-stream")}
    )
    def events(
        name: RunName,
        after: AfterEvent = None,
        limit: Annotated[int | None, Query(ge=1, le=100)] = None,
        stream: bool = False,
        last_event: LastEvent = None,
    ) -> Page[EventObject] | Response:
        """The lines of a run's metrics as events, newest first; with `stream`, as server-sent events from the first."""
        found = service.outside.find(name)
        if not stream:
            lines, more = service.outside.newest_events(found, limit or 20, event_order(after, "after"))
            return list_object([event_object(line) for line in lines], more)
        refuse_parts(after, limit)

        def read(place: int) -> tuple[list[Event], bool]:
            ended = service.outside.find(name).state != "running"
            return service.outside.events_after(found, place, PAGE), ended

        return stream_events(read, event_order(last_event, "Last-Event-ID") or 0)

    return routes


def _object(run: OutsideRun) -> OutsideObject:
    now = time.time()
    left = run.progress.seconds_left(now) if run.state == "running" else None
    return outside_object(run, None if left is None else math.ceil(now + left))
