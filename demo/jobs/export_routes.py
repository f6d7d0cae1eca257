"""/v1/fine_tuning/jobs/{id}/x_exports: checkpoints as folders that other software reads, to download."""

import re
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import StreamingResponse

from demo.api.errors import ApiError
from demo.api.openapi_document import errors, types
from demo.jobs.job_request import ExportRequest
from demo.jobs.job_routes import PREFIX, JobName, Limit
from demo.jobs.known_query import known_query
from demo.jobs.objects import export_object, list_object
from demo.jobs.shapes import Deleted, ExportObject, Page
from demo.jobs.submission import export_job
from demo.server.guard import ErrorResponse
from vlm.service import requests
from vlm.service.exports.export_state import Export
from vlm.service.exports.tar_stream import TarStream
from vlm.service.service import Service

EXPORT = r"^ftexport-[0-9a-f]{24}-step-[0-9]{6,9}-[a-z]+-[a-z0-9_]+$"
TAR = "application/x-tar"
ExportName = Annotated[str, Path(json_schema_extra={"pattern": EXPORT})]
After = Annotated[str | None, Query(json_schema_extra={"pattern": EXPORT})]


def export_routes(service: Service) -> APIRouter:
    """The routes; all run in threads, since they wait for the disk."""
    routes = APIRouter(prefix=PREFIX + "/{name}/x_exports", tags=["exports"], dependencies=[Depends(known_query)])

    def find(name: str, export: str) -> Export:
        requests.find(service.database, name)
        return service.exports.find(name, _key(name, export))

    @routes.post("", responses=errors(404, 409, 503))
    def create(name: JobName, body: ExportRequest | None = None) -> ExportObject:
        """Export a checkpoint of a job that has ended. The same request again is the same export.

        One that has failed begins again.
        """
        wanted = body or ExportRequest()
        checkpoint = _step(name, wanted.checkpoint)
        return export_object(name, export_job(service, name, checkpoint, wanted.format, wanted.dtype))

    @routes.get("", responses=errors(404, 503))
    def exports(name: JobName, after: After = None, limit: Limit = 20) -> Page[ExportObject]:
        """The exports of a job, newest first."""
        requests.find(service.database, name)
        found, start = service.exports.of_job(name), 0
        if after is not None:
            folders = [one.folder for one in found]
            start = folders.index(find(name, after).folder) + 1
        return list_object(
            [export_object(name, one) for one in found[start : start + limit]], len(found) > start + limit
        )

    @routes.get("/{export}", responses=errors(404, 503))
    def export(name: JobName, export: ExportName) -> ExportObject:
        """One export: whether it waits, is being written, has succeeded or failed, and why."""
        return export_object(name, find(name, export))

    @routes.delete("/{export}", responses=errors(404, 503))
    def delete(name: JobName, export: ExportName) -> Deleted:
        """Remove an export; one that is being written is ended."""
        find(name, export)
        service.exports.remove(name, _key(name, export))
        return {"id": export, "object": "x_export", "deleted": True}

    @routes.get(
        "/{export}/content",
        response_class=StreamingResponse,
        responses={**types(TAR), **errors(404, 409, 503)},
    )
    def content(name: JobName, export: ExportName) -> StreamingResponse:
        """The folder of a finished export as an uncompressed tar file."""
        return _download(find(name, export))

    return routes


def _download(export: Export) -> StreamingResponse:
    if export.out is None:
        found = f"the export is {export.status}; only one that has succeeded can be downloaded"
        raise ApiError(ErrorResponse(409, found, code="invalid_state", param="export"))
    try:
        tar = TarStream(export.out)
    except OSError as error:
        found = f"the files of the export cannot be read: {error.strerror}. Remove it and export again"
        raise ApiError(ErrorResponse(503, found, "server_error", "service_unavailable")) from error
    headers = {"content-length": str(tar.size), "content-disposition": f'attachment; filename="{export.out.name}.tar"'}
    return StreamingResponse(tar.chunks(), media_type=TAR, headers=headers)


def _key(job: str, export: str) -> str:
    """The name of an export's folder; empty for an id that is none of the job's."""
    prefix = f"ftexport-{job.removeprefix('ftjob-')}-"
    return export.removeprefix(prefix) if export.startswith(prefix) else ""


def _step(job: str, checkpoint: str) -> str:
    """The checkpoint by its name in the run folder. Raises ApiError for one of another job."""
    if checkpoint in ("latest", "best"):
        return checkpoint
    found = re.fullmatch(rf"ftckpt-{re.escape(job.removeprefix('ftjob-'))}-([0-9]+)", checkpoint)
    if found is None:
        raise ApiError(ErrorResponse(400, f"checkpoint: {checkpoint!r} is not one of {job[:80]}", param="checkpoint"))
    return str(int(found[1]))
