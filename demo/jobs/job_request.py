"""The body of POST /v1/fine_tuning/jobs: OpenAI's fields, and ours under `x_eyegraft`."""

import hashlib
import math
import secrets
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from vlm.export.formats import ExportDtype, ExportFormat

Auto = Literal["auto"]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
FileId = Annotated[str, StringConstraints(pattern=r"^file-[0-9a-f]{24}$")]
EXPORTED = r"^(latest|best|ftckpt-[0-9a-f]{24}-[0-9]{1,9})$"
# The sections of a recipe that a request may set; the service itself sets the others.
SECTIONS = ("model", "data", "tune", "optim", "train", "parallel")
NO_TEXT = frozenset(map(chr, {*range(32)} - {9, 10, 13}))  # tabs and line ends may be part of a template
TRACK = "track"  # the one key of a recipe that is no section: a list
OURS = {"name", "out", "seed", "from"}  # keys of a recipe that follow from the job


def _refusal(found: str) -> PydanticCustomError:
    return PydanticCustomError("refused", "{found}", {"found": found})


def _review(value: object, place: str) -> None:
    """Raise for what JSON allows and a recipe cannot hold: text that is not Unicode, NUL, huge numbers, NaN."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _review(key, f"{place}: a key")
            _review(inner, f"{place}.{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            _review(inner, f"{place}.{number}")
    elif isinstance(value, str):
        if not NO_TEXT.isdisjoint(value) or any("\ud800" <= letter <= "\udfff" for letter in value):
            raise _refusal(f"{place}: the text has a control character, or half of a surrogate pair; leave it out")
    elif isinstance(value, float) and not math.isfinite(value):
        raise _refusal(f"{place}: NaN and infinity are no numbers of JSON; give a finite one")
    elif isinstance(value, int) and abs(value) >= 2**63:
        raise _refusal(f"{place}: the number has more than 63 bits; give a smaller one")


class RequestPart(BaseModel):
    """A part of a request: immutable, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Hyperparameters(RequestPart):
    """OpenAI's three; `auto` lets the service choose from the number of records."""

    n_epochs: Auto | Annotated[int, Field(ge=1, le=1000)] = "auto"
    batch_size: Auto | Annotated[int, Field(ge=1, le=65536)] = "auto"
    learning_rate_multiplier: Auto | Annotated[float, Field(gt=0, le=1000)] = "auto"


class Supervised(RequestPart):
    """Supervised fine-tuning."""

    hyperparameters: Hyperparameters = Hyperparameters()


def _supervised_only(kind: object) -> object:
    if kind in ("dpo", "reinforcement"):
        raise _refusal(f"{kind} is not offered yet; the service trains with method supervised")
    return kind


class Method(RequestPart):
    """The method of training."""

    type: Annotated[Literal["supervised"], BeforeValidator(_supervised_only)] = "supervised"
    supervised: Supervised = Supervised()


class Extension(RequestPart):
    """What OpenAI's API lacks: where and when the job runs, and any key of a recipe.

    `stage`: sft for text, finetune or pretrain with images; chosen from the data and the model when left out.
    """

    engine: Name | None = None
    processes: Annotated[int, Field(ge=1, le=4096)] = 1
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    images: FileId | None = Field(None, description="an uploaded archive with the images that records name")
    training_files: Annotated[list[FileId], Field(max_length=100)] = Field(
        [], description="further uploads that are trained on, each in a format of its own"
    )
    stage: Literal["sft", "finetune", "pretrain"] | None = None
    recipe: dict[str, dict[str, Any] | list[str]] = Field(
        {}, description="sections of a recipe and their keys, and `track`"
    )

    @model_validator(mode="after")
    def _only_sections(self) -> Self:
        _review(self.recipe, "recipe")
        for key, value in self.recipe.items():
            if key not in (*SECTIONS, TRACK):
                why = "follows from the job" if key in OURS else "is no section of a recipe"
                raise _refusal(f"recipe.{key} {why}; the sections are {', '.join(SECTIONS)}")
            if isinstance(value, list) != (key == TRACK):
                raise _refusal(f"recipe.{key}: write {'a list of trackers' if key == TRACK else 'keys and values'}")
        data = self.recipe.get("data", {})
        if isinstance(data, dict) and data.keys() & {"sources", "validation_sources"}:
            raise _refusal("recipe.data: sources follow from training_file and validation_file; leave them out")
        return self


class ResumeExtension(RequestPart):
    """Where a paused job goes on; what is left out stays as it is."""

    engine: Name | None = None
    processes: Annotated[int, Field(ge=1, le=4096)] | None = None


class ResumeRequest(RequestPart):
    """The body of POST /v1/fine_tuning/jobs/{id}/resume, which OpenAI's clients send without one."""

    x_eyegraft: ResumeExtension = ResumeExtension()


class ExportRequest(RequestPart):
    """The body of POST /v1/fine_tuning/jobs/{id}/x_exports: which checkpoint, and in which form."""

    checkpoint: Annotated[str, StringConstraints(pattern=EXPORTED)] = Field(
        "latest", description="`latest`, `best`, or the id of a checkpoint of the job"
    )
    format: ExportFormat = "hf"
    dtype: ExportDtype | None = Field(None, description="fp32 when left out; q8_0 is for gguf and ollama")


Metadata = Annotated[
    dict[Annotated[str, StringConstraints(max_length=64)], Annotated[str, StringConstraints(max_length=512)]],
    Field(max_length=16),
]


class JobRequest(RequestPart):
    """A training job as OpenAI's clients submit it."""

    model: Name
    training_file: FileId
    validation_file: FileId | None = None
    method: Method | None = None
    hyperparameters: Hyperparameters | None = Field(None, description="the older place of method's")
    suffix: Annotated[str, StringConstraints(max_length=64, pattern=r"^[A-Za-z0-9._-]*$")] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    metadata: Metadata | None = None
    integrations: Annotated[list[dict[str, Any]], Field(max_length=0)] | None = None
    x_eyegraft: Extension = Extension()

    @model_validator(mode="after")
    def _one_place_for_hyperparameters(self) -> Self:
        if self.method is not None and self.hyperparameters is not None:
            raise _refusal("hyperparameters: given here and in method; leave the older one out")
        return self

    @property
    def chosen(self) -> Hyperparameters:
        """The hyperparameters, from whichever place has them."""
        return self.hyperparameters or (self.method or Method()).supervised.hyperparameters

    def completed(self, key: str | None) -> dict[str, Any]:
        """The request as it is stored: with a seed drawn when it has none.

        A seed that is drawn follows from the Idempotency-Key: the same request again is the same.
        """
        values = self.model_dump(mode="json")
        return {**values, "seed": _draw(key) if self.seed is None else self.seed}


def _draw(key: str | None) -> int:
    if key is None:
        return secrets.randbelow(2**31)
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4]) >> 1
