"""The fields of the form as text, as an address holds them, and the request that they make."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import urlencode

from pydantic import ValidationError

from demo.job_pages.parts.value_text import written
from demo.job_pages.parts.words import text
from demo.job_pages.train.recipe_mistakes import recipe_mistakes
from demo.job_pages.train.schema_fields import TRACK, setting_fields
from demo.job_pages.train.words import MISTAKES
from demo.jobs.job_request import JobRequest
from llm.errors import ConfigError
from llm.i18n.translate import Language, translated
from vlm.service.recipe import BASE_RATE
from vlm.service.store.rows import Job

LONGEST = 4000  # characters of a field
KIND = "tune.kind"
METHOD = "lora"  # where nothing is chosen
HYPERPARAMETERS = {"n_epochs": "train.epochs", "batch_size": "train.batch"}
# The keys of a request, or ends of them, by the field that fills them in.
PLACES = {
    "training_file": "file",
    "training_files": "file",
    "validation_file": "validation",
    "images": "images",
    "engine": "engine",
    "stage": "stage",
    "processes": "processes",
    "seed": "seed",
    "suffix": "suffix",
    "model": "model",
}
NUMBERS = ("seed", "processes")


@dataclass(frozen=True, slots=True)
class TrainValues:
    """What is filled in; empty where the service chooses. `file`: ids of uploads, separated by commas.

    `settings`: texts of keys of the recipe.
    """

    file: str = ""
    validation: str = ""
    images: str = ""
    model: str = ""
    tower: str = ""
    stage: str = ""
    seed: str = ""
    suffix: str = ""
    engine: str = ""
    processes: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def query(self) -> str:
        """The values as a query, without those that are as at first."""
        own = {name: str(getattr(self, name)) for name in OWN}
        return urlencode({key: value for key, value in {**own, **self.settings}.items() if value})

    @property
    def files(self) -> list[str]:
        """The ids of the data files."""
        return [part for part in self.file.split(",") if part]

    def text(self, name: str) -> str:
        """What a field holds."""
        return self.settings.get(name, "") if name in setting_fields() else str(getattr(self, name))


class FieldMistake(Exception):
    """A field that makes no request; `message` says why in English."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(field)
        self.field, self.message = field, message


OWN = tuple(one.name for one in fields(TrainValues) if one.name != "settings")


def read_values(given: Mapping[str, str]) -> TrainValues:
    """The values of a query or of a posted form; other keys are left out."""
    known = {key: str(value)[: LONGEST + 1].strip() for key, value in given.items()}
    settings = {key: known[key] for key in setting_fields() if known.get(key)}
    return TrainValues(**{key: value for key, value in known.items() if key in OWN}, settings=settings)


def values_of(job: Job) -> TrainValues:
    """The form as it was filled in for a job, OpenAI's hyperparameters as keys of the recipe."""
    request = job.request
    extension: dict[str, Any] = request["x_eyegraft"]
    recipe: dict[str, Any] = extension.get("recipe", {})
    wanted = request.get("hyperparameters") or ((request.get("method") or {}).get("supervised") or {}).get(
        "hyperparameters", {}
    )
    given = {HYPERPARAMETERS[key]: value for key, value in wanted.items() if key in HYPERPARAMETERS}
    settings = {key: written(value) for key, value in given.items() if value != "auto"}
    for section, keys in recipe.items():
        own = {TRACK: keys} if section == TRACK else {f"{section}.{key}": value for key, value in keys.items()}
        settings |= {key: written(value) for key, value in own.items() if key in setting_fields()}
    times = wanted.get("learning_rate_multiplier", "auto")
    if times != "auto":
        rate = BASE_RATE.get(settings.get(KIND, METHOD), BASE_RATE[METHOD]) * times
        settings.setdefault("optim.lr", written(rate))
    processes = extension.get("processes", 1)
    return TrainValues(
        file=",".join([job.training_file, *extension.get("training_files", [])]),
        validation=job.validation_file or "",
        images=extension.get("images") or "",
        model=job.model,
        tower=str(recipe.get("model", {}).get("tower", "")),
        stage=extension.get("stage") or "",
        suffix=request.get("suffix") or "",
        engine=extension.get("engine") or "",
        processes=str(processes) if processes > 1 else "",
        settings=settings,
    )


def request_of(values: TrainValues) -> dict[str, Any]:
    """The body of the request, without what the service chooses. Raises FieldMistake.

    The seed is a recipe's own default where none is given, so that the same form is the same run.
    """
    recipe = _recipe(values)
    if values.tower:
        recipe.setdefault("model", {})["tower"] = values.tower
    extension: dict[str, Any] = {key: getattr(values, key) for key in ("engine", "images", "stage")}
    extension = {key: value for key, value in extension.items() if value}
    if values.processes:
        extension["processes"] = _number(values.processes)
    if values.files[1:]:
        extension["training_files"] = values.files[1:]
    body: dict[str, Any] = {"model": values.model, "training_file": (values.files or [""])[0]}
    if values.validation:
        body["validation_file"] = values.validation
    if values.suffix:
        body["suffix"] = values.suffix
    return body | {"seed": _number(values.seed or "0"), "x_eyegraft": {**extension, "recipe": recipe}}


def _recipe(values: TrainValues) -> dict[str, Any]:
    """The settings by their sections. Raises FieldMistake."""
    found: dict[str, Any] = {}
    if values.stage != "pretrain":  # which trains the projector alone
        found["tune"] = {"kind": METHOD}
    for key, given in values.settings.items():
        setting = setting_fields()[key]
        try:
            value = setting.value(given)
        except ConfigError as error:
            raise FieldMistake(key, str(error)) from error
        if key == TRACK:
            found[TRACK] = value
        elif key != KIND or values.stage != "pretrain":
            found.setdefault(setting.section, {})[key.partition(".")[2]] = value
    return found


def mistakes_of(values: TrainValues, lang: Language, sees: bool = False) -> dict[str, str]:
    """What is wrong, by field; that nothing was chosen yet is not wrong. `sees`: the model reads images already."""
    long = [key for key in (*OWN, *values.settings) if len(values.text(key)) > LONGEST]
    if long:
        return {key: text(MISTAKES, "long", lang, LONGEST) for key in long}
    try:
        body = request_of(values)
    except FieldMistake as mistake:
        return {mistake.field: translated(mistake.message, lang)}
    recipe = body["x_eyegraft"]["recipe"]
    stage = stage_of(values, sees)
    wrong = (
        {}
        if values.stage not in ("", "sft", "finetune", "pretrain")
        else recipe_mistakes(recipe, stage, bool(values.validation), lang)
    )
    return wrong | _request_mistakes(values, body, lang)


def stage_of(values: TrainValues, sees: bool) -> str:
    """The stage of the run, as the service chooses it."""
    return values.stage or ("finetune" if values.tower or sees else "sft")


def _request_mistakes(values: TrainValues, body: dict[str, Any], lang: Language) -> dict[str, str]:
    try:
        JobRequest.model_validate(body)
    except ValidationError as error:
        found = {field_of(one["loc"], one["msg"]): one["msg"] for one in reversed(error.errors())}
        empty = {"file": values.file, "model": values.model}
        return {key: _said(key, message, lang) for key, message in found.items() if empty.get(key, key)}
    return {}


def missing(values: TrainValues, lang: Language) -> dict[str, str]:
    """The fields that a job cannot do without and that are empty."""
    return {key: text(MISTAKES, key, lang) for key in ("file", "model") if not getattr(values, key)}


def field_of(place: tuple[int | str, ...], message: str = "") -> str:
    """The field that fills in a key of the request; empty for a key that no field has.

    A message about the recipe names its key: `recipe.train.batch: ...`.
    """
    steps = [str(step) for step in place]
    if "tower" in steps:
        return "tower"
    named = ".".join(message.removeprefix("recipe.").partition(": ")[0].split(".")[:2])
    if named in setting_fields():
        return named
    return next((one for key, one in PLACES.items() if key in steps), "")


def _said(name: str, message: str, lang: Language) -> str:
    return text(MISTAKES, name, lang) if name in MISTAKES else translated(message, lang)


def _number(text: str) -> int | float | str:
    """A number, or the text, which the schema refuses."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
