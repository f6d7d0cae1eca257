"""/v1/x_downloads: models of the hub that become models of the service. OpenAI's API has no such thing."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import Field

from demo.api.errors import ApiError
from demo.api.openapi_document import errors
from demo.jobs.job_request import RequestPart
from demo.jobs.job_routes import Limit
from demo.jobs.known_query import known_query
from demo.jobs.objects import list_object
from demo.jobs.service_library import is_tower
from demo.jobs.shapes import Deleted, DownloadObject, Page
from demo.server.guard import ErrorResponse
from demo.visible_paths import hide_folders
from vlm.service.downloads.downloads import Downloads
from vlm.service.downloads.record import Download
from vlm.service.service import Service

PREFIX, DOWNLOAD = "/v1/x_downloads", r"^xdl-[0-9a-f]{24}$"
DownloadName = Annotated[str, Path(json_schema_extra={"pattern": DOWNLOAD})]
After = Annotated[str | None, Query(json_schema_extra={"pattern": DOWNLOAD})]


class DownloadRequest(RequestPart):
    """What is to be downloaded: `owner/name`, with `@revision` for another one than the main branch."""

    model: Annotated[str, Field(min_length=1, max_length=200)]


def download_routes(service: Service) -> APIRouter:
    """The routes; all run in threads, since they wait for the disk, and the first one for the hub."""
    routes = APIRouter(prefix=PREFIX, tags=["downloads"], dependencies=[Depends(known_query)])
    downloads = service.downloads

    @routes.post("", responses=errors(403, 413, 503))
    def create(body: DownloadRequest) -> DownloadObject:
        """Download a model, or go on with it. What is under way or here already is answered as it is."""
        return download_object(downloads, downloads.add(body.model))

    @routes.get("", responses=errors(503))
    def listed(after: After = None, limit: Limit = 20) -> Page[DownloadObject]:
        """The downloads, newest first."""
        found = downloads.all()
        start = 0
        if after is not None:
            names = [one.id for one in found]
            if after not in names:
                raise ApiError(ErrorResponse(400, f"after: there is no download {after[:80]!r}", param="after"))
            start = names.index(after) + 1
        shown = found[start : start + limit]
        return list_object([download_object(downloads, one) for one in shown], len(found) > start + limit)

    @routes.get("/{name}", responses=errors(404, 503))
    def one(name: DownloadName) -> DownloadObject:
        """One download."""
        return download_object(downloads, downloads.find(name))

    @routes.post("/{name}/cancel", responses=errors(404, 409, 503))
    def cancel(name: DownloadName) -> DownloadObject:
        """End a download; what is here stays, and the same model asked for again goes on with it."""
        return download_object(downloads, downloads.cancel(name))

    @routes.delete("/{name}", responses=errors(404, 409, 503))
    def delete(name: DownloadName) -> Deleted:
        """Delete a downloaded model that no job needs, or what is here of it."""
        downloads.remove(name)
        return {"id": name, "object": "x_download", "deleted": True}

    return routes


def download_object(downloads: Downloads, download: Download) -> DownloadObject:
    """A download; `kind` is known once it is here."""
    kind: Literal["model", "tower"] | None = None
    if download.state == "ready":
        kind = "tower" if is_tower(downloads.model_folder(download)) else "model"
    message = hide_folders(download.error)
    return {
        "id": download.id,
        "object": "x_download",
        "created_at": download.created_at,
        "model": download.model,
        "commit": download.commit,
        "status": download.state,
        "kind": kind,
        "bytes": downloads.done_bytes(download),
        "total_bytes": download.total,
        "error": {"code": "download_failed", "message": message, "param": None} if message else None,
    }
