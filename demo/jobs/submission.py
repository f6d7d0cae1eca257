"""What a request does to the store: one way for the API and for the page."""

import re

from demo.api.errors import ApiError
from demo.jobs.job_request import JobRequest
from demo.server.guard import ErrorResponse
from vlm.export.formats import ExportDtype, ExportFormat
from vlm.service import requests
from vlm.service.exports.export_state import Export
from vlm.service.service import Service
from vlm.service.store.job_table import NewJob, StateConflictError, key_job, remove_job, submit
from vlm.service.store.rows import Job


def submit_job(service: Service, body: JobRequest, key: str | None) -> Job:
    """Store a job; requests with one key are one job.

    Raises ApiError for files, models and engines that do not exist, and KeyConflictError for a key of another request.
    """
    if key_job(service.database, key) is None:  # else it is the same job again, whatever has become of its files
        _check_references(service, body)
    new = NewJob(
        request=body.completed(key),
        model=body.model,
        metadata=body.metadata or {},
        training_file=body.training_file,
        validation_file=body.validation_file,
        priority=body.x_eyegraft.priority,
        key=key,
        needs=tuple(_files(body).values()),
        engine=body.x_eyegraft.engine or "",
        processes=body.x_eyegraft.processes,
    )
    job, _ = submit(service.database, new)
    service.supervisor.wake()
    return job


def remove_completely(service: Service, name: str) -> None:
    """Remove a job that has ended, with all that it wrote. Raises UnknownJobError and StateConflictError."""
    job = requests.find(service.database, name)
    remove_job(service.database, name)
    service.remove_folder(name)
    for file in job.result_files:
        service.files.remove(file)


def export_job(
    service: Service, name: str, checkpoint: str, to: ExportFormat, dtype: ExportDtype | None = None
) -> Export:
    """Let a checkpoint of a job that has ended be exported; the same request again is the same export.

    Raises UnknownJobError, StateConflictError, UnknownCheckpointError and NoDiskRoomError.
    """
    job = requests.find(service.database, name)
    if not job.is_final:
        raise StateConflictError(f"{name} is {job.state} and cannot be exported yet; wait until it has ended")
    title = re.sub(r"[^A-Za-z0-9_-]+", "-", str(job.request.get("suffix") or "")).strip("-")
    found = service.exports.create(name, checkpoint, to, dtype, title or name.removeprefix("ftjob-")[:8])
    service.supervisor.wake()
    return found


def _check_references(service: Service, body: JobRequest) -> None:
    """Raise ApiError for files, models and engines that do not exist."""
    if not service.offers(body.model):
        offered = ", ".join(sorted(service.models.names)) or "none"
        found = f"model: {body.model[:80]!r} cannot be trained here; offered: {offered}, and models trained here"
        raise ApiError(ErrorResponse(400, found, code="model_not_found", param="model"))
    check_engine(service, body.x_eyegraft.engine)
    for param, name in _files(body).items():
        file, purpose = service.files.find(name), "vision" if param == "x_eyegraft.images" else "fine-tune"
        if file is None:
            raise ApiError(ErrorResponse(400, f"{param}: there is no file {name}. Upload it", param=param))
        if file.purpose != purpose:
            found = f"{param}: {name} was uploaded for {file.purpose}. Upload it again with purpose {purpose}"
            raise ApiError(ErrorResponse(400, found, param=param))


def _files(body: JobRequest) -> dict[str, str]:
    """The files that a job needs, by the field that names each."""
    wanted = {"training_file": body.training_file, "validation_file": body.validation_file}
    more = {f"x_eyegraft.training_files.{number}": one for number, one in enumerate(body.x_eyegraft.training_files)}
    named = {**wanted, **more, "x_eyegraft.images": body.x_eyegraft.images}
    return {param: name for param, name in named.items() if name is not None}


def check_engine(service: Service, engine: str | None) -> None:
    """Raise ApiError for an engine that the service does not have."""
    if engine is not None and engine not in service.engines:
        found = f"x_eyegraft.engine: {engine[:80]!r} is not one of {', '.join(service.engines)}"
        raise ApiError(ErrorResponse(400, found, param="x_eyegraft.engine"))
