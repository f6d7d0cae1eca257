"""/v1/fine_tuning/jobs: submit, list, watch, cancel, pause, resume."""

import re
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request, params
from fastapi.responses import Response

from demo.api.errors import ApiError
from demo.api.openapi_document import errors, types
from demo.jobs.event_stream import job_reader, stream_events
from demo.jobs.job_request import JobRequest, ResumeRequest
from demo.jobs.known_query import METADATA, known_query, metadata_of
from demo.jobs.objects import checkpoint_object, event_object, job_object, list_object, sequence_of
from demo.jobs.shapes import CheckpointObject, Deleted, EventObject, JobObject, Page
from demo.jobs.submission import check_engine, remove_completely, submit_job
from demo.server.guard import ErrorResponse
from vlm.service import requests
from vlm.service.outside_runs import PREFIX as OUTSIDE
from vlm.service.service import Service
from vlm.service.store.event_table import list_checkpoints, list_events
from vlm.service.store.job_table import list_jobs
from vlm.service.store.rows import Job

PREFIX = "/v1/fine_tuning/jobs"
JOB, EVENT, CHECKPOINT = r"^ftjob-[0-9a-f]{24}$", r"^ftevent-[0-9]{1,18}$", r"^ftckpt-[0-9a-f]{24}-[0-9]{1,9}$"
# Patterns are documented; what does not match names nothing, and is answered so.
JobName = Annotated[str, Path(json_schema_extra={"pattern": JOB})]
After = Annotated[str | None, Query(json_schema_extra={"pattern": JOB})]
AfterEvent = Annotated[str | None, Query(json_schema_extra={"pattern": EVENT})]
AfterCheckpoint = Annotated[str | None, Query(json_schema_extra={"pattern": CHECKPOINT})]
LastEvent = Annotated[str | None, Header(alias="Last-Event-ID", max_length=100, json_schema_extra={"pattern": EVENT})]
Limit = Annotated[int, Query(ge=1, le=100)]
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)]


def job_routes(service: Service) -> APIRouter:
    """Submit, list and look at jobs. All routes run in threads, since they wait for the disk."""
    routes, database = _router(), service.database

    @routes.post("", responses=errors(409, 503))
    def create(body: JobRequest, key: Key = None) -> JobObject:
        """Submit a job. Requests with one Idempotency-Key are one job."""
        return _object(service, submit_job(service, body, key))

    @routes.get("", responses=errors(404, 503), openapi_extra={"parameters": [METADATA]})
    def jobs(request: Request, after: After = None, limit: Limit = 20) -> Page[JobObject]:
        """The jobs, newest first; `metadata[key]=value` leaves those that have the pair."""
        if after is not None:
            _find(service, after)
        found, more = list_jobs(database, limit, after, metadata_of(request))
        return list_object([_object(service, job) for job in found], more)

    @routes.get("/{name}", responses=errors(404, 503))
    def job(name: JobName) -> JobObject:
        """One job."""
        return _object(service, _find(service, name))

    return routes


def action_routes(service: Service) -> APIRouter:
    """What changes a job, and nothing else: a run that is none is refused."""
    database = service.database

    def refuse_outside(name: JobName) -> None:
        if name.startswith(OUTSIDE):
            service.outside.refuse(name)

    routes = _router(Depends(refuse_outside))

    def acted(job: Job) -> JobObject:
        service.supervisor.wake()
        return _object(service, job)

    @routes.delete("/{name}", responses=errors(404, 409, 503))
    def delete(name: JobName) -> Deleted:
        """Remove a job that has ended, with all that it wrote. OpenAI's API has no such call."""
        remove_completely(service, name)
        return {"id": name, "object": "fine_tuning.job", "deleted": True}

    @routes.post("/{name}/cancel", responses=errors(404, 409, 503))
    def cancel(name: JobName) -> JobObject:
        """End a job for good."""
        return acted(requests.cancel(database, name))

    @routes.post("/{name}/pause", responses=errors(404, 409, 503))
    def pause(name: JobName) -> JobObject:
        """Stop a job after the step that runs, until it is resumed."""
        return acted(requests.pause(database, name))

    @routes.post("/{name}/resume", responses=errors(400, 404, 409, 503))
    def resume(name: JobName, body: ResumeRequest | None = None) -> JobObject:
        """Put a paused job back into the queue, on another engine where `x_eyegraft` names one."""
        wanted = (body or ResumeRequest()).x_eyegraft
        check_engine(service, wanted.engine)
        return acted(requests.resume(database, name, wanted.engine, wanted.processes))

    return routes


def record_routes(service: Service) -> APIRouter:
    """What a job has left: its checkpoints and events."""
    routes, database = _router(), service.database

    @routes.get("/{name}/checkpoints", responses=errors(404, 503))
    def checkpoints(name: JobName, after: AfterCheckpoint = None, limit: Limit = 10) -> Page[CheckpointObject]:
        """The checkpoints of a job, newest first."""
        job = _find(service, name)
        before = None if after is None else _step(service, name, after)
        found = list_checkpoints(database, name, limit + 1, before)
        return list_object([checkpoint_object(job, one) for one in found[:limit]], len(found) > limit)

    @routes.get(
        "/{name}/events", response_model=Page[EventObject], responses={**errors(404, 503), **types("text/event-stream")}
    )
    def events(
        name: JobName,
        after: AfterEvent = None,
        limit: Annotated[int | None, Query(ge=1, le=100)] = None,
        stream: bool = False,
        last_event: LastEvent = None,
    ) -> Page[EventObject] | Response:
        """The events of a job, newest first; with `stream`, as server-sent events from the oldest on."""
        _find(service, name)
        if not stream:
            found, more = list_events(database, name, limit or 20, before=event_order(after, "after"))
            return list_object([event_object(event) for event in found], more)
        refuse_parts(after, limit)
        last = event_order(last_event, "Last-Event-ID") or 0
        return stream_events(job_reader(database, name), last, lambda: database.changes)

    return routes


def _router(*more: params.Depends) -> APIRouter:
    return APIRouter(prefix=PREFIX, tags=["fine-tuning"], dependencies=[Depends(known_query), *more])


def _find(service: Service, name: str) -> Job:
    return requests.find(service.database, name)


def _object(service: Service, job: Job) -> JobObject:
    return job_object(job, service.estimates.finish(job))


def refuse_parts(after: str | None, limit: int | None) -> None:
    """Raise ApiError for the parameters of a list in a request for a stream."""
    for param, given in (("after", after), ("limit", limit)):
        if given is not None:
            found = f"{param}: a stream has all events, or those after the header Last-Event-ID; leave it out"
            raise ApiError(ErrorResponse(400, found, param=param))


def event_order(event: str | None, param: str) -> int | None:
    """The order of the event that a client names. Raises ApiError for a name that no event has."""
    if event is None:
        return None
    found = sequence_of(event)
    if found is None:
        raise ApiError(ErrorResponse(400, f"{param}: {event[:80]!r} is not the id of an event", param=param))
    return found


def _step(service: Service, job: str, checkpoint: str) -> int:
    """The step of a job's checkpoint. Raises ApiError for a name that none has."""
    found = re.fullmatch(rf"ftckpt-{job.removeprefix('ftjob-')}-([0-9]{{1,9}})", checkpoint)
    step = int(found[1]) if found else -1
    if not [one for one in list_checkpoints(service.database, job, 1, step + 1) if one.step == step]:
        raise ApiError(ErrorResponse(400, f"after: there is no checkpoint {checkpoint[:80]!r}", param="after"))
    return step
