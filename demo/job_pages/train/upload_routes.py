"""Where the Train page gets its data: uploads, and identity data that is written here."""

import json
import re
from collections.abc import Iterator
from typing import Annotated, BinaryIO, Literal

from fastapi import APIRouter, Form, Request, UploadFile
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from data_tools.generate.identity import build_identity
from demo.job_pages.parts.context import PageContext
from demo.job_pages.parts.messages import said
from demo.job_pages.parts.value_text import size_text
from demo.job_pages.parts.words import text
from demo.job_pages.train.words import FORM, MISTAKES
from demo.pages.language import preferred_language
from llm.errors import ConfigError, ServiceError
from llm.formats.image_paths import SUFFIXES
from vlm.service.file_storage import ARCHIVES
from vlm.service.store.job_table import StateConflictError
from vlm.service.store.rows import Purpose, StoredFile

UPLOADS = "/pages/files"
CHUNK = 1 << 20
UNSAFE = re.compile(r"[^\w.-]+")  # letters of any script may be in a name


class IdentityBody(BaseModel):
    """Who the assistant is, and in which languages it is asked."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(max_length=100)
    author: str = Field(max_length=100)
    languages: Literal["en", "zh", "zh,en"]


def upload_routes(context: PageContext) -> APIRouter:
    """The routes; no part of the API. All run in threads, since they wait for the disk."""
    routes = APIRouter(include_in_schema=False)

    @routes.post(UPLOADS)
    def upload(request: Request, file: UploadFile, into: Annotated[str, Form()] = "file") -> JSONResponse:
        """Store a file as /v1/files does; what is refused is said in the language of the page.

        An archive holds images, whatever field it was dropped on.
        """
        name = file.filename or ""
        if name.lower().endswith(tuple(SUFFIXES)):
            return JSONResponse({"error": text(FORM, "image_file", preferred_language(request.headers))}, 400)
        purpose: Purpose = "vision" if into == "images" or name.lower().endswith(ARCHIVES) else "fine-tune"
        try:
            stored = context.service.files.add(_chunks(file.file), name, purpose)
        except ServiceError as error:
            return JSONResponse({"error": said(str(error), preferred_language(request.headers))}, 400)
        return _stored(stored, "images" if purpose == "vision" else into)

    @routes.post("/pages/identity")
    def identity(request: Request, body: IdentityBody) -> JSONResponse:
        """Write an identity data set and store it as an upload."""
        lang = preferred_language(request.headers)
        for field, value in (("identity_name", body.name), ("identity_author", body.author)):
            if len(value.strip().splitlines()) != 1:  # the generator's own message names an option of the command
                return JSONResponse({"error": text(MISTAKES, field, lang)}, 400)
        try:
            data = build_identity(body.name, body.author, body.languages)
            lines = [f"{json.dumps(row, ensure_ascii=False)}\n".encode() for row in data.train]
            stored = context.service.files.add(lines, _named_after(body.name), "fine-tune")
        except (ConfigError, ServiceError) as error:
            return JSONResponse({"error": said(str(error), lang)}, 400)
        return _stored(stored, "file")

    @routes.post(f"{UPLOADS}/{{name}}/delete")
    def delete(request: Request, name: str) -> JSONResponse:
        """Delete an upload; refused while a job needs it."""
        lang = preferred_language(request.headers)
        try:
            gone = context.service.files.remove(name)
        except StateConflictError as error:
            return JSONResponse({"error": said(str(error), lang)}, 409)
        except ServiceError as error:
            return JSONResponse({"error": said(str(error), lang)}, 503)
        return JSONResponse({"id": name}) if gone else JSONResponse({"error": text(FORM, "no_file", lang)}, 404)

    return routes


def _named_after(assistant: str) -> str:
    """The name of an identity data set: the assistant's, as far as a file name holds it."""
    name = UNSAFE.sub("-", assistant).strip("-._")
    return f"identity-{name}.jsonl" if name else "identity.jsonl"


def _stored(file: StoredFile, into: str) -> JSONResponse:
    return JSONResponse({"id": file.id, "name": file.filename, "size": size_text(file.bytes), "into": into})


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        yield chunk
