"""What the store holds: files, jobs, their attempts, events and checkpoints; webhooks. Times are seconds since 1970."""

from dataclasses import dataclass, field
from typing import Any, Literal

from vlm.run_folders.progress import RunProgress
from vlm.service.store.states import FINAL, State

Level = Literal["info", "warn", "error"]
Purpose = Literal["fine-tune", "fine-tune-results", "vision"]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An uploaded file, or a result; its content is at `path`, relative to the service's folder."""

    id: str
    filename: str
    purpose: Purpose
    bytes: int
    sha256: str
    path: str
    created_at: int
    expires_at: int | None = None


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed: a code for programs, a message for people, and the request's field that caused it."""

    code: str
    message: str
    param: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A training job.

    Attributes:
        sequence: Order of submission; a clock may jump.
        key: The client's Idempotency-Key.
        request: The body of the request, as it was accepted.
        recipe: The resolved recipe as YAML; empty until the job is validated.
        model: What is trained: a folder or hub id.
        fine_tuned_model: The name of the trained model.
        priority: Higher ones start first.
        stalled: Attempts in a row that ended without a verdict and without a new checkpoint.
        planned_seconds: Of the complete run by its plan; None where the speed of the device is unknown.
        planned_bytes: Memory that its plan takes of a slot at most; None where there is no plan.
        started_at: When its first attempt began.
        progress: How far the run is.
    """

    id: str
    sequence: int
    state: State
    created_at: int
    request: dict[str, Any]
    model: str
    metadata: dict[str, str]
    key: str | None = None
    recipe: str = ""
    engine: str = ""
    processes: int = 1
    priority: int = 0
    fine_tuned_model: str | None = None
    training_file: str = ""
    validation_file: str | None = None
    started_at: int | None = None
    finished_at: int | None = None
    trained_tokens: int | None = None
    error: JobError | None = None
    result_files: tuple[str, ...] = ()
    stalled: int = 0
    planned_seconds: float | None = None
    planned_bytes: int | None = None
    progress: RunProgress = field(default_factory=RunProgress)

    @property
    def is_final(self) -> bool:
        """Whether the job has ended for good."""
        return self.state in FINAL


@dataclass(frozen=True, slots=True)
class Attempt:
    """One start of a job on an engine. `native_id` is the engine's own name for it, empty until it has one.

    `trained_at`: when its first step of training began; None before that.
    """

    job: str
    number: int
    engine: str
    slots: tuple[str, ...]
    start_step: int
    started_at: int
    native_id: str = ""
    ended_at: int | None = None
    trained_at: float | None = None

    @property
    def name(self) -> str:
        """A name that is unique in the service: engines know the attempt by it."""
        return f"{self.job}-{self.number}"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a job; `sequence` is their order over all jobs."""

    sequence: int
    job: str
    created_at: int
    level: Level
    kind: Literal["message", "metrics"]
    message: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class JobCheckpoint:
    """A checkpoint that a job has saved, with the newest figures at its step."""

    job: str
    step: int
    created_at: int
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """An address that is informed of what becomes of jobs.

    Attributes:
        secret_end: The last characters of the secret that signs; the secret itself is read by the sender alone.
        updated_at: When its name, address, events or secret last changed.
        last_error: Why the newest delivery did not arrive; None after one that did.
        gone_at: When it answered 410 and was switched off: nothing is sent there; None while it is on.
    """

    id: str
    name: str
    url: str
    event_types: tuple[str, ...]
    created_at: int
    updated_at: int
    secret_end: str
    last_error: str | None = None
    gone_at: int | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event on its way to an endpoint; `id` and `body` are the same at every try."""

    id: str
    endpoint: str
    endpoint_name: str
    url: str
    job: str
    event_type: str
    body: str
    tries: int
