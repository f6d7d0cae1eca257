"""`eyegraft service`: jobs, chat API and page in one process."""

import os
import secrets
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from fastapi import FastAPI

from demo.api.app import build_api
from demo.api.serve import allowed_hosts
from demo.jobs.client import ADDRESS
from demo.jobs.download_routes import download_routes
from demo.jobs.errors import answer_service_errors, error_response
from demo.jobs.export_routes import export_routes
from demo.jobs.file_routes import file_routes
from demo.jobs.job_routes import action_routes, job_routes, record_routes
from demo.jobs.metrics import add_job_metrics
from demo.jobs.outside_routes import outside_routes
from demo.jobs.service_library import OfferedModels
from demo.jobs.trained_models import TrainedModels
from demo.jobs.webhook_routes import webhook_action_routes, webhook_routes
from demo.open_models import OpenModels
from demo.server.generation_queue import GenerationQueue
from demo.server.guard import LOOPBACK, BodyRoom, Streams
from demo.server.limits import DEFAULT, Limits
from demo.server.sockets import ended_by_signal, listen
from llm import console
from llm.files.atomic_files import write_atomically
from llm.train.process_memory import free_machine_bytes
from vlm.service.downloads.downloads import Downloads
from vlm.service.downloads.permission import NO_DOWNLOADS, HubPermission, read_permission
from vlm.service.downloads.users import jobs_of_model
from vlm.service.engines.engine import Engine, Slot, Start, is_card
from vlm.service.engines.local import LocalEngine
from vlm.service.engines.slurm import SlurmEngine
from vlm.service.estimates import Estimates
from vlm.service.exports.exports import Exports
from vlm.service.file_storage import FileStorage
from vlm.service.gate import Gate
from vlm.service.gate_record import GateQuestion
from vlm.service.layout import Layout
from vlm.service.outside_runs import OutsideRuns
from vlm.service.service import Service
from vlm.service.slots import LiveSlots, find_slots, memory_bytes
from vlm.service.store.attempt_table import leased_slots
from vlm.service.store.database import Database
from vlm.service.store.job_table import find_job, model_job
from vlm.service.store.rows import Attempt, Job
from vlm.service.supervisor import GRACE_S, Supervisor, lock_root
from vlm.service.trainable_models import TrainableModels
from vlm.service.webhooks.deliverer import Deliverer

ROUTES = (
    file_routes,
    job_routes,
    action_routes,
    record_routes,
    export_routes,
    webhook_routes,
    webhook_action_routes,
    outside_routes,
    download_routes,
)
SECRETS = ("EYEGRAFT_TOKEN", "OPENAI_API_KEY")  # variables that only other commands read
FILE_BYTES, ALL_BYTES = 32 * 2**30, 256 * 2**30  # quotas of one upload, and of all
EXPORT_BYTES = 256 * 2**30  # quota of all exports
UPLOADS = ("/v1/files", "/pages/files")  # of the API and of the page
FORM_BYTES = 1 << 16  # of an upload beside its file


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """What the service is started with."""

    root: Path
    models: TrainableModels
    slots: tuple[Slot, ...]
    token: str
    hosts: frozenset[str]
    limits: Limits = DEFAULT
    engine: str = "local"
    slurm_options: tuple[str, ...] = ()
    public: bool = False
    runs: tuple[Path, ...] = ()
    stop_grace_s: float = GRACE_S
    hub: HubPermission = NO_DOWNLOADS


@dataclass(frozen=True, slots=True)
class ServedModels:
    """The models in memory, and the queue of requests for all that can be named."""

    opened: OpenModels
    queue: GenerationQueue


AddPages = Callable[[FastAPI, ServiceOptions, Service, ServedModels], None]


def serve_jobs(
    root: Path,
    models: TrainableModels,
    engine: str,
    slurm_options: Sequence[str],
    host: str,
    port: int,
    public: bool,
    name: str,
    limits: Limits,
    add_pages: AddPages,
    runs: Sequence[Path],
    stop_grace_s: float = GRACE_S,
    hub: str = "",
) -> None:
    """Run the service until it is stopped; its jobs go on, and are found again at the next start.

    `runs`: folders whose runs, started by hand, are listed. `stop_grace_s` as of the supervisor. `hub`: which models
    may be downloaded, as `read_permission` reads it.
    Raises ConfigError for an address open to others without `public`, and ServiceError for a folder that another
    service uses.
    """
    for name_of_secret in SECRETS:
        os.environ.pop(name_of_secret, None)  # else every trainer would inherit it
    token = read_token(root)
    hosts = allowed_hosts(host, public, token, name)
    permission = read_permission(hub, reachable=public or bool(name) or host not in LOOPBACK)
    slurm = tuple(slurm_options)
    options = ServiceOptions(
        root, models, find_slots(), token, hosts, limits, engine, slurm, public, tuple(runs), stop_grace_s, permission
    )
    with ended_by_signal(), running(options, add_pages) as (app, close):
        receive_uploads_in(Layout(root.resolve()).arriving)
        write_atomically(root / ADDRESS, f"http://{host}:{port}")
        secret_is_seen = sys.stdout.isatty()  # it has no place in a log
        console.raw(f"http://{host}:{port}/{f'?token={token}' if secret_is_seen else ''}")
        console.out(f"http://{host}:{port}/v1  api key: {token if secret_is_seen else root / 'token'}")
        console.out(f"models: {', '.join(sorted(models.names))}")
        console.next_commands("eyegraft jobs submit MODEL DATA", "eyegraft jobs ls")
        listen(app, host, port, limits, close)


@contextmanager
def running(options: ServiceOptions, add_pages: AddPages | None = None) -> Iterator[tuple[FastAPI, Callable[[], None]]]:
    """The application and what ends its answers, with the loop that moves jobs in a thread. Jobs outlive it.

    `add_pages` adds what people open in a browser.

    Raises ServiceError when another service uses the folder, or its database cannot be used.
    """
    options.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = lock_root(options.root)
    try:
        with _running(options, add_pages) as started:
            yield started
    finally:
        os.close(lock)


@contextmanager
def _running(options: ServiceOptions, add_pages: AddPages | None) -> Iterator[tuple[FastAPI, Callable[[], None]]]:
    layout = Layout(options.root.resolve())
    database = Database(layout.database)
    stop = threading.Event()
    downloads = Downloads(layout.models, options.hub, partial(jobs_of_model, database))
    options = replace(options, models=replace(options.models, downloaded=downloads.ready))
    service = _service(options, database, layout, downloads)
    loops = {"supervisor": service.supervisor.run, "webhooks": service.webhooks.run, "downloads": downloads.run}
    threads = [threading.Thread(target=loop, args=[stop], name=name, daemon=True) for name, loop in loops.items()]
    for thread in threads:
        thread.start()
    try:
        yield _app(options, service, add_pages)
    finally:
        stop.set()
        service.supervisor.wake()
        for thread in threads:
            thread.join()
        database.close()


def read_token(root: Path) -> str:
    """The service's secret, made at its first start; its owner alone can read it."""
    file = root / "token"
    if not file.exists():
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        before = os.umask(0o077)
        write_atomically(file, secrets.token_urlsafe(32))
        os.umask(before)
    return file.read_text(encoding="ascii").strip()


def _service(options: ServiceOptions, database: Database, layout: Layout, downloads: Downloads) -> Service:
    def wake() -> None:
        supervisor.wake()

    engines: dict[str, Engine] = {"local": LocalEngine(layout.attempt, LiveSlots(options.slots), wake)}
    if options.engine == "slurm":
        engines["slurm"] = SlurmEngine(layout.attempt, options.slurm_options)

    def question_of(job: Job) -> GateQuestion:
        return gate_question(options, database, layout, files, largest_slot(options), job)

    def command_of(folder: Path) -> list[str]:
        return [sys.executable, "-P", "-m", "demo.jobs.gate.job_gate", str(folder)]

    def start_of(job: Job, attempt: Attempt) -> Start:
        return _start(layout, job, attempt, options.models)

    def look_after() -> None:
        gate.tick()
        files.sweep()
        exports.tick()

    files = FileStorage(database, layout, FILE_BYTES, ALL_BYTES)
    files.remove_partial()
    gate = Gate(database, layout, question_of, command_of, options.engine, wake)
    supervisor = Supervisor(database, layout, engines, start_of, look_after, options.stop_grace_s)
    webhooks = Deliverer(database, options.public)
    estimates = Estimates(database, engines)
    outside = OutsideRuns(options.runs, layout.root)
    exports = Exports(layout.jobs, EXPORT_BYTES, lambda: memory_beside_jobs(database))
    models, names = options.models, tuple(engines)
    return Service(database, layout, files, supervisor, models, names, webhooks, estimates, outside, exports, downloads)


def memory_beside_jobs(database: Database) -> int | None:
    """Bytes of main memory that the plans of the jobs that run on this machine leave; None while none runs.

    A job on a card counts by what it takes of the main memory now.
    """
    leased = leased_slots(database)
    if not leased:
        return None
    on_cpu = {job for slot, job in leased.items() if not is_card(slot)}
    planned = [job.planned_bytes or 0 for name in on_cpu if (job := find_job(database, name)) is not None]
    return max(0, min(free_machine_bytes(), memory_bytes() - sum(planned)))


def _app(options: ServiceOptions, service: Service, add_pages: AddPages | None) -> tuple[FastAPI, Callable[[], None]]:
    limits = options.limits
    opened = OpenModels(limits.together, limits.new_tokens, limits.model_memory)
    offered = OfferedModels(service.layout.root, options.models, opened)
    models = TrainedModels(service.database, service.layout, opened, offered)
    queue = GenerationQueue(models, limits.waiting, limits.share_waiting, together=limits.together)
    app = build_api(queue, options.hosts, options.token, limits, streams=upload_streams(service.files))
    answer_service_errors(app)
    queue.metrics.add_models(opened.sizes)
    add_job_metrics(queue.metrics, service.database, [slot.name for slot in options.slots])
    for routes in ROUTES:
        app.include_router(routes(service))
    if add_pages is not None:
        add_pages(app, options, service, ServedModels(opened, queue))
    return app, queue.close


def receive_uploads_in(folder: Path) -> None:
    """Let this process write uploads there as they arrive: on the disk whose room is looked at, not in /tmp.

    What a killed service has left there is deleted.
    """
    os.environ.setdefault("GRADIO_TEMP_DIR", str(Path(tempfile.gettempdir()) / "gradio"))  # of the page, as before
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    tempfile.tempdir = str(folder)


def upload_streams(files: FileStorage) -> Streams:
    """The addresses of uploads, with the room that there is for one: what is larger is refused before it is read."""

    def room() -> BodyRoom:
        most, error = files.room()
        return BodyRoom(most + FORM_BYTES, error_response(error))

    return dict.fromkeys(UPLOADS, room)


def largest_slot(options: ServiceOptions) -> Slot:
    """The slot that a job must fit."""
    return max(options.slots, key=lambda slot: slot.memory)


def gate_question(
    options: ServiceOptions, database: Database, layout: Layout, files: FileStorage, slot: Slot, job: Job
) -> GateQuestion:
    """What the look at a job needs to know of it."""
    start = model_job(database, job.model)
    wanted = {"training": job.training_file, "validation": job.validation_file}
    paths = {role: _path(files, name) for role, name in wanted.items()}
    return GateQuestion(
        job=job.id,
        request=job.request,
        run=str(layout.run(job.id)),
        training=paths["training"] or "",
        validation=paths["validation"],
        archive=_path(files, job.request["x_eyegraft"]["images"]),
        start=str(layout.run(start.id)) if start is not None else None,
        models={name: str(folder) for name, folder in options.models.folders.items()},
        hub_ids=sorted(options.models.hub_ids),
        device=slot.device,
        memory=slot.memory,
        more=[_path(files, name) or "" for name in job.request["x_eyegraft"].get("training_files", [])],
    )


def _path(files: FileStorage, name: str | None) -> str | None:
    file = files.entry(name) if name else None
    return str(files.path(file)) if file is not None else None


def _start(layout: Layout, job: Job, attempt: Attempt, models: TrainableModels) -> Start:
    recipe = layout.job(job.id) / "recipe.yaml"
    if not recipe.exists():
        recipe.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(recipe, job.recipe)
    one = (sys.executable, "-P", "-m", "vlm.app", "train", str(recipe))
    all_here = (*one, "--nproc", str(job.processes)) if job.processes > 1 else one
    environment = {"EYEGRAFT_LANG": "en", "PYTHONUNBUFFERED": "1", **models.environment}
    return Start(attempt, layout.attempt(attempt), all_here, one, environment, layout.root, job.processes)
