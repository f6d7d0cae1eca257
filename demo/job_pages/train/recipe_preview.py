"""The recipe of a job that is not submitted yet, by the same function as the job's own; it reads no data."""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from demo.job_pages.parts.value_text import written
from demo.job_pages.parts.words import text
from demo.job_pages.train.schema_fields import TRACK, setting_fields
from demo.job_pages.train.words import FORM
from demo.jobs.job_request import JobRequest
from llm.config.schema import RunConfig
from llm.config.yaml_loader import yaml_text
from llm.i18n.translate import Language
from vlm.service.recipe import JobData, job_recipe
from vlm.service.store.rows import StoredFile
from vlm.service.trainable_models import TrainableModels

UNNAMED = "my-model"
ENDINGS = re.compile(r"(\.(zip|tar|tgz|gz|xz|bz2))+$", re.IGNORECASE)


def preview_recipe(
    body: dict[str, Any], files: Mapping[str, StoredFile], start: Path | None, models: TrainableModels, records: int
) -> RunConfig:
    """The recipe of a valid request, which names its files as their owner does and writes into `runs/`.

    Raises ConfigError as `job_recipe` does.
    """
    request = JobRequest.model_validate(body).completed(None)
    extension: dict[str, Any] = request["x_eyegraft"]
    name = request["suffix"] or UNNAMED
    first, *more = [Path(_shown(files, one)) for one in (body["training_file"], *extension["training_files"])]
    validation = body.get("validation_file")
    data = JobData(
        training=first,
        validation=Path(_shown(files, validation)) if validation else None,
        images=None,
        records=records,
        sees_images=False,
        more=tuple(more),
    )
    probes = extension["recipe"].get("train", {}).get("probes")
    without = [{key: value for key, value in one.items() if key != "image"} for one in probes or []]
    if probes:  # their images are in the archive, which is not unpacked here
        extension["recipe"]["train"]["probes"] = without
    return job_recipe(name, request, Path("runs") / name, start, data, models)


def recipe_yaml(config: RunConfig, body: dict[str, Any], files: Mapping[str, StoredFile], lang: Language) -> str:
    """The recipe with the keys that are not defaults, and above it, in the language of the page, how it is run."""
    values = config.model_dump(mode="json", by_alias=True, exclude_unset=True)
    extension: dict[str, Any] = body["x_eyegraft"]
    archive = extension.get("images", "")
    folder = ENDINGS.sub("", _shown(files, archive)) if archive else ""
    for source in (*values["data"]["sources"], *values["data"].get("validation_sources", [])):
        source.pop("images", None)
        source |= {"images": folder} if folder else {}
    probes = extension["recipe"].get("train", {}).get("probes", [])
    for own, given in zip(values["train"].get("probes", []), probes, strict=True):
        own |= {"image": str(PurePosixPath(folder) / given["image"])} if given.get("image") else {}
    processes = extension.get("processes", 1)
    several = f" --nproc {processes}" if processes != 1 else ""
    names = [str(source["path"]) for source in values["data"]["sources"]]
    lines = [
        text(FORM, "yaml_run", lang, f"{config.name}.yaml{several}"),
        text(FORM, "yaml_folder", lang, ", ".join(names)),
    ]
    if archive:
        lines.append(text(FORM, "yaml_unpacked", lang, _shown(files, archive), folder))
    return "\n".join([*lines, yaml_text(values)])


def resolved_settings(config: RunConfig) -> dict[str, str]:
    """What each setting is in a run of this recipe, as the form writes it."""
    values = config.model_dump(mode="json", by_alias=True)
    found: dict[str, str] = {}
    for key, field in setting_fields().items():
        value = values.get(TRACK) if key == TRACK else values[field.section].get(key.partition(".")[2])
        found[key] = written(value) if value not in (None, [], "") else ""
    return found


def _shown(files: Mapping[str, StoredFile], name: str) -> str:
    file = files.get(name)
    return file.filename if file is not None and file.filename else name or "DATA"
