"""The recipe of a job: what the request says, and defaults from the model and the data where it says nothing."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from llm.config.schema import RunConfig
from llm.config.yaml_loader import from_mapping, load_yaml
from llm.errors import ConfigError
from vlm.config import parse_config
from vlm.service.trainable_models import TrainableModels

BASE_RATE = {"lora": 2e-4, "qlora": 2e-4, "full": 2e-5, "frozen": 1e-3}
"""Learning rates that learning_rate_multiplier multiplies; the first two are those of the QLoRA paper (Dettmers et al.,
2023), the others LLaVA-1.5's of its two stages."""
NO_IMAGES = "images"  # the folder beside the run in which an archive would be
PATHS = {("data", "cache"), ("model", "projector_weights"), ("train", "evaluate")}
"""Keys of a recipe that name files, which a request must not."""


@dataclass(frozen=True, slots=True)
class JobData:
    """The files of a job, and what a look at them found. `more`: files that are trained on beside the first."""

    training: Path
    validation: Path | None
    images: Path | None
    records: int
    sees_images: bool
    more: tuple[Path, ...] = ()


def job_recipe(
    job: str, request: dict[str, Any], run: Path, start: Path | None, data: JobData, models: TrainableModels
) -> RunConfig:
    """The recipe. `start`: the run folder of the model, when an earlier job trained it.

    Raises ConfigError for keys that a request must not give, and for values that no recipe has.
    """
    extension = request["x_eyegraft"]
    given: dict[str, dict[str, Any]] = dict(extension["recipe"])
    track = given.pop("track", None)
    for section, key in PATHS:
        if key in given.get(section, {}):
            raise ConfigError(f"x_eyegraft.recipe.{section}.{key}: a job names no files of the machine; leave it out")
    if "llm" in given.get("model", {}):
        raise ConfigError("x_eyegraft.recipe.model.llm: follows from the job's model; leave it out")
    base = request["model"]
    if start is None and models.is_run(base):
        start = models.folders[base]
    model = dict(given.get("model", {}))
    if "tower" in model:
        model["tower"] = models.path(str(model["tower"]))
    if start is None:
        model["llm"] = models.path(base)
    values: dict[str, Any] = {
        "name": job,
        "out": str(run),
        "seed": request["seed"],
        **({"from": str(start)} if start is not None else {}),
        **({"model": model} if model else {}),
        "data": {**given.get("data", {}), **_sources(data, run.parent / NO_IMAGES)},
        **{section: given[section] for section in ("tune", "parallel") if section in given},
        **({"track": track} if track else {}),
    }
    stage = extension["stage"] or ("finetune" if "tower" in model else None) or _stage_of(start)
    values["stage"] = stage or "sft"
    given = {**given, "train": {**given.get("train", {}), **_probes(given.get("train", {}), data.images)}}
    values["optim"], values["train"] = _chosen(request, values, given, data.records)
    config = parse_config(from_mapping(values))
    assert isinstance(config, RunConfig)
    return config


def _probes(train: dict[str, Any], images: Path | None) -> dict[str, Any]:
    """The probes with the images of the job's archive. Raises ConfigError for an image that is not in it."""
    if not isinstance(train.get("probes"), list):
        return {}  # left out, or refused by the recipe's own schema
    return {"probes": [_probe(number, probe, images) for number, probe in enumerate(train["probes"])]}


def _probe(number: int, probe: object, images: Path | None) -> object:
    if not isinstance(probe, dict) or not probe.get("image"):
        return probe
    name = PurePosixPath(str(probe["image"]))
    if images is None or name.is_absolute() or ".." in name.parts or not (images / name).is_file():
        raise ConfigError(
            f"x_eyegraft.recipe.train.probes.{number}.image: {str(name)[:80]!r} is no file of the job's archive of "
            "images; give its path inside the archive"
        )
    return {**probe, "image": str(images / name)}


def _stage_of(start: Path | None) -> str | None:
    """A run goes on as what it was, but after a pretraining comes the finetuning."""
    if start is None:
        return None
    values = load_yaml(start / "config.yaml").values
    stage, model = values.get("stage"), values.get("model")
    sees = stage == "prefer" and isinstance(model, dict) and "tower" in model
    return "finetune" if sees or stage in ("pretrain", "finetune") else "sft"


def _sources(data: JobData, no_images: Path) -> dict[str, Any]:
    """The files of the job. Without an archive images are looked for where there is none, not beside the upload."""
    images = {"images": str(data.images or no_images)}
    paths = (data.training, *data.more)
    found: dict[str, Any] = {"sources": [{"path": str(path), **images} for path in paths]}
    if data.validation is not None:
        found["validation_sources"] = [{"path": str(data.validation), **images}]
    return found


def _chosen(
    request: dict[str, Any], values: dict[str, Any], given: dict[str, dict[str, Any]], records: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The sections optim and train: the recipe's own keys first, then OpenAI's hyperparameters, then defaults."""
    wanted = request["hyperparameters"] or ((request["method"] or {}).get("supervised") or {}).get(
        "hyperparameters", {}
    )
    kind = values.get("tune", {}).get("kind", "frozen" if values["stage"] == "pretrain" else "lora")
    times = wanted.get("learning_rate_multiplier", "auto")
    rate = BASE_RATE.get(str(kind), BASE_RATE["lora"]) * (1.0 if times == "auto" else times)
    batch, epochs = wanted.get("batch_size", "auto"), wanted.get("n_epochs", "auto")
    optim = {"lr": rate, **given.get("optim", {})}
    train = {
        "batch": default_batch(records) if batch == "auto" else batch,
        "epochs": default_epochs(records) if epochs == "auto" else epochs,
        "log_every": 1,
        **given.get("train", {}),
    }
    return optim, train


def default_batch(records: int) -> int:
    """Records a step: about fifty steps an epoch, at most 64 and at least 1."""
    return max(1, min(64, records // 50))


def default_epochs(records: int) -> int:
    """Passes over the data: three for small sets, one for large ones."""
    return 3 if records < 10_000 else 2 if records < 50_000 else 1
