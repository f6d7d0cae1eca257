"""/v1/files: uploads, lists, contents."""

from collections.abc import Iterator
from typing import Annotated, BinaryIO, Literal

from fastapi import APIRouter, Depends, Form, Path, Query, Request, UploadFile
from fastapi.responses import FileResponse

from demo.api.errors import ApiError
from demo.api.openapi_document import errors, types
from demo.jobs.known_query import known_query
from demo.jobs.objects import file_object, list_object
from demo.jobs.shapes import Deleted, FileObject, Page
from demo.server.guard import ErrorResponse
from vlm.service.service import Service
from vlm.service.store.file_table import list_files
from vlm.service.store.rows import StoredFile

CHUNK = 1 << 20
FIELDS = ("file", "purpose", "expires_after[anchor]", "expires_after[seconds]")
FILE = r"^file-[0-9a-f]{24}$"  # documented; what does not match names nothing, and is answered so
FileName = Annotated[str, Path(json_schema_extra={"pattern": FILE})]
After = Annotated[str | None, Query(json_schema_extra={"pattern": FILE})]
SHORTEST_S, LONGEST_S = 3600, 2_592_000  # lifetimes that OpenAI's API allows


def file_routes(service: Service) -> APIRouter:
    """The routes; all run in threads, since they wait for the disk."""
    routes = APIRouter(prefix="/v1/files", tags=["files"], dependencies=[Depends(known_query)])

    @routes.post("", responses=errors(503), dependencies=[Depends(_known_fields)])
    def upload(
        file: UploadFile,
        purpose: Annotated[Literal["fine-tune", "vision"], Form()],
        anchor: Annotated[Literal["created_at"] | None, Form(alias="expires_after[anchor]")] = None,
        seconds: Annotated[int | None, Form(alias="expires_after[seconds]", ge=SHORTEST_S, le=LONGEST_S)] = None,
    ) -> FileObject:
        """Store a file of records (fine-tune), or an archive of the images that they name (vision)."""
        if (anchor is None) != (seconds is None):
            raise ApiError(ErrorResponse(400, "expires_after: give anchor and seconds", param="expires_after"))
        return file_object(service.files.add(_chunks(file.file), file.filename or "", purpose, seconds))

    @routes.get("", responses=errors(404, 503))
    def files(
        after: After = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
        order: Literal["asc", "desc"] = "desc",
        purpose: str | None = None,
    ) -> Page[FileObject]:
        """The files, newest first."""
        if after is not None:
            _find(service, after)
        found, more = list_files(service.database, limit, after, purpose, order == "desc")
        return list_object([file_object(file) for file in found], more)

    @routes.get("/{name}", responses=errors(404, 503))
    def file(name: FileName) -> FileObject:
        """One file."""
        return file_object(_find(service, name))

    @routes.delete("/{name}", responses=errors(404, 409, 503))
    def delete(name: FileName) -> Deleted:
        """Delete a file that no job needs any more."""
        _find(service, name)
        service.files.remove(name)
        return {"id": name, "object": "file", "deleted": True}

    @routes.get(
        "/{name}/content",
        response_class=FileResponse,
        responses={**types("application/octet-stream"), **errors(404, 503)},
    )
    def content(name: FileName) -> FileResponse:
        """The bytes of a file, always as a download: a browser must not run what a stranger uploaded."""
        found = _find(service, name)
        path = service.files.path(found)
        if not path.is_file():
            gone = f"the content of {name} is gone from the service's disk. Delete it and upload it again"
            raise ApiError(ErrorResponse(404, gone, code="not_found", param="file"))
        return FileResponse(path, media_type="application/octet-stream", filename=found.filename or found.id)

    return routes


async def _known_fields(request: Request) -> None:
    """Raise ApiError for a field of the form that is not known, or given twice; fastapi has read the form already."""
    seen = set[str]()
    for name, _ in (await request.form()).multi_items():
        if name not in FIELDS or name in seen:
            shown = repr(name[:80])
            unknown = f"{shown} is no field of an upload; those are {', '.join(FIELDS)}"
            found = f"{shown} is given twice" if name in FIELDS else unknown
            raise ApiError(ErrorResponse(400, found, param=name[:80]))
        seen.add(name)


def _find(service: Service, name: str) -> StoredFile:
    found = service.files.find(name)
    if found is None:
        raise ApiError(ErrorResponse(404, f"there is no file {name[:80]!r}", code="not_found", param="file"))
    return found


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        yield chunk
