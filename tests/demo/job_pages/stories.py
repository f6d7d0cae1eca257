"""A store with jobs in every state, as a service leaves them, and its pages without the loop that moves jobs."""

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from fastapi import FastAPI
from starlette.testclient import TestClient

from demo.api.app import build_api
from demo.job_pages.mount import mount_pages
from demo.jobs.download_routes import download_routes
from demo.jobs.errors import answer_service_errors
from demo.jobs.export_routes import export_routes
from demo.jobs.file_routes import file_routes
from demo.jobs.job_routes import action_routes, job_routes, record_routes
from demo.jobs.launch import EXPORT_BYTES, FILE_BYTES, ServedModels, ServiceOptions, upload_streams
from demo.jobs.service_library import OfferedModels
from demo.jobs.trained_models import TrainedModels
from demo.open_models import OpenModels
from demo.server.generation_queue import GenerationQueue
from demo.server.guard import LOOPBACK
from llm.train.metrics import RunLog
from vlm.run_folders.progress import progress_of
from vlm.service.downloads.downloads import Downloads
from vlm.service.downloads.permission import NO_DOWNLOADS, HubPermission
from vlm.service.downloads.users import jobs_of_model
from vlm.service.engines.engine import Slot
from vlm.service.estimates import Estimates
from vlm.service.exports.exports import Exports
from vlm.service.file_storage import FileStorage
from vlm.service.layout import Layout
from vlm.service.outside_runs import OutsideRuns
from vlm.service.service import Service
from vlm.service.store.attempt_table import begin_attempt, end_attempt
from vlm.service.store.database import Database
from vlm.service.store.event_table import add_checkpoint, add_metrics
from vlm.service.store.job_table import NewJob, Note, move, submit
from vlm.service.store.rows import Attempt, Job, JobError
from vlm.service.store.states import State
from vlm.service.supervisor import Supervisor
from vlm.service.trainable_models import TrainableModels
from vlm.service.webhooks.deliverer import Deliverer

GIB = 2**30
RECIPE = """\
name: {name}
stage: {stage}
model:
  llm: /models/tiny
tune:
  kind: {kind}
  rank: 16
train:
  epochs: 3
"""
SLOTS = (Slot("cpu", "cpu", 16 * GIB),)


class StillSupervisor:
    """Moves nothing."""

    def wake(self) -> None:
        """Does nothing."""


@contextmanager
def still_service(
    root: Path,
    models: TrainableModels,
    token: str = "",
    runs: Sequence[Path] = (),
    hub: HubPermission = NO_DOWNLOADS,
) -> Iterator[tuple[FastAPI, Service]]:
    """The application with pages and API over a store in which nothing moves by itself."""
    root.mkdir(parents=True, exist_ok=True)
    layout = Layout(root)
    database = Database(layout.database)
    files = FileStorage(database, layout, FILE_BYTES, 8 * FILE_BYTES)
    supervisor = cast(Supervisor, StillSupervisor())
    webhooks, estimates = Deliverer(database, public=False), Estimates(database, {})
    outside = OutsideRuns(runs, root)
    exports = Exports(layout.jobs, EXPORT_BYTES, lambda: None)
    downloads = Downloads(layout.models, hub, partial(jobs_of_model, database))
    models = replace(models, downloaded=downloads.ready)
    service = Service(
        database, layout, files, supervisor, models, ("local",), webhooks, estimates, outside, exports, downloads
    )
    options = ServiceOptions(root, models, SLOTS, token, LOOPBACK)
    opened = OpenModels()
    queue = GenerationQueue(TrainedModels(database, layout, opened, OfferedModels(root, models, opened)), 4)
    app = build_api(queue, LOOPBACK, token, streams=upload_streams(files))
    answer_service_errors(app)
    for routes in (file_routes, job_routes, action_routes, record_routes, export_routes, download_routes):
        app.include_router(routes(service))
    mount_pages(app, options, service, ServedModels(opened, queue))
    try:
        yield app, service
    finally:
        database.close()


def request_of(suffix: str | None = None, recipe: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """The body of a request as the service stores it."""
    extension = {"engine": None, "processes": 1, "priority": 0, "images": None, "stage": None, "recipe": recipe or {}}
    given = {"suffix": suffix, "seed": 7, "method": None, "hyperparameters": None, "x_eyegraft": extension}
    return {"model": "tiny", "training_file": "file-" + "0" * 24, "metadata": None, **given, **more}


def add_job(service: Service, suffix: str | None, model: str = "tiny", file: str = "file-" + "0" * 24) -> Job:
    """A job that was just submitted."""
    job, _ = submit(service.database, NewJob(request_of(suffix, model=model, training_file=file), model, {}, file))
    return job


def validated(service: Service, job: Job, stage: str = "sft", kind: str = "lora") -> Job:
    """It has passed the look at its data."""
    recipe = RECIPE.format(name=job.id, stage=stage, kind=kind)
    note = Note("Files validated, moving job to queued state")
    assert move(service.database, job.id, {State.VALIDATING}, State.QUEUED, note, recipe=recipe, engine="local")
    return job


def started(service: Service, job: Job, slot: str = "cpu") -> Attempt:
    """An attempt runs."""
    attempt = begin_attempt(service.database, job.id, "local", (slot,), 0)
    assert attempt is not None
    move(service.database, job.id, {State.STARTING}, State.RUNNING, Note("Fine-tuning job started"))
    return attempt


def trained(
    service: Service, job: Job, steps: int, total: int, loss: Callable[[int], float] = lambda n: 2.4 / math.sqrt(n)
) -> None:
    """Metrics of a run after so many steps."""
    lines: list[dict[str, Any]] = [{"kind": "plan", "step": 0, "steps": total}]
    for step in range(1, steps + 1):
        wiggle = 0.06 * math.sin(step * 1.7)
        figures = {"loss": loss(step) + wiggle, "lr": 2e-4 * (1 - step / (total + 1)), "grad_norm": 0.8}
        speed = {"tokens_per_s": 5200.0 + 90 * math.sin(step), "memory_gib": 2.1, "step_seconds": 90.0}
        lines.append({"kind": "train", "step": step, "time": time.time(), **figures, **speed})
        if step % max(1, total // 5) == 0:
            lines.append({"kind": "validation", "step": step, "loss": loss(step) + 0.1})
    add_metrics(service.database, job.id, lines, progress_of(lines))
    for step in range(max(1, total // 3), steps + 1, max(1, total // 3)):
        add_checkpoint(
            service.database, job.id, step, {"step": step, "train_loss": loss(step), "valid_loss": loss(step)}
        )


def finished(service: Service, attempt: Attempt, state: State, error: JobError | None = None) -> None:
    """The attempt ends."""
    message = error.message if error else "The job has successfully completed"
    note = Note(message, "error" if error else "info")
    assert end_attempt(
        service.database, attempt, state, note, {"error": error} if error else {"trained_tokens": 48_000}
    )


def run_by_hand(folder: Path, steps: int, total: int, done: bool = False) -> None:
    """The folder of a run that `eyegraft train` has written."""
    folder.mkdir(parents=True)
    with RunLog(folder, total, 0, 0) as log:
        log.write({"kind": "plan", "step": 0, "steps": total})
        for step in range(1, steps + 1):
            figures = {"loss": 2.0 / step, "lr": 1e-4, "tokens_per_s": 900.0, "memory_gib": 1.5, "step_seconds": 2.0}
            log.write({"kind": "train", "step": step, "time": time.time(), **figures})
    if done:
        (folder / "report.json").write_text(json.dumps({"steps": total, "final_loss": 0.1}))


def is_unchanged(visitor: TestClient, address: str) -> bool:
    """Whether a page's parts are not sent again.

    Ages and the room on the disk may change between two requests, so some pairs of requests are made.
    """
    for _ in range(5):
        stamp = visitor.get(address).json()["stamp"]
        if visitor.get(address, params={"stamp": stamp}).status_code == 204:
            return True
    return False


def every_state(service: Service) -> dict[str, Job]:
    """One job of each kind that the pages show, by what it is; the newest is the last one."""
    jobs: dict[str, Job] = {}
    file = service.files.add([b"{}\n"], "support.jsonl", "fine-tune").id
    jobs["done"] = validated(service, add_job(service, "support-v1", file=file))
    attempt = started(service, jobs["done"])
    trained(service, jobs["done"], 60, 60)
    finished(service, attempt, State.SUCCEEDED)
    jobs["failed"] = validated(service, add_job(service, "shapes", file=file), "finetune", "qlora")
    attempt = started(service, jobs["failed"])
    trained(service, jobs["failed"], 12, 60)
    error = JobError("training_failed", "training ended with exit code 1; see the job's log", None)
    finished(service, attempt, State.FAILED, error)
    jobs["refused"] = add_job(service, "big-one", file=file)
    message = (
        "the job needs 96.0 GiB and the largest slot has 16.0 GiB\n"
        "  changes that reduce memory, each with its own forecast:\n"
        "      21.40 GiB, does not fit: train.pack_tokens=2048\n"
        "      14.20 GiB, fits: tune.kind=qlora"
    )
    refusal = JobError("does_not_fit", message, None)
    move(service.database, jobs["refused"].id, {State.VALIDATING}, State.FAILED, Note(message, "error"), error=refusal)
    jobs["paused"] = validated(service, add_job(service, "receipts", file=file), "finetune")
    attempt = started(service, jobs["paused"])
    trained(service, jobs["paused"], 20, 90)
    move(service.database, jobs["paused"].id, {State.RUNNING}, State.PAUSING, Note("Pausing"))
    end_attempt(service.database, attempt, State.PAUSED, Note("Fine-tuning job paused after step 20"))
    jobs["cancelled"] = add_job(service, "wrong-file", file=file)
    move(service.database, jobs["cancelled"].id, {State.VALIDATING}, State.CANCELLED, Note("Fine-tuning job cancelled"))
    jobs["running"] = validated(service, add_job(service, "support-v2", file=file))
    started(service, jobs["running"])
    trained(service, jobs["running"], 41, 120)
    jobs["queued"] = validated(service, add_job(service, "support-v2-full", file=file), kind="full")
    jobs["new"] = add_job(service, None, file=file)
    return jobs
