"""The objects of the service's answers as its OpenAPI document describes them; the functions of `objects` make them."""

from typing import Any, Generic, Literal, NotRequired, TypeVar

from typing_extensions import TypedDict

from vlm.export.formats import ExportDtype, ExportFormat
from vlm.service.downloads.record import DownloadState
from vlm.service.exports.export_state import Status as ExportStatus
from vlm.service.outside_runs import RunState
from vlm.service.store.rows import Level, Purpose
from vlm.service.store.states import State, Status

JsonObject = dict[str, Any]


class FileObject(TypedDict):
    """An uploaded file or a result."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: Purpose
    status: Literal["processed"]
    x_sha256: str


class ErrorObject(TypedDict):
    """Why a job failed."""

    code: str
    message: str
    param: str | None


class MethodObject(TypedDict):
    """The method of a job with its hyperparameters."""

    type: Literal["supervised"]
    supervised: JsonObject


class ProgressObject(TypedDict):
    """How far a run is. `speed`: tokens a second; `seconds_left`: until its end, waiting included."""

    step: int
    steps: int | None
    seconds_left: float | None
    speed: float | None
    loss: float | None


class JobObject(TypedDict):
    """A job."""

    id: str
    object: Literal["fine_tuning.job"]
    created_at: int
    finished_at: int | None
    status: Status
    model: str
    fine_tuned_model: str | None
    organization_id: str
    training_file: str
    validation_file: str | None
    result_files: list[str]
    hyperparameters: JsonObject
    method: MethodObject
    seed: int
    trained_tokens: int | None
    estimated_finish: int | None
    error: ErrorObject | None
    integrations: list[JsonObject]
    metadata: dict[str, str]
    user_provided_suffix: str | None
    x_state: State
    x_progress: ProgressObject
    x_eyegraft: JsonObject


class OutsideObject(TypedDict):
    """A run that is no job; `name`: its folder, from the searched one on."""

    id: str
    object: Literal["x_run"]
    created_at: int
    name: str
    x_state: RunState
    x_writer: str | None
    estimated_finish: int | None
    x_progress: ProgressObject
    x_note: str | None


class EventObject(TypedDict):
    """Something that happened to a job."""

    id: str
    object: Literal["fine_tuning.job.event"]
    created_at: int
    level: Level
    message: str
    type: Literal["message", "metrics"]
    data: JsonObject


class CheckpointObject(TypedDict):
    """A checkpoint of a job."""

    id: str
    object: Literal["fine_tuning.job.checkpoint"]
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    step_number: int
    metrics: dict[str, int | float | None]


class ExportObject(TypedDict):
    """An export of a job's checkpoint; `bytes` and `filename` of the download are there once it has succeeded."""

    id: str
    object: Literal["x_export"]
    created_at: int
    finished_at: int | None
    fine_tuning_job_id: str
    step_number: int
    format: ExportFormat
    dtype: ExportDtype
    status: ExportStatus
    bytes: int | None
    filename: str | None
    error: ErrorObject | None


class WebhookObject(TypedDict):
    """An endpoint of webhooks; the secret is there once, in the answer to the request that made it."""

    id: str
    object: Literal["webhook_endpoint"]
    created_at: int
    updated_at: int
    name: str
    url: str
    event_types: list[str]
    signing_secret_hint: str
    x_deliveries: JsonObject
    x_switched_off_at: int | None
    signing_secret: NotRequired[str]


class SampleObject(TypedDict):
    """A sample event that an endpoint has taken."""

    object: Literal["webhook_endpoint.test"]
    webhook_endpoint_id: str
    event_type: str
    success: bool
    status_code: int


class ResendObject(TypedDict):
    """How many deliveries begin again."""

    object: Literal["webhook_endpoint.resend"]
    webhook_endpoint_id: str
    deliveries: int


class DownloadObject(TypedDict):
    """A model of the hub that is, was or will be downloaded. `bytes`: what is here of `total_bytes`."""

    id: str
    object: Literal["x_download"]
    created_at: int
    model: str
    commit: str
    status: DownloadState
    kind: Literal["model", "tower"] | None
    bytes: int
    total_bytes: int
    error: ErrorObject | None


class EventTypes(TypedDict):
    """The events that are sent."""

    object: Literal["list"]
    data: list[str]


Listed = TypeVar(
    "Listed",
    FileObject,
    JobObject,
    OutsideObject,
    EventObject,
    CheckpointObject,
    ExportObject,
    WebhookObject,
    DownloadObject,
)


class Page(TypedDict, Generic[Listed]):
    """A page of a list; `last_id` is what the next one comes `after`."""

    object: Literal["list"]
    data: list[Listed]
    has_more: bool
    first_id: str | None
    last_id: str | None


class Deleted(TypedDict):
    """What was deleted."""

    id: str
    object: Literal["file", "fine_tuning.job", "x_export", "x_download", "webhook_endpoint.deleted"]
    deleted: bool
