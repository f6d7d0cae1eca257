"""The fields of the form as text, as an address holds them, and the request that they make."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any
from urllib.parse import urlencode

from pydantic import ValidationError

from demo.job_pages.parts.words import text
from demo.job_pages.train.words import MISTAKES
from demo.jobs.job_request import JobRequest
from llm.config.yaml_loader import from_mapping
from llm.errors import ConfigError
from llm.i18n.translate import Language, translated
from vlm.service.store.rows import Job

LONGEST = 4000  # characters of a field
HYPERPARAMETERS = {"epochs": "n_epochs", "batch": "batch_size", "rate": "learning_rate_multiplier"}
# The keys of a request, or ends of them, by the field that fills them in.
PLACES = {
    "training_file": "file",
    "validation_file": "validation",
    "images": "images",
    "engine": "engine",
    "stage": "stage",
    "n_epochs": "epochs",
    "batch_size": "batch",
    "learning_rate_multiplier": "rate",
    "seed": "seed",
    "suffix": "suffix",
    "recipe": "more",
    "model": "model",
    "x_eyegraft": "more",
}


@dataclass(frozen=True, slots=True)
class TrainValues:
    """What is filled in; empty where the service chooses. `more`: lines of section.key=value."""

    file: str = ""
    validation: str = ""
    images: str = ""
    model: str = ""
    tower: str = ""
    stage: str = ""
    method: str = "lora"
    epochs: str = ""
    batch: str = ""
    rate: str = ""
    length: str = ""
    seed: str = ""
    suffix: str = ""
    engine: str = ""
    more: str = ""

    @property
    def query(self) -> str:
        """The values as a query, without those that are as at first."""
        first = asdict(TrainValues())
        return urlencode({key: value for key, value in asdict(self).items() if value != first[key]})


class FieldMistake(Exception):
    """A field that makes no request; `found` is what it holds."""

    def __init__(self, field: str, found: str) -> None:
        super().__init__(field)
        self.field, self.found = field, found


def read_values(given: Mapping[str, str]) -> TrainValues:
    """The values of a query or of a posted form; other keys are left out."""
    names = {field.name for field in fields(TrainValues)}
    known = {key: str(value)[:LONGEST].strip() for key, value in given.items() if key in names}
    return TrainValues(**{"method": "lora", **known})


def values_of(job: Job) -> TrainValues:
    """The form as it was filled in for a job, with what the API can say and the form cannot under `more`."""
    request = job.request
    extension: dict[str, Any] = request["x_eyegraft"]
    sections = {name: dict(keys) for name, keys in extension.get("recipe", {}).items()}
    wanted = request.get("hyperparameters") or ((request.get("method") or {}).get("supervised") or {}).get(
        "hyperparameters", {}
    )
    chosen = {field: wanted.get(key, "auto") for field, key in HYPERPARAMETERS.items()}
    method = sections.get("tune", {}).pop("kind", "lora")
    tower, length = sections.get("model", {}).pop("tower", ""), sections.get("data", {}).pop("max_length", "")
    rest = [f"{name}.{key}={_written(value)}" for name, keys in sections.items() for key, value in keys.items()]
    return TrainValues(
        file=job.training_file,
        validation=job.validation_file or "",
        images=extension.get("images") or "",
        model=job.model,
        tower=str(tower),
        stage=extension.get("stage") or "",
        method=str(method),
        length=str(length),
        suffix=request.get("suffix") or "",
        engine=extension.get("engine") or "",
        more="\n".join(rest),
        **{field: "" if value == "auto" else str(value) for field, value in chosen.items()},
    )


def _written(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def request_of(values: TrainValues) -> dict[str, Any]:
    """The body of the request, without what the service chooses. Raises FieldMistake."""
    sections = _sections(values.more)
    if values.stage != "pretrain":  # which trains the projector alone
        sections.setdefault("tune", {}).setdefault("kind", values.method)
    if values.tower:
        sections.setdefault("model", {})["tower"] = values.tower
    if values.length:
        sections.setdefault("data", {})["max_length"] = _length(values.length)
    chosen = {key: _number(getattr(values, field)) for field, key in HYPERPARAMETERS.items() if getattr(values, field)}
    extension: dict[str, Any] = {
        **{key: getattr(values, key) for key in ("engine", "images", "stage") if getattr(values, key)},
        "recipe": sections,
    }
    body: dict[str, Any] = {"model": values.model, "training_file": values.file}
    if values.validation:
        body["validation_file"] = values.validation
    if chosen:
        body["method"] = {"type": "supervised", "supervised": {"hyperparameters": chosen}}
    if values.suffix:
        body["suffix"] = values.suffix
    if values.seed:
        body["seed"] = _number(values.seed)
    return body | {"x_eyegraft": extension}


def mistakes_of(values: TrainValues, lang: Language) -> dict[str, str]:
    """What is wrong, by field; that nothing was chosen yet is not wrong."""
    try:
        JobRequest.model_validate(request_of(values))
    except FieldMistake as mistake:
        return {mistake.field: text(MISTAKES, mistake.field, lang, mistake.found)}
    except ValidationError as error:
        found = {field_of(one["loc"]): one["msg"] for one in reversed(error.errors())}
        empty = {"file": values.file, "model": values.model}
        return {key: _said(key, message, lang) for key, message in found.items() if empty.get(key, key)}
    return {}


def missing(values: TrainValues, lang: Language) -> dict[str, str]:
    """The fields that a job cannot do without and that are empty."""
    return {key: text(MISTAKES, key, lang) for key in ("file", "model") if not getattr(values, key)}


def field_of(place: tuple[int | str, ...]) -> str:
    """The field that fills in a key of the request; empty for a key that no field has."""
    steps = [str(step) for step in place]
    if "tower" in steps:
        return "tower"
    return next((field for key, field in PLACES.items() if key in steps), "")


def _said(field: str, message: str, lang: Language) -> str:
    return text(MISTAKES, field, lang, "") if field in MISTAKES and field != "more" else translated(message, lang)


def _sections(more: str) -> dict[str, dict[str, Any]]:
    lines = [line.strip() for line in more.splitlines() if line.strip()]
    for line in lines:
        key, given, _ = line.partition("=")
        if not given or key.count(".") != 1:
            raise FieldMistake("more", line[:80])
    try:
        found = from_mapping({}, lines).values
    except ConfigError as error:
        raise FieldMistake("more", str(error)[:200]) from error
    return {section: dict(keys) for section, keys in found.items() if isinstance(keys, dict)}


def _number(text: str) -> int | float | str:
    """A number, or the text, which the schema refuses."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _length(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 2**31:
        raise FieldMistake("length", text)
    return int(text)
