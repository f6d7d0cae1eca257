"""The service's errors as responses in OpenAI's format."""

from fastapi import FastAPI, Request
from fastapi.responses import Response

from demo.api.errors import json_response
from demo.server.guard import ErrorResponse
from demo.visible_paths import hide_folders
from llm.errors import ServiceError
from vlm.service.archives import ArchiveError
from vlm.service.downloads.permission import DownloadsOffError, HubNameError
from vlm.service.downloads.record import DownloadStateError, HubError, NoRoomError, UnknownDownloadError
from vlm.service.exports.exports import NoDiskRoomError, UnknownCheckpointError, UnknownExportError
from vlm.service.file_storage import FileTooLargeError, UnknownKindError
from vlm.service.requests import UnknownJobError
from vlm.service.store.job_table import KeyConflictError, MissingFileError, StateConflictError
from vlm.service.store.webhook_table import UnknownEndpointError, WebhookLimitError
from vlm.service.webhooks.addresses import UrlError
from vlm.service.webhooks.post import NoAnswerError

# Status and code of each kind; any other is a fault of the service: its disk, its database.
KINDS: dict[type[ServiceError], tuple[int, str]] = {
    UnknownJobError: (404, "not_found"),
    StateConflictError: (409, "invalid_state"),
    MissingFileError: (400, "file_not_found"),
    KeyConflictError: (409, "idempotency_key_in_use"),
    FileTooLargeError: (413, "file_too_large"),
    UnknownKindError: (400, "unsupported_file"),
    ArchiveError: (400, "invalid_archive"),
    UnknownExportError: (404, "not_found"),
    UnknownCheckpointError: (400, "unsupported_export"),
    NoDiskRoomError: (400, "no_room"),  # not 5xx, as below
    UnknownEndpointError: (404, "not_found"),
    WebhookLimitError: (400, "limit_reached"),
    UrlError: (400, "invalid_url"),
    DownloadsOffError: (403, "downloads_off"),
    HubNameError: (400, "invalid_model_name"),
    HubError: (400, "hub_refused"),
    NoRoomError: (413, "no_room"),
    UnknownDownloadError: (404, "not_found"),
    DownloadStateError: (409, "invalid_state"),
    NoAnswerError: (400, "no_answer"),  # not 5xx, which OpenAI's clients send again by themselves
}


def answer_service_errors(app: FastAPI) -> None:
    """Make the application answer ServiceError in OpenAI's format."""
    app.add_exception_handler(ServiceError, _service_error)


async def _service_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return json_response(error_response(error))


def error_response(error: ServiceError) -> ErrorResponse:
    """An error of the service in OpenAI's format."""
    status, code = KINDS.get(type(error), (503, "service_unavailable"))
    kind = "server_error" if status == 503 else "invalid_request_error"
    return ErrorResponse(status, hide_folders(str(error)), kind, code)
