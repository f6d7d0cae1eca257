"""The store's rows as the objects of OpenAI's API."""

import math
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from demo.jobs.shapes import (
    CheckpointObject,
    ErrorObject,
    EventObject,
    ExportObject,
    FileObject,
    JobObject,
    JsonObject,
    Listed,
    OutsideObject,
    Page,
    ProgressObject,
    WebhookObject,
)
from demo.visible_paths import hide_folders
from vlm.run_folders.progress import RunProgress
from vlm.service.exports.export_form import ExportForm
from vlm.service.exports.export_state import Export
from vlm.service.outside_runs import OutsideRun
from vlm.service.store.rows import Event, Job, JobCheckpoint, StoredFile, WebhookEndpoint
from vlm.service.store.states import State, openai_status

EVENT = re.compile(r"ftevent-([0-9]{1,18})")  # SQLite counts to nine million million million


def file_object(file: StoredFile) -> FileObject:
    """A file."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": file.created_at,
        "expires_at": file.expires_at,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "x_sha256": file.sha256,
    }


def job_object(job: Job, finish: int | None) -> JobObject:
    """A job. `x_state` is the exact state; `x_eyegraft` what the request had there, and where it runs now.

    `finish`: when it is expected to have ended, in seconds since 1970.
    """
    request = job.request
    hyperparameters = _hyperparameters(request)
    return {
        "id": job.id,
        "object": "fine_tuning.job",
        "created_at": job.created_at,
        "finished_at": job.finished_at,
        "status": openai_status(job.state),
        "model": job.model,
        "fine_tuned_model": job.fine_tuned_model if job.state is State.SUCCEEDED else None,
        "organization_id": "eyegraft",
        "training_file": job.training_file,
        "validation_file": job.validation_file,
        "result_files": list(job.result_files),
        "hyperparameters": hyperparameters,
        "method": {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}},
        "seed": request["seed"],
        "trained_tokens": job.trained_tokens,
        "estimated_finish": finish,
        "error": _error(job),
        "integrations": [],
        "metadata": job.metadata,
        "user_provided_suffix": request.get("suffix"),
        "x_state": job.state,
        "x_progress": progress_object(job.progress, None if finish is None else max(0.0, finish - time.time())),
        "x_eyegraft": {**request["x_eyegraft"], "engine": job.engine or None, "processes": job.processes},
    }


def outside_object(run: OutsideRun, finish: int | None) -> OutsideObject:
    """A run that is no job. `finish` as of a job."""
    return {
        "id": run.id,
        "object": "x_run",
        "created_at": run.created_at,
        "name": run.name,
        "x_state": run.state,
        "x_writer": run.writer or None,
        "estimated_finish": finish,
        "x_progress": progress_object(run.progress, None if finish is None else max(0.0, finish - time.time())),
        "x_note": hide_folders(run.note) or None,
    }


def progress_object(progress: RunProgress, seconds_left: float | None) -> ProgressObject:
    """How far a run is. `speed`: tokens a second; `seconds_left`: until its end, waiting included."""
    return {
        "step": progress.step,
        "steps": progress.steps,
        "seconds_left": None if seconds_left is None else round(seconds_left, 1),
        "speed": _number(progress.tokens_per_s),
        "loss": _number(progress.loss),
    }


def event_object(event: Event) -> EventObject:
    """An event; its id is its order, by which a stream is taken up again."""
    return {
        "id": event_id(event.sequence),
        "object": "fine_tuning.job.event",
        "created_at": event.created_at,
        "level": event.level,
        "message": event.message,
        "type": event.kind,
        "data": _finite(event.data),
    }


def event_id(sequence: int) -> str:
    """The id of an event."""
    return f"ftevent-{sequence}"


def sequence_of(event: str) -> int | None:
    """The order of an event by its id; None for any other text."""
    found = EVENT.fullmatch(event)
    return int(found[1]) if found else None


def checkpoint_object(job: Job, checkpoint: JobCheckpoint) -> CheckpointObject:
    """A checkpoint; its model can be named in a chat."""
    return {
        "id": f"ftckpt-{job.id.removeprefix('ftjob-')}-{checkpoint.step}",
        "object": "fine_tuning.job.checkpoint",
        "created_at": checkpoint.created_at,
        "fine_tuned_model_checkpoint": f"{job.fine_tuned_model}:ckpt-step-{checkpoint.step}",
        "fine_tuning_job_id": job.id,
        "step_number": checkpoint.step,
        "metrics": _finite(checkpoint.metrics),
    }


def export_object(job: str, export: Export) -> ExportObject:
    """An export; its id is unique in the service."""
    form, message = export.form, hide_folders(export.error)
    error: ErrorObject | None = {"code": "export_failed", "message": message, "param": None} if message else None
    return {
        "id": export_id(job, form),
        "object": "x_export",
        "created_at": export.created_at,
        "finished_at": export.finished_at,
        "fine_tuning_job_id": job,
        "step_number": form.step,
        "format": form.format,
        "dtype": form.dtype,
        "status": export.status,
        "bytes": export.bytes,
        "filename": None if export.out is None else f"{export.out.name}.tar",
        "error": error,
    }


def export_id(job: str, form: ExportForm) -> str:
    """The id of a job's export of that form."""
    return f"ftexport-{job.removeprefix('ftjob-')}-{form.key}"


def webhook_object(endpoint: WebhookEndpoint, deliveries: Mapping[str, int]) -> WebhookObject:
    """An endpoint of webhooks; `x_deliveries` says what became of what was sent to it.

    `x_switched_off_at`: when it answered 410, after which nothing is sent there; null while it is on.
    """
    return {
        "id": endpoint.id,
        "object": "webhook_endpoint",
        "created_at": endpoint.created_at,
        "updated_at": endpoint.updated_at,
        "name": endpoint.name,
        "url": endpoint.url,
        "event_types": list(endpoint.event_types),
        "signing_secret_hint": f"whsec_...{endpoint.secret_end}",
        "x_deliveries": {**deliveries, "last_error": endpoint.last_error},
        "x_switched_off_at": endpoint.gone_at,
    }


def list_object(data: Sequence[Listed], has_more: bool) -> Page[Listed]:
    """A page of a list."""
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return {"object": "list", "data": list(data), "has_more": has_more, "first_id": first, "last_id": last}


def _finite(figures: Mapping[str, Any]) -> JsonObject:
    return {key: _number(value) if isinstance(value, float) else value for key, value in figures.items()}


def _number(figure: float | None) -> float | None:
    """JSON has no NaN and no infinity: a loss that is one is null."""
    return figure if figure is None or math.isfinite(figure) else None


def _hyperparameters(request: JsonObject) -> JsonObject:
    found = request.get("hyperparameters")
    if found is None:
        found = ((request.get("method") or {}).get("supervised") or {}).get("hyperparameters")
    return dict(found or {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"})


def _error(job: Job) -> ErrorObject | None:
    if job.error is None:
        return None
    return {"code": job.error.code, "message": job.error.message, "param": job.error.param}
